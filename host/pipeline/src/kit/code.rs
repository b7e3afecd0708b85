//! The QR code of a password in half blocks, two rows of modules to a line of text: it can be printed, and read from a screen.

use qrcode::{Color, EcLevel, QrCode, types::QrError};
use zeroize::Zeroizing;

/// Light modules around a code, as the standard asks for.
const QUIET: usize = 4;

/// Draws `text`; a quarter of the modules are there for damage. What the crate holds of it is not wiped.
pub(super) fn draw(text: &str) -> Result<Zeroizing<String>, QrError> {
    let code = QrCode::with_error_correction_level(text, EcLevel::Q)?;
    let (width, colours) = (code.width(), code.into_colors());
    let side = width + 2 * QUIET;
    let is_dark = |column: usize, row: usize| {
        let inside = |place: usize| place.checked_sub(QUIET).filter(|place| *place < width);
        inside(column)
            .zip(inside(row))
            .is_some_and(|(column, row)| colours[row * width + column] == Color::Dark)
    };
    // A half block takes three bytes.
    let mut drawn = Zeroizing::new(String::with_capacity(side.div_ceil(2) * (3 * side + 1)));
    for row in (0..side).step_by(2) {
        drawn.extend((0..side).map(|column| half_blocks(is_dark(column, row), is_dark(column, row + 1))));
        drawn.push('\n');
    }
    Ok(drawn)
}

fn half_blocks(upper: bool, lower: bool) -> char {
    match (upper, lower) {
        (true, true) => '█',
        (true, false) => '▀',
        (false, true) => '▄',
        (false, false) => ' ',
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    /// What a reader of QR codes sees in a drawing, eight pixels to a module.
    fn read(drawn: &str) -> String {
        const PIXELS: usize = 8;
        let lines: Vec<Vec<char>> = drawn.lines().map(|line| line.chars().collect()).collect();
        let side = lines[0].len();
        let mut image = rqrr::PreparedImage::prepare_from_greyscale(side * PIXELS, lines.len() * 2 * PIXELS, |x, y| {
            let (column, row) = (x / PIXELS, y / PIXELS);
            let is_dark = match lines[row / 2][column] {
                '█' => true,
                '▀' => row % 2 == 0,
                '▄' => row % 2 == 1,
                _ => false,
            };
            if is_dark { 0 } else { 255 }
        });
        let grids = image.detect_grids();
        assert_eq!(grids.len(), 1);
        let grid = &grids[0];
        grid.decode().unwrap().1
    }

    #[test]
    fn another_program_reads_what_was_drawn() {
        for _ in 0..20 {
            let password = crate::kit::password::generate();
            assert_eq!(read(&draw(&password).unwrap()), *password);
        }
    }
}
