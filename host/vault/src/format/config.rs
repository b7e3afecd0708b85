//! The document `config`: which repository this is and how its content is cut.

use serde::Deserialize;

/// What of `config` matters to the data path. `rustic_core` writes it, with its own additions.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    /// Format version.
    pub(crate) version: u32,
    /// 64 hexadecimal digits.
    pub(crate) id: String,
    /// The irreducible polynomial of the chunker, in hexadecimal.
    pub(crate) chunker_polynomial: String,
}

impl Config {
    /// The polynomial as a number.
    pub(crate) fn polynomial(&self) -> Result<u64, String> {
        let polynomial =
            u64::from_str_radix(&self.chunker_polynomial, 16).map_err(|error| format!("its polynomial is malformed: {error}"))?;
        // Degree 53 is what restic makes; the tables need at least 9 and, with 8 bits to shift in, at most 55.
        let degree = 63_u32.saturating_sub(polynomial.leading_zeros());
        if (9..=55).contains(&degree) {
            Ok(polynomial)
        } else {
            Err(format!("its polynomial has degree {degree}"))
        }
    }
}
