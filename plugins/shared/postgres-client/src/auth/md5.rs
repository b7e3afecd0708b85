//! The md5 challenge of PostgreSQL before SCRAM: `"md5" + md5(md5(password + user) + salt)`.

use md5::{Digest, Md5};

use super::Password;

/// The answer to an md5 challenge, without its zero byte.
#[must_use]
pub fn md5_response(user: &str, password: &Password, salt: [u8; 4]) -> String {
    let stored = hexadecimal(Md5::new().chain_update(password.bytes()).chain_update(user));
    format!("md5{}", hexadecimal(Md5::new().chain_update(stored).chain_update(salt)))
}

fn hexadecimal(hash: Md5) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_like_libpq() {
        // md5(md5("secret" + "backup") + 01020304), computed with md5sum.
        let answer = md5_response("backup", &Password::new(b"secret".to_vec()), [1, 2, 3, 4]);
        assert_eq!(answer, "md577ec8e0a0cf14cbf7cb0ce0827b762f1");
    }
}
