//! SCRAM-SHA-256 (RFC 5802, RFC 7677) from the client's side: [`Scram`].
//!
//! As PostgreSQL does it: the user name inside the exchange stays empty (the startup message has it), and a password that SASLprep refuses is used
//! as the bytes that it is. The server's signature is checked: without that, anybody who answers the connection could pass for the server.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, Mac, digest::KeyInit};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Password;

/// The most iterations that a server may ask for. PostgreSQL's default is 4,096; a million take a plugin about three seconds. Without a bound, a hostile server
/// holds the plugin for hours.
pub const MAX_ITERATIONS: u32 = 1_000_000;

/// The longest message of the exchange, in bytes; PostgreSQL's are about 100.
const MAX_MESSAGE: usize = 4096;

type Key = [u8; 32];

/// What ties the exchange to the TLS connection below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChannelBinding {
    /// No TLS, or nothing to bind to ("n").
    Unsupported,
    /// TLS, but the server doesn't offer binding ("y"): a server that does offers it in vain, and notices that somebody hid its offer.
    NotOffered,
    /// SCRAM-SHA-256-PLUS with `tls-server-end-point`, the hash of the server's certificate.
    EndPoint(Vec<u8>),
}

impl ChannelBinding {
    /// The name of the mechanism.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        match self {
            Self::EndPoint(_) => "SCRAM-SHA-256-PLUS",
            Self::Unsupported | Self::NotOffered => "SCRAM-SHA-256",
        }
    }

    fn header(&self) -> &'static str {
        match self {
            Self::Unsupported => "n,,",
            Self::NotOffered => "y,,",
            Self::EndPoint(_) => "p=tls-server-end-point,,",
        }
    }

    fn encoded(&self) -> String {
        let mut input = self.header().as_bytes().to_vec();
        if let Self::EndPoint(hash) = self {
            input.extend_from_slice(hash);
        }
        BASE64.encode(input)
    }
}

/// An exchange that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// Not the messages of RFC 5802.
    #[error("the server's SCRAM message is malformed")]
    Malformed,
    /// A nonce that isn't ours continued.
    #[error("the server's SCRAM nonce does not continue the client's")]
    ForeignNonce,
    /// Outside 1 to [`MAX_ITERATIONS`].
    #[error("the server asks for {0} SCRAM iterations; the limit is {MAX_ITERATIONS}")]
    Iterations(u64),
    /// The server doesn't know the password's verifier: it isn't the server.
    #[error("the server could not prove that it knows the password")]
    ServerSignature,
    /// `e=` in the last message.
    #[error("the server ended the SCRAM exchange: {0}")]
    Refused(String),
}

/// One exchange, in the order [`Self::first`], [`Self::respond`], [`Self::verify`].
pub struct Scram {
    password: Zeroizing<Vec<u8>>,
    binding: ChannelBinding,
    nonce: String,
    server_signature: Option<Key>,
}

impl Scram {
    /// Begins an exchange; `nonce` is at least 18 random bytes in base64.
    #[must_use]
    pub fn new(password: &Password, binding: ChannelBinding, nonce: String) -> Self {
        Self {
            password: prepare(password.bytes()),
            binding,
            nonce,
            server_signature: None,
        }
    }

    /// The client's first message.
    #[must_use]
    pub fn first(&self) -> String {
        format!("{}{}", self.binding.header(), self.first_bare())
    }

    fn first_bare(&self) -> String {
        format!("n=,r={}", self.nonce)
    }

    /// The client's last message, in answer to the server's first.
    pub fn respond(&mut self, server_first: &[u8]) -> Result<String, ScramError> {
        let server_first = text(server_first)?;
        let challenge = Challenge::parse(server_first)?;
        if challenge.nonce.len() <= self.nonce.len() || !challenge.nonce.starts_with(&self.nonce) {
            return Err(ScramError::ForeignNonce);
        }
        let without_proof = format!("c={},r={}", self.binding.encoded(), challenge.nonce);
        let signed = format!("{},{server_first},{without_proof}", self.first_bare());

        let salted = Zeroizing::new(salted_password(&self.password, &challenge.salt, challenge.iterations));
        let client_key = Zeroizing::new(hmac(&*salted, b"Client Key"));
        let stored_key: Key = Sha256::digest(*client_key).into();
        let mut proof = hmac(&stored_key, signed.as_bytes());
        proof.iter_mut().zip(client_key.iter()).for_each(|(byte, key)| *byte ^= key);
        let server_key = Zeroizing::new(hmac(&*salted, b"Server Key"));
        self.server_signature = Some(hmac(&*server_key, signed.as_bytes()));
        Ok(format!("{without_proof},p={}", BASE64.encode(proof)))
    }

    /// Checks the server's last message.
    pub fn verify(&self, server_final: &[u8]) -> Result<(), ScramError> {
        let message = text(server_final)?;
        if let Some(reason) = message.strip_prefix("e=") {
            return Err(ScramError::Refused(
                reason.chars().filter(|character| !character.is_control()).collect(),
            ));
        }
        let signature = message
            .split(',')
            .next()
            .and_then(|field| field.strip_prefix("v="))
            .ok_or(ScramError::Malformed)?;
        let signature = BASE64.decode(signature).map_err(|_| ScramError::Malformed)?;
        let expected = self.server_signature.ok_or(ScramError::Malformed)?;
        if bool::from(signature.ct_eq(&expected)) {
            Ok(())
        } else {
            Err(ScramError::ServerSignature)
        }
    }
}

struct Challenge<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> Challenge<'a> {
    fn parse(message: &'a str) -> Result<Self, ScramError> {
        let mut fields = message.split(',');
        let mut field = |prefix| {
            fields
                .next()
                .and_then(|field| field.strip_prefix(prefix))
                .ok_or(ScramError::Malformed)
        };
        let nonce = field("r=")?;
        let salt = BASE64.decode(field("s=")?).map_err(|_| ScramError::Malformed)?;
        let asked: u64 = field("i=")?.parse().map_err(|_| ScramError::Malformed)?;
        match u32::try_from(asked) {
            Ok(iterations @ 1..=MAX_ITERATIONS) => Ok(Self { nonce, salt, iterations }),
            _ => Err(ScramError::Iterations(asked)),
        }
    }
}

fn text(message: &[u8]) -> Result<&str, ScramError> {
    if message.len() > MAX_MESSAGE {
        return Err(ScramError::Malformed);
    }
    str::from_utf8(message).map_err(|_| ScramError::Malformed)
}

fn prepare(password: &[u8]) -> Zeroizing<Vec<u8>> {
    let prepared = str::from_utf8(password).ok().and_then(|text| stringprep::saslprep(text).ok());
    Zeroizing::new(prepared.map_or_else(|| password.to_vec(), |text| text.into_owned().into_bytes()))
}

/// `Hi` of RFC 5802: PBKDF2 with HMAC-SHA-256 and one block of output.
fn salted_password(password: &[u8], salt: &[u8], iterations: u32) -> Key {
    let keyed = keyed(password);
    let mut block: Key = keyed
        .clone()
        .chain_update(salt)
        .chain_update(1_u32.to_be_bytes())
        .finalize()
        .into_bytes()
        .into();
    let mut result = block;
    for _ in 1..iterations {
        block = keyed.clone().chain_update(block).finalize().into_bytes().into();
        result.iter_mut().zip(block).for_each(|(byte, other)| *byte ^= other);
    }
    result
}

fn hmac(key: &[u8], data: &[u8]) -> Key {
    keyed(key).chain_update(data).finalize().into_bytes().into()
}

/// HMAC's own preparation of a key: hashed if it is longer than a block, then filled up with zeros.
fn keyed(key: &[u8]) -> Hmac<Sha256> {
    let mut block = Zeroizing::new([0_u8; 64]);
    if key.len() > block.len() {
        block[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    <Hmac<Sha256> as KeyInit>::new((&*block).into())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO";
    const SERVER_FIRST: &str = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

    /// RFC 7677's example has the user name "user" in the exchange; PostgreSQL has none, so its proofs differ from the RFC's and were computed with
    /// an independent implementation (Python's hashlib and hmac).
    fn exchange() -> Scram {
        Scram::new(&Password::new(b"pencil".to_vec()), ChannelBinding::Unsupported, NONCE.into())
    }

    #[test]
    fn derives_the_salted_password_of_rfc_7677() {
        let salt = BASE64.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let salted = salted_password(b"pencil", &salt, 4096);
        // The RFC's proof, with the RFC's own messages.
        let signed = format!("n=user,r={NONCE},{SERVER_FIRST},c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
        let client_key = hmac(&salted, b"Client Key");
        let stored: Key = Sha256::digest(client_key).into();
        let mut proof = hmac(&stored, signed.as_bytes());
        proof.iter_mut().zip(client_key).for_each(|(byte, key)| *byte ^= key);
        assert_eq!(BASE64.encode(proof), "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let server_key = hmac(&salted, b"Server Key");
        assert_eq!(
            BASE64.encode(hmac(&server_key, signed.as_bytes())),
            "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
        );
    }

    #[test]
    fn accepts_the_signature_of_a_server_that_knows_the_password_and_no_other() {
        let mut scram = exchange();
        assert_eq!(scram.first(), format!("n,,n=,r={NONCE}"));
        let answer = scram.respond(SERVER_FIRST.as_bytes()).unwrap();
        assert!(answer.starts_with("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p="));
        let good = format!("v={}", BASE64.encode(scram.server_signature.unwrap()));
        assert_eq!(scram.verify(good.as_bytes()), Ok(()));
        let forged = format!("v={}", BASE64.encode([7_u8; 32]));
        assert_eq!(scram.verify(forged.as_bytes()), Err(ScramError::ServerSignature));
        assert_eq!(scram.verify(b"v="), Err(ScramError::ServerSignature));
        assert_eq!(scram.verify(b"e=invalid-proof"), Err(ScramError::Refused("invalid-proof".into())));
    }

    #[test]
    fn refuses_what_a_hostile_server_may_say() {
        let first = |message: &str| exchange().respond(message.as_bytes()).unwrap_err();
        assert_eq!(first("r=other,s=AAAA,i=4096"), ScramError::ForeignNonce);
        assert_eq!(
            first(&format!("r={NONCE},s=AAAA,i=4096")),
            ScramError::ForeignNonce,
            "nothing was added"
        );
        assert_eq!(first(&format!("r={NONCE}x,s=AAAA,i=0")), ScramError::Iterations(0));
        assert_eq!(
            first(&format!("r={NONCE}x,s=AAAA,i=4294967297")),
            ScramError::Iterations(4_294_967_297)
        );
        assert_eq!(first(&format!("r={NONCE}x,s=?,i=1")), ScramError::Malformed);
        assert_eq!(first(""), ScramError::Malformed);
        assert_eq!(exchange().respond(&[0xFF]).unwrap_err(), ScramError::Malformed);
        assert_eq!(
            exchange().verify(b"v=AAAA").unwrap_err(),
            ScramError::Malformed,
            "nothing was sent yet"
        );
    }

    #[test]
    fn binds_to_the_certificate() {
        let hash = vec![1, 2, 3];
        let scram = Scram::new(&Password::new(vec![]), ChannelBinding::EndPoint(hash.clone()), NONCE.into());
        assert_eq!(scram.first(), format!("p=tls-server-end-point,,n=,r={NONCE}"));
        let mut expected = b"p=tls-server-end-point,,".to_vec();
        expected.extend(hash);
        assert_eq!(BASE64.decode(scram.binding.encoded()).unwrap(), expected);
    }

    #[test]
    fn prepares_passwords_as_postgres_does() {
        assert_eq!(*prepare("I\u{AD}X".as_bytes()), b"IX", "RFC 4013: mapped to nothing");
        assert_eq!(*prepare("\u{2168}".as_bytes()), b"IX", "RFC 4013: normalized");
        assert_eq!(*prepare(b"a\x07"), b"a\x07", "prohibited: used as it is");
        assert_eq!(*prepare(&[0xFF, 0x41]), [0xFF, 0x41], "not UTF-8: used as it is");
    }
}
