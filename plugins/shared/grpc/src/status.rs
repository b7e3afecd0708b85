//! How a call ended: [`Status`], from the header or trailer fields `grpc-status` and `grpc-message`.

use http::HeaderMap;

/// Longest `grpc-message` that is kept; servers put stack traces into it.
const MAX_MESSAGE: usize = 4096;

/// gRPC's status codes (grpc.io, "Status codes and their use in gRPC").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the specification's own names")]
pub enum Code {
    Ok,
    Cancelled,
    Unknown,
    InvalidArgument,
    DeadlineExceeded,
    NotFound,
    AlreadyExists,
    PermissionDenied,
    ResourceExhausted,
    FailedPrecondition,
    Aborted,
    OutOfRange,
    Unimplemented,
    Internal,
    Unavailable,
    DataLoss,
    Unauthenticated,
}

impl Code {
    /// The code of this number; those that the specification doesn't know are `Unknown`.
    #[must_use]
    pub fn from_number(number: u32) -> Self {
        const CODES: [Code; 17] = [
            Code::Ok,
            Code::Cancelled,
            Code::Unknown,
            Code::InvalidArgument,
            Code::DeadlineExceeded,
            Code::NotFound,
            Code::AlreadyExists,
            Code::PermissionDenied,
            Code::ResourceExhausted,
            Code::FailedPrecondition,
            Code::Aborted,
            Code::OutOfRange,
            Code::Unimplemented,
            Code::Internal,
            Code::Unavailable,
            Code::DataLoss,
            Code::Unauthenticated,
        ];
        usize::try_from(number)
            .ok()
            .and_then(|index| CODES.get(index).copied())
            .unwrap_or(Self::Unknown)
    }
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What a program needs to know.
    pub code: Code,
    /// The server's own words.
    pub message: String,
}

impl Status {
    /// The status in these headers or trailers, if there is one.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let number = headers.get("grpc-status")?.to_str().ok().and_then(|text| text.parse().ok());
        let message = headers
            .get("grpc-message")
            .map_or_else(String::new, |value| decode(value.as_bytes()));
        Some(Self {
            code: number.map_or(Code::Unknown, Code::from_number),
            message,
        })
    }
}

/// Undoes the percent-encoding of `grpc-message`; what is not properly encoded stays as it is.
fn decode(text: &[u8]) -> String {
    let text = &text[..text.len().min(MAX_MESSAGE)];
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = match (first, tail) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                bytes.push(high << 4 | low);
                rest = &tail[2..];
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_status_is_read_with_its_message_decoded() {
        let mut headers = HeaderMap::new();
        assert_eq!(Status::of(&headers), None);
        headers.insert("grpc-status", HeaderValue::from_static("14"));
        headers.insert("grpc-message", HeaderValue::from_static("etcdserver: no%20leader %e2%82%ac 100%"));
        let expected = Status {
            code: Code::Unavailable,
            message: "etcdserver: no leader € 100%".to_owned(),
        };
        assert_eq!(Status::of(&headers), Some(expected));
    }

    #[test]
    fn a_code_from_the_future_or_nonsense_is_unknown() {
        for text in ["17", "4294967296", "-1", "x", ""] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-status", HeaderValue::from_static(text));
            assert_eq!(Status::of(&headers).map(|status| status.code), Some(Code::Unknown), "{text}");
        }
    }
}
