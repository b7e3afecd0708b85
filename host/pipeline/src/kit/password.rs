//! Passwords that people can read off a page and type: six groups of five, such as `7Q2MX-…`, in Crockford's alphabet, which has no I, L, O and U.
//!
//! 28 characters are random, 140 bits; the last two are a digest of them, so that one which was mistyped is known for that.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// Its place is a character's value. 32 divides 256: each is as likely as any other.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// Characters that are random, at 5 bits each.
const RANDOM: usize = 28;
/// Characters that check those: one mistake in 1,024 gets by.
const CHECK: usize = 2;
/// Characters in a group.
const GROUP: usize = 5;
/// Characters in all, with the hyphens.
const LENGTH: usize = (RANDOM + CHECK) / GROUP * (GROUP + 1) - 1;

/// A new one.
pub(super) fn generate() -> Zeroizing<String> {
    let random: Zeroizing<[u8; RANDOM]> = Zeroizing::new(rand::random());
    let mut values = Zeroizing::new(Vec::with_capacity(RANDOM + CHECK));
    values.extend(random.iter().map(|byte| byte % 32));
    let check = check(&values);
    values.extend(check);
    let mut password = Zeroizing::new(String::with_capacity(LENGTH));
    for (number, value) in values.iter().enumerate() {
        if number > 0 && number % GROUP == 0 {
            password.push('-');
        }
        password.push(char::from(ALPHABET[usize::from(*value)]));
    }
    password
}

fn check(values: &[u8]) -> [u8; CHECK] {
    let digest = Sha256::digest(values);
    [digest[0] % 32, digest[1] % 32]
}

/// Whether a password has the form of a kit's, and its last characters are not those that belong to the others.
pub(crate) fn is_mistyped(password: &[u8]) -> bool {
    has_form(password) && !is_right(password)
}

fn has_form(password: &[u8]) -> bool {
    let fits = |(place, byte): (usize, &u8)| match place % (GROUP + 1) {
        GROUP => *byte == b'-',
        _ => byte.is_ascii_alphanumeric(),
    };
    password.len() == LENGTH && password.iter().enumerate().all(fits)
}

fn is_right(password: &[u8]) -> bool {
    let mut values = Zeroizing::new(Vec::with_capacity(RANDOM + CHECK));
    for byte in password.iter().filter(|byte| **byte != b'-') {
        let place = ALPHABET.iter().position(|character| character == byte);
        let Some(value) = place.and_then(|place| u8::try_from(place).ok()) else {
            return false;
        };
        values.push(value);
    }
    let (random, last) = values.split_at(RANDOM);
    last == check(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_has_six_groups_of_five_and_none_is_like_another() {
        let passwords: Vec<_> = (0..100).map(|_| generate()).collect();
        for password in &passwords {
            assert!(has_form(password.as_bytes()) && is_right(password.as_bytes()));
            assert_eq!(password.split('-').map(str::len).collect::<Vec<_>>(), [5; 6]);
            assert!(!password.contains(['I', 'L', 'O', 'U']));
        }
        let different: std::collections::BTreeSet<&str> = passwords.iter().map(|password| password.as_str()).collect();
        assert_eq!(different.len(), 100);
    }

    #[test]
    fn mistakes_are_found() {
        let mut missed = 0;
        for _ in 0..100 {
            let password = generate();
            for place in (0..LENGTH).filter(|place| place % (GROUP + 1) != GROUP) {
                let mut typed = password.as_bytes().to_vec();
                typed[place] = if typed[place] == b'7' { b'1' } else { b'7' };
                missed += usize::from(!is_mistyped(&typed));
            }
            assert!(!is_mistyped(password.as_bytes()));
            assert!(is_mistyped(password.to_lowercase().as_bytes()), "capital letters only");
        }
        // About three of 3,000 are expected.
        assert!(missed < 20, "{missed} of 3000 mistakes were missed");
        assert!(!is_mistyped(b"some other password"), "another one says nothing");
    }
}
