//! Speaking with a Fabric CA server: [`Server`]. Answers are streamed where they may be long.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulkhead_sdk::{Error, ErrorKind, Result, ResultExt, http::Request};
use serde::{
    Deserialize,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use serde_json::json;

use super::token::Signer;
use crate::{
    certificate::{Certificate, certificates},
    inventory::Attribute,
};

/// The granted endpoint.
pub(crate) const ENDPOINT: &str = "api";
/// The most that an answer may have that is read whole: identities and affiliations are the longest.
const ANSWER: usize = 64 << 20;
/// The most certificates of one CA: their records are held in memory, some 500 bytes each.
const MAX_CERTIFICATES: usize = 100_000;

/// A certificate that the CA lists.
pub(super) struct Record {
    pub(super) id: String,
    pub(super) not_after: i64,
    pub(super) expires: String,
    pub(super) sha256: String,
    pub(super) is_revoked: bool,
}

/// By serial number and issuer, without zeros at the beginning.
pub(super) type Records = BTreeMap<(String, String), Record>;

/// A CA of the server, as its registrar sees it.
pub(super) struct Server<'s>(pub(super) &'s Signer);

/// What every answer is in.
#[derive(Deserialize)]
struct Answer<T> {
    result: T,
}

/// What a CA says about itself.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Info {
    #[serde(rename = "CAName")]
    pub(super) name: String,
    /// Base64 of PEM: the CA's own certificate and those above it.
    #[serde(rename = "CAChain")]
    chain: String,
    #[serde(default)]
    pub(super) version: String,
}

impl Info {
    /// Whether its chain has this certificate.
    pub(super) fn has(&self, own: &Certificate) -> bool {
        let pem = STANDARD.decode(&self.chain).unwrap_or_default();
        certificates(&pem)
            .into_iter()
            .flatten()
            .any(|certificate| certificate.sha256 == own.sha256)
    }
}

#[derive(Deserialize)]
struct Identities {
    #[serde(default)]
    identities: Vec<Identity>,
}

/// An identity.
#[derive(Deserialize)]
pub(super) struct Identity {
    pub(super) id: String,
    #[serde(rename = "type", default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) affiliation: String,
    #[serde(default)]
    pub(super) attrs: Option<Vec<Attribute>>,
    #[serde(default)]
    pub(super) max_enrollments: i64,
}

#[derive(Deserialize)]
struct Affiliation {
    name: String,
    #[serde(default)]
    affiliations: Vec<Affiliation>,
}

impl Affiliation {
    fn names(self, into: &mut BTreeSet<String>) {
        self.affiliations.into_iter().for_each(|below| below.names(into));
        if !self.name.is_empty() {
            into.insert(self.name);
        }
    }
}

#[derive(Deserialize)]
struct Crl {
    /// Base64 of PEM.
    #[serde(rename = "CRL", default)]
    crl: String,
}

/// What a CA says about itself; anybody may ask.
pub(super) fn info(ca: &str) -> Result<Info> {
    let body = json!({ "caname": ca }).to_string();
    let request = Request::new("POST", ENDPOINT, "/cainfo").header("content-type", "application/json");
    let answer = request.send_bytes(body.as_bytes())?.success().map_err(explain)?;
    let answer: Answer<Info> = answer
        .into_json(ANSWER)
        .map_err(|error| error.with_hint("does `endpoint.api.url` lead to a Fabric CA server? It has no path"))?;
    Ok(answer.result)
}

impl Server<'_> {
    /// The identities that the registrar may see.
    pub(super) fn identities(&self, ca: &str) -> Result<Vec<Identity>> {
        let answer: Answer<Identities> = self.get(&format!("/identities?ca={}", url(ca)))?.into_json(ANSWER)?;
        Ok(answer.result.identities)
    }

    /// The affiliations that the registrar may see.
    pub(super) fn affiliations(&self, ca: &str) -> Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        match self.get(&format!("/affiliations?ca={}", url(ca))) {
            Ok(answer) => answer.into_json::<Answer<Affiliation>>(ANSWER)?.result.names(&mut names),
            // A CA without any answers so.
            Err(error) if error.kind == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(names)
    }

    /// All certificates that the CA has issued, and whether each is revoked.
    pub(super) fn certificates(&self, ca: &str) -> Result<Records> {
        let mut all = Records::new();
        self.each_certificate(ca, false, &mut |certificate| {
            all.insert(key(&certificate), record(certificate, true));
            match all.len() > MAX_CERTIFICATES {
                false => Ok(()),
                true => Err(
                    Error::new(ErrorKind::Limit, format!("the CA has more than {MAX_CERTIFICATES} certificates"))
                        .with_hint("leave `endpoint.api` out: the database has them all"),
                ),
            }
        })?;
        self.each_certificate(ca, true, &mut |certificate| {
            // One that was issued in between was not revoked either.
            all.insert(key(&certificate), record(certificate, false));
            Ok(())
        })?;
        Ok(all)
    }

    /// The list of revoked certificates, in PEM.
    pub(super) fn revocations(&self, ca: &str) -> Result<Vec<u8>> {
        const EVER: &str = "0001-01-01T00:00:00Z";
        let body =
            json!({ "caname": ca, "revokedafter": EVER, "revokedbefore": EVER, "expireafter": EVER, "expirebefore": EVER }).to_string();
        let answer: Answer<Crl> = self.send("POST", "/gencrl", body.as_bytes())?.into_json(ANSWER)?;
        STANDARD
            .decode(answer.result.crl)
            .map_err(|error| Error::protocol("the list of revoked certificates is no Base64").with_cause(error))
    }

    fn each_certificate(&self, ca: &str, good: bool, take: &mut dyn FnMut(Certificate) -> Result<()>) -> Result<()> {
        let path = format!("/certificates?notexpired=false&notrevoked={good}&ca={}", url(ca));
        let answer = BufReader::with_capacity(bulkhead_sdk::host::BEST_TRANSFER, self.get(&path)?);
        let mut failure = None;
        let mut reader = serde_json::Deserializer::from_reader(answer);
        let read = de::Deserializer::deserialize_map(
            &mut reader,
            Members(&mut |pem: String| match certificates(pem.as_bytes()).into_iter().next() {
                Some(Ok(certificate)) => take(certificate).map_err(|error| failure = Some(error)).is_ok(),
                _ => {
                    failure = Some(Error::protocol("the server lists a certificate that cannot be read"));
                    false
                }
            }),
        );
        let ended = read.and_then(|()| reader.end());
        match (failure, ended) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => {
                Err(Error::protocol(format!("the answer to GET {path} is not the JSON expected, or ends early")).with_cause(error))
            }
            (None, Ok(())) => Ok(()),
        }
    }

    fn get(&self, path: &str) -> Result<bulkhead_sdk::http::Response> {
        self.send("GET", path, b"")
    }

    fn send(&self, method: &str, path: &str, body: &[u8]) -> Result<bulkhead_sdk::http::Response> {
        let token = self.0.token(method, path, body)?;
        let request = Request::new(method, ENDPOINT, path).header("authorization", token);
        let answer = request.send_bytes(body).and_then(bulkhead_sdk::http::Response::success);
        answer
            .map_err(explain)
            .context(|| format!("the CA's API does not answer {method} {path}"))
    }
}

fn record(certificate: Certificate, is_revoked: bool) -> Record {
    Record {
        id: certificate.common_name.unwrap_or_default(),
        not_after: certificate.not_after,
        expires: certificate.expires,
        sha256: certificate.sha256,
        is_revoked,
    }
}

fn key(certificate: &Certificate) -> (String, String) {
    (certificate.serial.clone(), certificate.authority_key.clone().unwrap_or_default())
}

/// Adds what to do about it.
fn explain(error: Error) -> Error {
    match error.kind {
        ErrorKind::Unauthenticated | ErrorKind::PermissionDenied => error.with_hint(
            "the registrar's certificate must be one of this CA, neither expired nor revoked; it needs `hf.Registrar.Roles` and, for the list of revoked certificates, `hf.GenCRL`",
        ),
        _ => error,
    }
}

/// Percent-encoded, for a query or a name.
pub(super) fn url(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Told each certificate's PEM; `false` ends it.
type Take<'t> = &'t mut dyn FnMut(String) -> bool;

/// An answer whose `result` has `certs`, which are read one by one.
struct Members<'t>(Take<'t>);
/// A list of certificates.
struct List<'t>(Take<'t>);

#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "PEM")]
    pem: String,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            match &name[..] {
                "result" => map.next_value_seed(Members(self.0))?,
                "certs" => map.next_value_seed(List(self.0))?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("a list of certificates")
    }

    /// None at all.
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(listed) = list.next_element::<Listed>()? {
            if !(self.0)(listed.pem) {
                return Err(de::Error::custom("not wanted"));
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}
