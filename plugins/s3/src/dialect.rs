//! S3's headers and errors: [`Amazon`].

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bulkhead_sdk::{
    digest::{Algorithm, digest},
    prelude::*,
    services::{Dialect, Refusal, Verdict},
};

use crate::config::{Checksum, Config};

/// How S3 and its kin are spoken to.
#[derive(Debug)]
pub(crate) struct Amazon {
    checksum: Checksum,
    place: String,
}

impl Amazon {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            checksum: config.checksum,
            place: config.place(),
        }
    }
}

impl Dialect for Amazon {
    /// The host knows the object's SHA-256: signed with the request, the server refuses what came differently.
    fn headers_of_object(&self, object: &ObjectReader<'_>) -> Vec<(String, Vec<u8>)> {
        let sha256 = object.sha256();
        let mut headers = vec![("x-amz-content-sha256".to_owned(), hex::encode(&sha256).into_bytes())];
        if self.checksum == Checksum::Sha256 {
            headers.push(("x-amz-checksum-sha256".to_owned(), STANDARD.encode(&sha256).into_bytes()));
        }
        headers
    }

    fn headers_of_body(&self, body: &[u8]) -> Vec<(String, Vec<u8>)> {
        let sha256 = digest(Algorithm::Sha256, body);
        vec![("x-amz-content-sha256".to_owned(), hex::encode(sha256).into_bytes())]
    }

    fn judge(&self, refusal: &Refusal<'_>) -> Verdict {
        let answer = Answer::read(refusal.body);
        match answer.code.as_str() {
            "" => self.judge_without_code(refusal),
            code => self.judge_code(code, &answer, refusal),
        }
    }
}

impl Amazon {
    /// Answers to `HEAD` have no body, and those of a proxy on the way no code.
    fn judge_without_code(&self, refusal: &Refusal<'_>) -> Verdict {
        match refusal.status {
            400 | 403 if refusal.method == "HEAD" => Verdict::Fail(
                refusal
                    .error(
                        ErrorKind::PermissionDenied,
                        "the server does not allow this, or refused the credentials",
                    )
                    .with_hint(format!(
                        "`bulkhead check` says more; reading {} needs `s3:GetObject` and `s3:ListBucket`",
                        self.place
                    )),
            ),
            301 | 307 => Verdict::Fail(elsewhere(refusal, refusal.header("x-amz-bucket-region"))),
            _ => refusal.judge_by_status(),
        }
    }

    fn judge_code(&self, code: &str, answer: &Answer, refusal: &Refusal<'_>) -> Verdict {
        let error = |kind, what: &str| {
            let error = refusal.error(kind, what);
            if answer.message.is_empty() {
                error.with_cause(code)
            } else {
                error.with_cause(format!("{code}: {}", answer.message))
            }
        };
        let passing = |kind, what: &str| Verdict::Retry(error(kind, what).with_retryable(true));
        match code {
            "NoSuchKey" | "NoSuchVersion" | "NotFound" | "PreconditionFailed" | "InvalidRange" | "NotModified" => Verdict::Pass,
            "NoSuchBucket" => Verdict::Fail(
                error(ErrorKind::Config, "there is no such bucket")
                    .with_setting("bucket")
                    .with_hint("create it where you have the rights for that, or correct its name; the URL must be that of its region"),
            ),
            "InvalidAccessKeyId" => Verdict::Fail(
                error(ErrorKind::Unauthenticated, "the server does not know the access key")
                    .with_hint("look at the access key in the endpoint's `auth.aws`: is it of this server, and still active?"),
            ),
            "SignatureDoesNotMatch" => Verdict::Fail(
                error(ErrorKind::Unauthenticated, "the server refused the signature")
                    .with_hint("the secret key in the endpoint's `auth.aws` is not that of its access key, or something on the way changes requests"),
            ),
            "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => Verdict::Fail(
                error(ErrorKind::Unauthenticated, "the session token has expired, or is not valid")
                    .with_hint("renew what the endpoint's `auth.aws` takes it from; it is read again for the next run"),
            ),
            "RequestTimeTooSkewed" | "RequestExpired" => Verdict::Fail(skewed(&error(ErrorKind::Unauthenticated, "the clocks differ"), answer, refusal)),
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" => Verdict::Fail(
                error(ErrorKind::PermissionDenied, "the server does not allow this").with_hint(format!(
                    "allow it for {}: `s3:ListBucket` on the bucket, `s3:GetObject`, `s3:PutObject` and, but for append-only credentials, `s3:DeleteObject` on what is in it; \
                     an object that is locked cannot be removed by anybody",
                    self.place
                )),
            ),
            "PermanentRedirect" | "TemporaryRedirect" | "Redirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException" => {
                Verdict::Fail(elsewhere(refusal, answer.field("Region").or_else(|| refusal.header("x-amz-bucket-region").map(str::to_owned)).as_deref()).with_cause(format!("{code}: {}", answer.message)))
            }
            "InvalidObjectState" => Verdict::Fail(
                error(ErrorKind::Unsupported, "the object is in a storage class that must be restored before it can be read")
                    .with_hint("restore the objects of the vault in the bucket (`aws s3api restore-object`), and keep lifecycle rules from moving them"),
            ),
            // MinIO's word for an object that is locked.
            "InvalidRequest" if answer.message.contains("WORM") => Verdict::Fail(error(ErrorKind::PermissionDenied, "the object is locked")),
            "InvalidRequest" if answer.message.starts_with("Bucket is missing") => Verdict::Fail(
                error(ErrorKind::Config, "the bucket does not lock objects")
                    .with_hint("take `lock` out of the sink's table, or enable object lock on the bucket: most stores allow that only when it is created"),
            ),
            "QuotaExceeded" | "StorageQuotaExceeded" | "XMinioStorageFull" | "XMinioAdminBucketQuotaExceeded" | "InsufficientStorage" | "InsufficientCapacity" | "TooManyBuckets" => Verdict::Fail(
                error(ErrorKind::StorageFull, "there is no room left").with_hint("raise the quota, or make room with `bulkhead forget` and `bulkhead prune`"),
            ),
            "SlowDown" | "TooManyRequests" | "RequestLimitExceeded" | "BandwidthLimitExceeded" | "Throttling" | "ThrottlingException" => match passing(ErrorKind::Limit, "the server asks for fewer requests") {
                Verdict::Retry(error) => Verdict::Retry(error.with_setting("concurrency").with_hint("lower `concurrency`, or ask the provider for a higher rate")),
                other => other,
            },
            "XAmzContentSHA256Mismatch" | "BadDigest" | "InvalidDigest" | "IncompleteBody" | "XAmzContentChecksumMismatch" => passing(ErrorKind::Corrupt, "what the server got is not what was sent"),
            "ConditionalRequestConflict" | "OperationAborted" => passing(ErrorKind::Conflict, "somebody else writes the same object"),
            "InternalError" | "ServiceUnavailable" | "RequestTimeout" | "ServerNotInitialized" => passing(ErrorKind::Server, "the server failed"),
            "NotImplemented" | "MethodNotAllowed" => Verdict::Fail(error(ErrorKind::Unsupported, "the server does not do this")),
            _ if matches!(refusal.status, 408 | 429 | 500 | 502..=504) => passing(ErrorKind::Server, "the server failed"),
            _ => Verdict::Fail(error(ErrorKind::Server, "the server refused")),
        }
    }
}

/// Another region, or another server.
fn elsewhere(refusal: &Refusal<'_>, region: Option<&str>) -> Error {
    let error = refusal.error(ErrorKind::Config, "the bucket is in another region, or at another address");
    match region {
        Some(region) => error.with_hint(format!(
            "write `region = \"{region}\"` in the endpoint's `auth.aws`, and the URL of that region"
        )),
        None => error.with_hint("write the region of the bucket in the endpoint's `auth.aws`, and the URL of that region"),
    }
}

/// By how much the clocks differ is in the answer.
fn skewed(error: &Error, answer: &Answer, refusal: &Refusal<'_>) -> Error {
    let server = answer.field("ServerTime").or_else(|| refusal.header("date").map(str::to_owned));
    let told = match (server, answer.field("RequestTime")) {
        (Some(server), Some(ours)) => format!("the server's clock says {server}, this host's {ours}; "),
        (Some(server), None) => format!("the server's clock says {server}; "),
        (None, _) => String::new(),
    };
    error.clone().with_hint(format!(
        "{told}set this host's clock (`timedatectl set-ntp true`): more than 15 minutes of difference are refused"
    ))
}

/// The document in which S3 says what went wrong.
struct Answer {
    text: String,
    code: String,
    message: String,
}

impl Answer {
    fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body).into_owned();
        let (code, message) = (
            field(&text, "Code").unwrap_or_default(),
            field(&text, "Message").unwrap_or_default(),
        );
        Self { text, code, message }
    }

    fn field(&self, name: &str) -> Option<String> {
        field(&self.text, name)
    }
}

/// What is between the first `<name>` and `</name>`: these documents are flat. At most 300 characters, for a message.
fn field(text: &str, name: &str) -> Option<String> {
    let content = text.split_once(&format!("<{name}>"))?.1.split_once(&format!("</{name}>"))?.0;
    let shown: String = content
        .trim()
        .chars()
        .filter(|character| !character.is_control())
        .take(300)
        .collect();
    Some(
        shown
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&apos;", "'")
            .replace("&amp;", "&"),
    )
}
