//! A private key of RSA (RFC 8017): [`public`]. Only that of a TLS certificate may be one. What is asked of it beside the RFC is what Go asks, in which Fabric CA is written.

use num_bigint::BigUint;
use x509_cert::der::{
    self, Decode as _, Encode as _, Reader, SliceReader, Tag,
    asn1::{AnyRef, UintRef},
};

/// Bytes of a number, and how many primes: OpenSSL makes no more, and calculating with them takes a moment only.
const MAX_BYTES: u16 = 16_384 / 8;
const MAX_PRIMES: usize = 5;

/// What is looked into of a key.
struct Key {
    modulus: BigUint,
    exponent: BigUint,
    private_exponent: BigUint,
    primes: Vec<BigUint>,
    /// Its public half.
    public: Vec<u8>,
}

/// The public half as certificates have it; `None` of what is no key, or one whose halves are of two.
pub(crate) fn public(der: &[u8]) -> Option<Vec<u8>> {
    let key = read(der).ok()?;
    key.is_whole().then_some(key.public)
}

impl Key {
    /// Whether its primes make its modulus, and each exponent undoes what the other does.
    fn is_whole(&self) -> bool {
        let one = BigUint::from(1_u8);
        let both = &self.exponent * &self.private_exponent;
        let undone = |prime: &BigUint| *prime > one && &both % (prime - &one) == &one % (prime - &one);
        self.primes.len() <= MAX_PRIMES && self.primes.iter().product::<BigUint>() == self.modulus && self.primes.iter().all(undone)
    }
}

fn read(der: &[u8]) -> der::Result<Key> {
    let mut reader = SliceReader::new(der)?;
    let key = reader.sequence(|reader| {
        // The version, which says whether there are more than two primes.
        u8::decode(reader)?;
        let (modulus, exponent) = (UintRef::decode(reader)?, UintRef::decode(reader)?);
        let private_exponent = number(reader)?;
        let mut primes = vec![number(reader)?, number(reader)?];
        // What is made of these.
        for _ in 0..3 {
            number(reader)?;
        }
        if !reader.is_finished() {
            primes.extend(reader.sequence(further_primes)?);
        }
        Ok(Key {
            modulus: bounded(modulus)?,
            exponent: bounded(exponent)?,
            private_exponent,
            primes,
            public: sequence(modulus, exponent)?,
        })
    })?;
    reader.finish(key)
}

/// Those after the second one, each with two numbers that are made of it.
fn further_primes<'r>(reader: &mut impl Reader<'r>) -> der::Result<Vec<BigUint>> {
    let mut primes = Vec::new();
    while !reader.is_finished() {
        let prime = reader.sequence(|reader| {
            let prime = number(reader)?;
            number(reader)?;
            number(reader)?;
            Ok(prime)
        })?;
        primes.push(prime);
    }
    Ok(primes)
}

fn number<'r>(reader: &mut impl Reader<'r>) -> der::Result<BigUint> {
    bounded(UintRef::decode(reader)?)
}

fn bounded(number: UintRef<'_>) -> der::Result<BigUint> {
    if number.len() > MAX_BYTES.into() {
        return Err(Tag::Integer.length_error());
    }
    Ok(BigUint::from_bytes_be(number.as_bytes()))
}

fn sequence(modulus: UintRef<'_>, exponent: UintRef<'_>) -> der::Result<Vec<u8>> {
    let both = [modulus.to_der()?, exponent.to_der()?].concat();
    AnyRef::new(Tag::Sequence, &both)?.to_der()
}
