//! AWS Signature Version 4 ([`sign`]), so that a plugin talks to S3 and its kin without ever holding a key.
//!
//! Ours rather than a library's: those that there are (reqsign, aws-sigv4) copy the key into strings that are never erased, and this is one page, checked
//! with AWS's own examples. What is signed is the head; the body's SHA-256 is in it where the plugin says it (`x-amz-content-sha256`), and the server
//! compares. Otherwise the body goes unsigned, as S3 allows it.

use std::time::{SystemTime, UNIX_EPOCH};

use bulkhead_model::{Fault, FaultKind};
use bytes::Bytes;
use hyper::Request as HttpRequest;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue, USER_AGENT};
use ring::hmac;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::AwsCredentials;

/// What the signature is for: only S3 is spoken over endpoints so far.
const SERVICE: &str = "s3";
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const UNSIGNED: &str = "UNSIGNED-PAYLOAD";

/// Headers that belong to the host where it signs.
pub(super) const OWN_HEADERS: [HeaderName; 2] = [DATE, TOKEN];

/// Signs the head of a request to `region`, for the time `now`.
///
/// # Errors
/// `config` for credentials with characters that no header may have, `internal` for a content digest that is none.
pub(super) fn sign(head: &mut HttpRequest<()>, region: &str, credentials: &AwsCredentials, now: SystemTime) -> Result<(), Fault> {
    let time = Time::of(now);
    let scope = format!("{}/{region}/{SERVICE}/aws4_request", time.date);
    let content = content_digest(head)?;
    head.headers_mut().insert(CONTENT_DIGEST, plain(&content)?);
    head.headers_mut().insert(DATE, plain(&time.full)?);
    if let Some(token) = &credentials.session_token {
        head.headers_mut().insert(TOKEN, secret_value(token.expose().to_vec())?);
    }
    let (names, canonical) = canonical(head, &content);
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{}\n{scope}\n{}",
        time.full,
        hex::encode(Sha256::digest(&*canonical))
    );
    let key = key(credentials.secret_access_key.expose(), &time.date, region);
    let signature = hex::encode(mac(&*key, to_sign.as_bytes()));
    let mut value = Vec::from("AWS4-HMAC-SHA256 Credential=".as_bytes());
    value.extend_from_slice(credentials.access_key_id.expose());
    value.extend_from_slice(format!("/{scope}, SignedHeaders={names}, Signature={signature}").as_bytes());
    head.headers_mut().insert(AUTHORIZATION, secret_value(value)?);
    Ok(())
}

/// What the plugin says of the body, or that nothing is said of it.
fn content_digest(head: &HttpRequest<()>) -> Result<String, Fault> {
    match head.headers().get(&CONTENT_DIGEST).map(HeaderValue::as_bytes) {
        None if head.headers().contains_key(CONTENT_LENGTH) => Ok(UNSIGNED.to_owned()),
        None => Ok(hex::encode(Sha256::digest(b""))),
        Some(digest) if digest == UNSIGNED.as_bytes() => Ok(UNSIGNED.to_owned()),
        Some(digest) if digest.len() == 64 && digest.iter().all(u8::is_ascii_hexdigit) => {
            Ok(String::from_utf8_lossy(digest).to_ascii_lowercase())
        }
        Some(_) => Err(Fault::new(
            FaultKind::Internal,
            format!("the plugin's `{CONTENT_DIGEST}` is neither a SHA-256 in hexadecimal digits nor `{UNSIGNED}`"),
        )),
    }
}

/// The names of the signed headers, and the canonical request. It has the session token in it, and is erased.
fn canonical(head: &HttpRequest<()>, content: &str) -> (String, Zeroizing<Vec<u8>>) {
    let mut names: Vec<&HeaderName> = head.headers().keys().filter(|name| is_signed(name)).collect();
    names.sort_by_key(|name| name.as_str());
    let list = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(";");
    let uri = head.uri();
    let (path, query) = (recoded(uri.path(), true), canonical_query(uri.query().unwrap_or_default()));
    let values = |name: &HeaderName| {
        head.headers()
            .get_all(name)
            .iter()
            .map(|value| value.as_bytes().trim_ascii())
            .collect::<Vec<_>>()
    };
    let lengths: usize = names
        .iter()
        .map(|name| name.as_str().len() + 2 + values(name).iter().map(|value| value.len() + 1).sum::<usize>())
        .sum();
    let fixed = head.method().as_str().len() + path.len() + query.len() + list.len() + content.len() + 8;
    // Of its full size from the beginning: what a growing buffer leaves behind would not be erased.
    let mut text = Zeroizing::new(Vec::with_capacity(fixed + lengths));
    text.extend_from_slice(format!("{}\n{path}\n{query}\n", head.method()).as_bytes());
    for name in &names {
        text.extend_from_slice(name.as_str().as_bytes());
        text.push(b':');
        for (position, value) in values(name).into_iter().enumerate() {
            text.extend_from_slice(if position > 0 { b"," } else { b"" });
            text.extend_from_slice(value);
        }
        text.push(b'\n');
    }
    text.extend_from_slice(format!("\n{list}\n{content}").as_bytes());
    (list, text)
}

/// All but what a proxy on the way may change.
fn is_signed(name: &HeaderName) -> bool {
    ![AUTHORIZATION, CONTENT_LENGTH, USER_AGENT].contains(name) && name != "accept-encoding"
}

/// Names and values encoded anew and sorted.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (recoded(name, false), recoded(value, false)))
        .collect();
    pairs.sort();
    pairs
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&")
}

/// Percent-encoded as AWS wants it, whatever the plugin left as it was: all but unreserved characters (RFC 3986), hexadecimal digits in capitals.
fn recoded(text: &str, slashes: bool) -> String {
    let mut recoded = String::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.get(..2).filter(|_| first == b'%').and_then(|digits| hex::decode(digits).ok());
        let byte = match escaped {
            Some(byte) => {
                rest = &after[2..];
                byte[0]
            }
            None => {
                rest = after;
                first
            }
        };
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || (slashes && byte == b'/') {
            recoded.push(char::from(byte));
        } else {
            recoded.push_str(&format!("%{byte:02X}"));
        }
    }
    recoded
}

/// The key of one day, region and service.
fn key(secret: &[u8], date: &str, region: &str) -> Zeroizing<[u8; 32]> {
    let mut first = Zeroizing::new(Vec::with_capacity(4 + secret.len()));
    first.extend_from_slice(b"AWS4");
    first.extend_from_slice(secret);
    let start = mac(&first, date.as_bytes());
    [region, SERVICE, "aws4_request"]
        .iter()
        .fold(start, |key, part| mac(&*key, part.as_bytes()))
}

fn mac(key: &[u8], message: &[u8]) -> Zeroizing<[u8; 32]> {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
    let mut code = Zeroizing::new([0; 32]);
    code.copy_from_slice(tag.as_ref());
    code
}

fn plain(text: &str) -> Result<HeaderValue, Fault> {
    HeaderValue::from_str(text).map_err(|error| Fault::new(FaultKind::Internal, "a header could not be made").caused_by(&error))
}

/// A header that keeps these very bytes, and erases them when it is dropped. The cause of a failure is left out: it could quote the secret.
pub(super) fn secret_value(value: Vec<u8>) -> Result<HeaderValue, Fault> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(Zeroizing::new(value))).map_err(|_| {
        Fault::new(
            FaultKind::Config,
            "the credentials of the endpoint's `auth` have characters that no HTTP header may have",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// A time as the signature has it.
struct Time {
    /// `20130524T000000Z`
    full: String,
    /// `20130524`
    date: String,
}

impl Time {
    fn of(now: SystemTime) -> Self {
        let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (year, month, day) = civil(seconds / 86400);
        let date = format!("{year:04}{month:02}{day:02}");
        let (hours, minutes) = (seconds / 3600 % 24, seconds / 60 % 60);
        Self {
            full: format!("{date}T{hours:02}{minutes:02}{:02}Z", seconds % 60),
            date,
        }
    }
}

/// Year, month and day of a day since 1970-01-01, counted in years that begin in March, so that the leap day is the last one.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (
        era * 400 + year_of_era + u64::from(month <= 2),
        month,
        day_of_year - (153 * from_march + 2) / 5 + 1,
    )
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::time::Duration;

    use super::*;
    use crate::SecretBytes;

    /// 2013-05-24T00:00:00Z, the time of the examples in AWS's documentation of S3.
    const EXAMPLE: Duration = Duration::from_secs(1_369_353_600);

    fn credentials(token: Option<&str>) -> AwsCredentials {
        let secret = |text: &str| SecretBytes::new(text.as_bytes().to_vec());
        AwsCredentials {
            access_key_id: secret("AKIAIOSFODNN7EXAMPLE"),
            secret_access_key: secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(secret),
        }
    }

    fn signed(method: &str, target: &str, headers: &[(&str, &str)]) -> String {
        let mut head = HttpRequest::builder()
            .method(method)
            .uri(target)
            .header("host", "examplebucket.s3.amazonaws.com");
        for (name, value) in headers {
            head = head.header(*name, *value);
        }
        let mut head = head.body(()).unwrap();
        sign(&mut head, "us-east-1", &credentials(None), UNIX_EPOCH + EXAMPLE).unwrap();
        assert!(head.headers()[AUTHORIZATION].is_sensitive());
        head.headers()[AUTHORIZATION].to_str().unwrap().to_owned()
    }

    /// The examples of "Authenticating Requests: Using the Authorization Header" in the Amazon S3 API Reference.
    #[test]
    fn the_examples_of_the_documentation() {
        let get = signed("GET", "/test.txt", &[("range", "bytes=0-9")]);
        assert_eq!(
            get,
            "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
        );
        let digest = hex::encode(Sha256::digest(b"Welcome to Amazon S3."));
        let put = signed(
            "PUT",
            "/test%24file.text",
            &[
                ("date", "Fri, 24 May 2013 00:00:00 GMT"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ("x-amz-content-sha256", &digest),
                ("content-length", "21"),
            ],
        );
        assert!(
            put.ends_with("98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
            "{put}"
        );
        let lifecycle = signed("GET", "/?lifecycle", &[]);
        assert!(
            lifecycle.ends_with("fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            "{lifecycle}"
        );
        let list = signed("GET", "/?max-keys=2&prefix=J", &[]);
        assert!(
            list.ends_with("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
            "{list}"
        );
    }

    #[test]
    fn a_body_that_nothing_is_said_of_goes_unsigned_and_a_token_is_signed() {
        let mut head = HttpRequest::builder()
            .method("PUT")
            .uri("/a")
            .header("host", "h")
            .header("content-length", "3");
        head = head.header("user-agent", "x");
        let mut head = head.body(()).unwrap();
        sign(&mut head, "eu-central-1", &credentials(Some("temporary")), UNIX_EPOCH + EXAMPLE).unwrap();
        assert_eq!(head.headers()[CONTENT_DIGEST], UNSIGNED);
        assert!(head.headers()[TOKEN].is_sensitive());
        let signature = head.headers()[AUTHORIZATION].to_str().unwrap();
        assert!(
            signature.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token,"),
            "{signature}"
        );
        let mut wrong = HttpRequest::builder()
            .uri("/")
            .header(CONTENT_DIGEST, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
            .body(())
            .unwrap();
        let refused = sign(&mut wrong, "x", &credentials(None), UNIX_EPOCH).unwrap_err();
        assert_eq!(refused.kind, FaultKind::Internal);
    }

    #[test]
    fn paths_and_queries_are_encoded_as_the_server_does_it() {
        assert_eq!(recoded("/a%2fb c/\u{e4}~%7e", true), "/a/b%20c/%C3%A4~~");
        assert_eq!(
            canonical_query("prefix=a/b&list-type=2&flag&x=%zz"),
            "flag=&list-type=2&prefix=a%2Fb&x=%25zz"
        );
    }

    #[test]
    fn dates() {
        for (seconds, expected) in [
            (0, "19700101T000000Z"),
            (951_782_399, "20000228T235959Z"),
            (951_782_400, "20000229T000000Z"),
            (4_107_542_400, "21000301T000000Z"),
        ] {
            assert_eq!(Time::of(UNIX_EPOCH + Duration::from_secs(seconds)).full, expected);
        }
    }
}
