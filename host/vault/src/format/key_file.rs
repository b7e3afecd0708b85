//! Key files: the master key, encrypted under a password ("Keys, Encryption and MAC").
//!
//! Derivation is scrypt. Its cost is bounded on reading, because a key file is what whoever can write to the store says it is; on writing it is the
//! 32 MiB variant of OWASP's equivalent choices (N = 2^15, r = 8, p = 3), so that opening a vault fits a small machine.

use base64::{Engine, engine::general_purpose::STANDARD};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    crypto::{KEY_SIZE, MasterKey},
    format::time,
};

/// log2 of scrypt's N for new keys.
const NEW_LOG_N: u8 = 15;
/// scrypt's r for new keys.
const NEW_R: u32 = 8;
/// scrypt's p for new keys.
const NEW_P: u32 = 3;
/// Bytes of memory that a key file may make us use: what rustic's keys take, and twice that.
const MAX_MEMORY: u64 = 256 << 20;
/// Bytes that a key file may make us go through, its memory in all passes.
const MAX_WORK: u64 = 16 * MAX_MEMORY;
/// Passes, however little memory they take: restic makes a key of what half a second is enough for, and a machine that is busy then gets little memory and many passes.
const MAX_P: u32 = 512;
/// Bytes of salt in new keys.
const SALT: usize = 64;

/// A key file, in restic's order and spelling.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeyFile {
    /// When it was made, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) created: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) username: Option<String>,
    /// On which host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hostname: Option<String>,
    kdf: String,
    #[serde(rename = "N")]
    n: u32,
    r: u32,
    p: u32,
    salt: String,
    data: String,
}

/// The document that a key file's `data` contains, base64 within.
#[derive(Serialize, Deserialize)]
struct MasterKeyDocument {
    mac: MacDocument,
    encrypt: String,
}

#[derive(Serialize, Deserialize)]
struct MacDocument {
    k: String,
    r: String,
}

impl Drop for MasterKeyDocument {
    fn drop(&mut self) {
        self.encrypt.zeroize();
        self.mac.k.zeroize();
        self.mac.r.zeroize();
    }
}

/// Why a key file does not give the master key.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// The password is not this key's.
    Password,
    /// The file makes no sense.
    File(String),
}

impl KeyFile {
    /// Encrypts `master` under `password`. Takes a noticeable part of a second, by design.
    pub(crate) fn create(master: &MasterKey, password: &[u8], host: Option<&str>) -> Result<Self, String> {
        let mut salt = [0; SALT];
        rand::rng().fill_bytes(&mut salt);
        let key = derive(password, &salt, NEW_LOG_N, NEW_R, NEW_P)?;
        let json = master_key_json(master)?;
        let data = key
            .seal_copy(&json)
            .map_err(|_| "the master key could not be encrypted".to_owned())?;
        Ok(Self {
            created: Some(time::format(time::now())),
            username: None,
            hostname: host.map(str::to_owned),
            kdf: "scrypt".to_owned(),
            n: 1 << NEW_LOG_N,
            r: NEW_R,
            p: NEW_P,
            salt: STANDARD.encode(salt),
            data: STANDARD.encode(data),
        })
    }

    /// Derives the key of `password` and decrypts the master key with it.
    pub(crate) fn open(&self, password: &[u8]) -> Result<MasterKey, Unusable> {
        let malformed = |what: &str| Unusable::File(format!("its {what} is malformed"));
        if self.kdf != "scrypt" {
            return Err(Unusable::File(format!("its key derivation is {:?}, not scrypt", self.kdf)));
        }
        let log_n = self.checked_log_n().map_err(Unusable::File)?;
        let salt = STANDARD.decode(&self.salt).map_err(|_| malformed("salt"))?;
        let mut data = STANDARD.decode(&self.data).map_err(|_| malformed("data"))?;
        let key = derive(password, &salt, log_n, self.r, self.p).map_err(Unusable::File)?;
        let json = key.open(&mut data).map_err(|_| Unusable::Password)?;
        let document = serde_json::from_slice::<MasterKeyDocument>(json);
        json.zeroize();
        from_document(&document.map_err(|_| malformed("master key"))?).ok_or_else(|| malformed("master key"))
    }

    /// log2 of N, if the parameters stay within what we are willing to spend.
    fn checked_log_n(&self) -> Result<u8, String> {
        let memory = u64::from(self.n) * u64::from(self.r) * 128;
        let work = memory.saturating_mul(self.p.into());
        let sane = self.n.is_power_of_two()
            && self.n > 1
            && self.r > 0
            && (1..=MAX_P).contains(&self.p)
            && memory <= MAX_MEMORY
            && work <= MAX_WORK;
        match u8::try_from(self.n.trailing_zeros()) {
            Ok(log_n) if sane => Ok(log_n),
            _ => Err(format!(
                "its scrypt parameters (N = {}, r = {}, p = {}) are out of bounds",
                self.n, self.r, self.p
            )),
        }
    }
}

fn derive(password: &[u8], salt: &[u8], log_n: u8, r: u32, p: u32) -> Result<MasterKey, String> {
    let parameters = scrypt::Params::new(log_n, r, p).map_err(|error| error.to_string())?;
    let mut bytes = Zeroizing::new([0; KEY_SIZE]);
    scrypt::scrypt(password, salt, &parameters, bytes.as_mut_slice()).map_err(|error| error.to_string())?;
    Ok(MasterKey::new(bytes))
}

/// The document that holds a master key, as `restic cat masterkey` shows it.
pub(crate) fn master_key_json(master: &MasterKey) -> Result<Zeroizing<Vec<u8>>, String> {
    let (encrypt, mac) = master.bytes().split_at(32);
    let (k, r) = mac.split_at(16);
    let document = MasterKeyDocument {
        mac: MacDocument {
            k: STANDARD.encode(k),
            r: STANDARD.encode(r),
        },
        encrypt: STANDARD.encode(encrypt),
    };
    serde_json::to_vec(&document).map(Zeroizing::new).map_err(|error| error.to_string())
}

fn from_document(document: &MasterKeyDocument) -> Option<MasterKey> {
    let mut bytes = Zeroizing::new([0; KEY_SIZE]);
    let mut position = 0;
    for (text, size) in [(&document.encrypt, 32), (&document.mac.k, 16), (&document.mac.r, 16)] {
        let part = Zeroizing::new(STANDARD.decode(text).ok()?);
        bytes
            .get_mut(position..position + size)
            .filter(|_| part.len() == size)?
            .copy_from_slice(&part);
        position += size;
    }
    Some(MasterKey::new(bytes))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn only_the_right_password_opens() {
        let master = MasterKey::random();
        let file = KeyFile::create(&master, b"right", Some("here")).unwrap();
        let file: KeyFile = serde_json::from_slice(&serde_json::to_vec(&file).unwrap()).unwrap();
        assert_eq!(file.open(b"right").ok().unwrap().bytes(), master.bytes());
        assert_eq!(file.open(b"wrong").err(), Some(Unusable::Password));
    }

    #[test]
    fn a_key_file_cannot_make_us_spend_without_bound() {
        let good = KeyFile::create(&MasterKey::random(), b"x", None).unwrap();
        for (n, r, p) in [
            (0, 8, 1),
            (1, 8, 1),
            (3, 8, 1),
            (1 << 31, 8, 1),
            (1 << 15, 1 << 20, 1),
            (1 << 15, 8, 0),
            (1 << 15, 8, 1000),
            (1 << 18, 8, 17),
            (1 << 15, 0, 1),
        ] {
            let bad = KeyFile { n, r, p, ..good.clone() };
            assert!(matches!(bad.open(b"x"), Err(Unusable::File(_))), "{n} {r} {p}");
        }
        // What restic 0.14 made on two busy cores, and what rustic makes.
        for (n, r, p) in [(1 << 12, 8, 21), (1 << 17, 8, 1)] {
            let accepted = KeyFile { n, r, p, ..good.clone() };
            assert!(accepted.checked_log_n().is_ok(), "{n} {r} {p}");
        }
    }
}
