//! What Drive means by an answer that is no success: [`judge`].
//!
//! The status alone does not say it: 403 stands for "too fast", "too full" and "not allowed" alike. The word in `errors[0].reason` does (Google's "Resolve
//! errors" of the Drive API lists them).

use bulkhead_sdk::{http::Response, prelude::*};

/// What is kept of a refusal's body: errors are documents of a few hundred bytes.
const MAX_REFUSAL: usize = 64 << 10;

/// Characters of Drive's own message that are told.
const MAX_MESSAGE: usize = 300;

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It failed.
    Fail(Error),
    /// The access token was refused. The host gets another one now, so it is tried once more.
    Renew(Error),
    /// It is tried again, after so many seconds where Drive says so; when that has been done often enough, this is the error.
    Retry(Error, Option<u64>),
}

impl From<Error> for Verdict {
    fn from(error: Error) -> Self {
        if error.retryable {
            Self::Retry(error, None)
        } else {
            Self::Fail(error)
        }
    }
}

/// The document in which Drive says what went wrong.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Document {
    error: Detail,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Detail {
    message: String,
    errors: Vec<Reason>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Reason {
    reason: String,
}

/// What `response`, to a request that is described as `what`, means.
pub(crate) fn judge(what: &str, response: Response) -> Verdict {
    let status = response.status();
    let asked = response.header("retry-after").and_then(|value| value.trim().parse().ok());
    let body = response.into_beginning(MAX_REFUSAL);
    judge_document(what, status, asked, &body)
}

fn judge_document(what: &str, status: u16, asked: Option<u64>, body: &[u8]) -> Verdict {
    let document: Document = serde_json::from_slice(body).unwrap_or_default();
    let reason = document.error.errors.first().map_or("", |first| first.reason.as_str());
    let told: String = document
        .error
        .message
        .chars()
        .filter(|character| !character.is_control())
        .take(MAX_MESSAGE)
        .collect();
    let error = |kind, meaning: &str| {
        let error = Error::new(kind, format!("{what}: {meaning} (status {status})")).with_retryable(false);
        match (reason, told.as_str()) {
            ("", "") => error,
            ("", told) => error.with_cause(told),
            (reason, told) => error.with_cause(format!("{reason}: {told}")),
        }
    };
    let passing = |kind, meaning: &str| Verdict::Retry(error(kind, meaning).with_retryable(true), asked);
    let denied = |meaning: &str, hint: &str| Verdict::Fail(error(ErrorKind::PermissionDenied, meaning).with_hint(hint));
    match (status, reason) {
        (401, _) => Verdict::Renew(error(ErrorKind::Unauthenticated, "Drive refused the access token").with_hint(
            "the host's token is not for Drive, or was withdrawn: look at the endpoint's `auth`; `bulkhead auth gdrive` gets a new one",
        )),
        (403 | 429, "userRateLimitExceeded" | "rateLimitExceeded") | (429, _) => {
            match passing(ErrorKind::Limit, "Drive asks for fewer requests") {
                Verdict::Retry(error, asked) => Verdict::Retry(
                    error
                        .with_setting("concurrency")
                        .with_hint("lower `concurrency`, or raise the project's quota of the Drive API in the Google Cloud console"),
                    asked,
                ),
                other => other,
            }
        }
        (403, "dailyLimitExceeded" | "quotaExceeded" | "dailyLimitExceededUnreg") => Verdict::Fail(
            error(ErrorKind::Limit, "the project has used up its requests of the day")
                .with_hint("raise the quota of the Drive API in the Google Cloud console, or wait until tomorrow (midnight, Pacific time)"),
        ),
        (403, "downloadQuotaExceeded") => Verdict::Fail(
            error(ErrorKind::Limit, "this file was read too often today").with_hint("wait until tomorrow, or read from another replica"),
        ),
        (
            403,
            "storageQuotaExceeded" | "teamDriveFileLimitExceeded" | "activeItemCreationLimitExceeded" | "numChildrenInNonRootLimitExceeded",
        ) => Verdict::Fail(error(ErrorKind::StorageFull, "there is no room left").with_hint(full_hint(reason, &told))),
        (403, "accessNotConfigured" | "SERVICE_DISABLED") => Verdict::Fail(
            error(
                ErrorKind::Config,
                "the Drive API is not enabled for the project of these credentials",
            )
            .with_hint("enable it in the Google Cloud console: APIs & Services, Library, Google Drive API"),
        ),
        (403, "insufficientPermissions" | "insufficientScopes" | "ACCESS_TOKEN_SCOPE_INSUFFICIENT") => denied(
            "the credentials are not for Drive",
            "give consent again with `bulkhead auth gdrive`: the token's scope must be that of Drive",
        ),
        (403, "appNotAuthorizedToFile") => denied(
            "these credentials see only files that they made themselves",
            "let `bulkhead auth gdrive --folder NAME` make the vault's folder, or use a service account",
        ),
        (403, "domainPolicy") => denied(
            "the domain's administrators do not allow third-party applications",
            "ask them to allow this one, or use a service account",
        ),
        (403, "cannotDownloadAbusiveFile") => denied(
            "Drive takes this file for malware or spam",
            "its content is encrypted, so that is an error: the owner can ask for a review in Drive; another replica has the object too",
        ),
        (403, _) => denied(
            "Drive does not allow this",
            "share the vault's folder with these credentials as an editor; in a shared drive, only managers delete: `removed = \"trashed\"` needs less",
        ),
        (404 | 410, _) => Verdict::Fail(error(ErrorKind::NotFound, "it is not there, or not shared with these credentials")),
        (409, _) => Verdict::Fail(error(ErrorKind::AlreadyExists, "it is there already")),
        (416, _) => Verdict::Fail(error(ErrorKind::Corrupt, "the range is not in the file")),
        (408 | 500 | 502..=504, _) => passing(ErrorKind::Server, "Drive failed"),
        (300..=399, _) => Verdict::Fail(
            error(ErrorKind::Config, "the server redirects").with_hint("the endpoint's `url` is `https://www.googleapis.com`"),
        ),
        _ => Verdict::Fail(error(ErrorKind::Server, "Drive refused")),
    }
}

/// What helps against the kind of fullness that it is.
fn full_hint(reason: &str, told: &str) -> &'static str {
    match reason {
        "storageQuotaExceeded" if told.contains("Service Accounts") => {
            "a service account has no room of its own: use a folder of a shared drive, or the refresh token of a person (`bulkhead auth gdrive`)"
        }
        "storageQuotaExceeded" => "buy room, empty the trash, or make room with `bulkhead forget` and `bulkhead prune`",
        "teamDriveFileLimitExceeded" => {
            "a shared drive has a limit of files: make larger packs, give the vault a drive of its own, or prune"
        }
        _ => "a folder and an account have limits of files: make larger packs, give the vault another folder, or prune",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, reason: &str) -> (char, ErrorKind, bool) {
        let body =
            format!(r#"{{"error":{{"code":{status},"message":"told","errors":[{{"domain":"x","reason":"{reason}","message":"told"}}]}}}}"#);
        let (letter, error) = match judge_document("GET /x", status, None, body.as_bytes()) {
            Verdict::Fail(error) => ('f', error),
            Verdict::Renew(error) => ('n', error),
            Verdict::Retry(error, _) => ('r', error),
        };
        assert!(error.to_string().contains(reason), "{error}");
        (letter, error.kind, error.retryable)
    }

    #[test]
    fn the_reason_decides_not_the_status() {
        assert_eq!(judged(403, "userRateLimitExceeded"), ('r', ErrorKind::Limit, true));
        assert_eq!(judged(403, "rateLimitExceeded"), ('r', ErrorKind::Limit, true));
        assert_eq!(judged(429, "rateLimitExceeded"), ('r', ErrorKind::Limit, true));
        assert_eq!(judged(403, "dailyLimitExceeded"), ('f', ErrorKind::Limit, false));
        assert_eq!(judged(403, "storageQuotaExceeded"), ('f', ErrorKind::StorageFull, false));
        assert_eq!(
            judged(403, "numChildrenInNonRootLimitExceeded"),
            ('f', ErrorKind::StorageFull, false)
        );
        assert_eq!(
            judged(403, "insufficientFilePermissions"),
            ('f', ErrorKind::PermissionDenied, false)
        );
        assert_eq!(judged(403, "accessNotConfigured"), ('f', ErrorKind::Config, false));
        assert_eq!(judged(401, "authError"), ('n', ErrorKind::Unauthenticated, false));
        assert_eq!(judged(500, "backendError"), ('r', ErrorKind::Server, true));
        assert_eq!(judged(404, "notFound"), ('f', ErrorKind::NotFound, false));
    }

    #[test]
    fn bodies_that_are_no_documents_do_no_harm() {
        for body in [&b""[..], b"<html>Error 502</html>", b"[]", b"{\"error\":\"invalid_grant\"}"] {
            assert!(matches!(judge_document("x", 502, Some(7), body), Verdict::Retry(_, Some(7))));
        }
    }
}
