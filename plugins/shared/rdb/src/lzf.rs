//! LZF, the compression of strings in an RDB file: [`decompress`]. Only keys and names are ever decompressed here.

/// Decompresses `input`, which has to come to exactly `length` bytes; `None` where it does not.
pub(crate) fn decompress(input: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut output = Vec::with_capacity(length);
    let mut input = input.iter().copied();
    while let Some(control) = input.next() {
        let control = usize::from(control);
        if control < 32 {
            // So many literal bytes, plus one.
            for _ in 0..=control {
                output.push(input.next()?);
            }
        } else {
            // A reference back: 3 bits of length (7: another byte adds to it), 13 bits of distance.
            let mut count = control >> 5;
            if count == 7 {
                count += usize::from(input.next()?);
            }
            let distance = ((control & 0x1f) << 8) + usize::from(input.next()?) + 1;
            let from = output.len().checked_sub(distance)?;
            if output.len() + count + 2 > length {
                return None;
            }
            for position in from..from + count + 2 {
                let byte = *output.get(position)?;
                output.push(byte);
            }
        }
        if output.len() > length {
            return None;
        }
    }
    (output.len() == length).then_some(output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_overlapping_references() {
        assert_eq!(decompress(b"\x02abc", 3).as_deref(), Some(&b"abc"[..]));
        // "a", then six bytes from one back.
        assert_eq!(decompress(b"\x00a\x80\x00", 7).as_deref(), Some(&b"aaaaaaa"[..]));
        // The long form of a length: 7 + 1 + 2 bytes.
        assert_eq!(decompress(b"\x00a\xe0\x01\x00", 11).as_deref(), Some(&b"aaaaaaaaaaa"[..]));
    }

    #[test]
    fn damage_is_no_panic() {
        for (input, length) in [
            (&b"\x05abc"[..], 6),
            (b"\x00a\x80\x05", 7),
            (b"\x00a\x80", 7),
            (b"\xe0", 300),
            (b"\x02abc", 2),
            (b"\x02abc", 4),
            (b"", 1),
        ] {
            assert_eq!(decompress(input, length), None, "{input:?}");
        }
    }
}
