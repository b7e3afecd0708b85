//! Who may do something: OAuth 2.0 as Google's servers speak it. Refresh tokens (RFC 6749), service accounts (RFC 7523), and the two flows that ask a
//! person: through a browser on the same host, with PKCE (RFC 7636, RFC 8252), and through one on another device (RFC 8628).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::routes::{Outcome, Refusal, Target, pairs, refuse};
use super::state::{Drive, State};
use crate::couchdb::{Answer, Request};
use crate::{Result, Scratch, Tool, random_secret, run};

/// How long an access token is good, if nothing else is said; what Google's are.
const LIFETIME: Duration = Duration::from_secs(3599);

/// A person who has given consent to an application.
#[derive(Debug, Clone)]
pub struct User {
    /// The application.
    pub client_id: String,
    /// Its secret, which is none that it can keep.
    pub client_secret: String,
    /// What consent has brought.
    pub refresh_token: String,
}

/// An account without a person.
#[derive(Debug)]
pub struct ServiceAccount {
    scratch: Scratch,
    /// Its name.
    pub email: String,
}

impl ServiceAccount {
    fn create(token_url: &str) -> Result<Self> {
        let account = Self {
            scratch: Scratch::new()?,
            email: "backup@project.iam.gserviceaccount.com".to_owned(),
        };
        let openssl = Tool::find("openssl", "apt-get install openssl")?;
        let in_scratch = |arguments: &[&str]| run(openssl.command(arguments).current_dir(account.scratch.path()));
        in_scratch(&[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
            "-out",
            "key.pem",
        ])?;
        in_scratch(&["pkey", "-in", "key.pem", "-pubout", "-out", "public.pem"])?;
        let path = account.scratch.join("key.pem");
        let key = std::fs::read_to_string(&path).map_err(crate::Error::on_path("read", &path))?;
        let document = json!({
            "type": "service_account",
            "project_id": "project",
            "private_key_id": "0123456789abcdef",
            "private_key": key,
            "client_email": account.email,
            "client_id": "100000000000000000000",
            "auth_uri": "https://accounts.google.com/o/oauth2/auth",
            "token_uri": token_url,
        });
        account.scratch.private_file("account.json", document.to_string())?;
        Ok(account)
    }

    /// Its key, as the console of Google's cloud gives it out.
    #[must_use]
    pub fn key_file(&self) -> std::path::PathBuf {
        self.scratch.join("account.json")
    }

    /// Whether the signature, RS256, is by its key.
    fn is_signature(&self, message: &str, signature: &[u8]) -> bool {
        let public = std::fs::read(self.scratch.join("public.pem")).unwrap_or_default();
        crate::fabric_ca::openssl::is_signature_by(public, message.as_bytes(), signature).is_ok_and(|is| is)
    }
}

/// A person is being asked.
#[derive(Debug, Clone)]
struct Asked {
    client_id: String,
    /// How the one who comes with the answer is known: the address and the challenge of PKCE.
    redirect: Option<(String, String)>,
    /// What they said.
    consent: Option<bool>,
}

/// Who is known, and what was given out.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    users: Vec<User>,
    accounts: Vec<std::sync::Arc<ServiceAccount>>,
    access: BTreeMap<String, Instant>,
    asked: BTreeMap<String, Asked>,
    lifetime: Option<Duration>,
    /// Access tokens that were given out.
    given: u64,
}

impl Tokens {
    pub(super) fn expire(&mut self) {
        self.access.clear();
    }

    /// Refuses a request without a token that is good, once anybody is known.
    pub(super) fn check(&self, request: &Request) -> std::result::Result<(), Refusal> {
        if self.users.is_empty() && self.accounts.is_empty() {
            return Ok(());
        }
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let until = token.and_then(|token| self.access.get(token));
        if until.is_some_and(|until| *until > Instant::now()) {
            return Ok(());
        }
        let message = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential.";
        Err(refuse(401, "authError", message))
    }

    fn give(&mut self) -> Value {
        self.given += 1;
        let token = format!("ya29.{}", random_secret().unwrap_or_default());
        let lifetime = self.lifetime.unwrap_or(LIFETIME);
        self.access.insert(token.clone(), Instant::now() + lifetime);
        json!({
            "access_token": token,
            "expires_in": lifetime.as_secs(),
            "scope": "https://www.googleapis.com/auth/drive",
            "token_type": "Bearer",
        })
    }
}

impl State {
    /// Access tokens from now on are good for so long.
    pub fn set_token_lifetime(&mut self, lifetime: Duration) {
        self.tokens.lifetime = Some(lifetime);
    }

    /// Access tokens that were given out so far.
    #[must_use]
    pub fn tokens_given(&self) -> u64 {
        self.tokens.given
    }

    /// Nobody's consent is good any more.
    pub fn withdraw_consent(&mut self) {
        self.tokens.users.iter_mut().for_each(|user| user.refresh_token.clear());
        self.tokens.expire();
    }

    /// What a person says who is asked on another device.
    pub fn answer_device(&mut self, consent: bool) {
        let waiting = self.tokens.asked.values_mut().filter(|asked| asked.redirect.is_none());
        waiting.for_each(|asked| asked.consent = Some(consent));
    }
}

impl Drive {
    /// Knows a person from now on, and nobody who is not known.
    pub fn add_user(&self) -> Result<User> {
        let user = User {
            client_id: format!("1234-{}.apps.googleusercontent.com", &random_secret()?[..8]),
            client_secret: random_secret()?,
            refresh_token: format!("1//{}", random_secret()?),
        };
        self.state().tokens.users.push(user.clone());
        Ok(user)
    }

    /// Knows a service account from now on, whose tokens are to be had at `token_url`.
    pub fn add_service_account(&self, token_url: &str) -> Result<std::sync::Arc<ServiceAccount>> {
        let account = std::sync::Arc::new(ServiceAccount::create(token_url)?);
        self.state().tokens.accounts.push(account.clone());
        Ok(account)
    }
}

/// The document in which OAuth refuses (RFC 6749, 5.2).
fn oauth_error(status: u16, error: &str, description: &str) -> Refusal {
    Box::new(Answer::json(status, json!({ "error": error, "error_description": description })))
}

/// Answers where the request is about tokens.
pub(super) fn route(state: &mut State, request: &Request, target: &Target) -> Option<Outcome> {
    let form = || pairs(&String::from_utf8_lossy(&request.body));
    match (request.method.as_str(), target.path.as_str()) {
        ("POST", "/token") => Some(token(state, &form())),
        ("POST", "/device/code") => Some(device_code(state, &form())),
        ("GET", "/o/oauth2/v2/auth") => Some(consent(state, target)),
        _ => None,
    }
}

fn token(state: &mut State, form: &BTreeMap<String, String>) -> Outcome {
    let get = |name: &str| form.get(name).map_or("", String::as_str);
    match get("grant_type") {
        "refresh_token" => {
            let user = client(state, form)?;
            if user.refresh_token.is_empty() || user.refresh_token != get("refresh_token") {
                return Err(oauth_error(400, "invalid_grant", "Token has been expired or revoked."));
            }
            Ok(Answer::json(200, state.tokens.give()))
        }
        "urn:ietf:params:oauth:grant-type:jwt-bearer" => service_token(state, get("assertion")),
        "authorization_code" => code_token(state, form),
        "urn:ietf:params:oauth:grant-type:device_code" => device_token(state, form),
        other => Err(oauth_error(400, "unsupported_grant_type", &format!("Invalid grant_type: {other}"))),
    }
}

/// The application that asks.
fn client(state: &State, form: &BTreeMap<String, String>) -> std::result::Result<User, Refusal> {
    let known = state
        .tokens
        .users
        .iter()
        .find(|user| Some(&user.client_id) == form.get("client_id"));
    let user = known.ok_or_else(|| oauth_error(401, "invalid_client", "The OAuth client was not found."))?;
    if form.get("client_secret") != Some(&user.client_secret) {
        return Err(oauth_error(401, "invalid_client", "Unauthorized"));
    }
    Ok(user.clone())
}

fn service_token(state: &mut State, assertion: &str) -> Outcome {
    let invalid = |what: &str| oauth_error(400, "invalid_grant", what);
    let (message, signature) = assertion.rsplit_once('.').ok_or_else(|| invalid("Invalid JWT"))?;
    let (header, claims) = message.split_once('.').ok_or_else(|| invalid("Invalid JWT"))?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let document = |part: &str| decode(part).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let (Some(header), Some(claims), Some(signature)) = (document(header), document(claims), decode(signature)) else {
        return Err(invalid("Invalid JWT"));
    };
    let account = state
        .tokens
        .accounts
        .iter()
        .find(|account| claims["iss"] == account.email.as_str())
        .cloned();
    let account = account.ok_or_else(|| invalid("Invalid grant: account not found"))?;
    if header["alg"] != "RS256" || !account.is_signature(message, &signature) {
        return Err(invalid("Invalid JWT Signature."));
    }
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let time = |name: &str| claims[name].as_u64().unwrap_or(0);
    if time("iat") > now + 300 || time("exp") < now || time("exp") > time("iat") + 3600 {
        let message = "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.";
        return Err(invalid(message));
    }
    let is_for_us = claims["aud"].as_str().is_some_and(|audience| audience.ends_with("/token"));
    if !is_for_us || !claims["scope"].as_str().is_some_and(|scope| scope.contains("/auth/drive")) {
        return Err(oauth_error(
            400,
            "invalid_scope",
            "Invalid OAuth scope or ID token audience provided.",
        ));
    }
    Ok(Answer::json(200, state.tokens.give()))
}

/// What consent brings: access now, and a refresh token for later.
fn granted(state: &mut State, user: &User) -> Answer {
    let mut tokens = state.tokens.give();
    tokens["refresh_token"] = Value::from(user.refresh_token.clone());
    Answer::json(200, tokens)
}

fn code_token(state: &mut State, form: &BTreeMap<String, String>) -> Outcome {
    let user = client(state, form)?;
    let get = |name: &str| form.get(name).map_or("", String::as_str);
    let asked = state.tokens.asked.remove(get("code"));
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(get("code_verifier")));
    let is_theirs = asked.is_some_and(|asked| {
        asked.client_id == user.client_id
            && asked.redirect == Some((get("redirect_uri").to_owned(), challenge))
            && asked.consent == Some(true)
    });
    if !is_theirs {
        return Err(oauth_error(400, "invalid_grant", "Malformed auth code."));
    }
    Ok(granted(state, &user))
}

fn device_code(state: &mut State, form: &BTreeMap<String, String>) -> Outcome {
    let client_id = form.get("client_id").cloned().unwrap_or_default();
    if !state.tokens.users.iter().any(|user| user.client_id == client_id) {
        return Err(oauth_error(401, "invalid_client", "The OAuth client was not found."));
    }
    if form
        .get("scope")
        .is_none_or(|scope| scope != "https://www.googleapis.com/auth/drive.file")
    {
        return Err(oauth_error(400, "invalid_scope", "Invalid device flow scope"));
    }
    let code = format!("AH-1Ng{}", state.new_id());
    state.tokens.asked.insert(
        code.clone(),
        Asked {
            client_id,
            redirect: None,
            consent: None,
        },
    );
    Ok(Answer::json(
        200,
        json!({
            "device_code": code,
            "user_code": "GQVQ-JKEC",
            "verification_url": "https://www.google.com/device",
            "expires_in": 1800,
            "interval": 1,
        }),
    ))
}

fn device_token(state: &mut State, form: &BTreeMap<String, String>) -> Outcome {
    let user = client(state, form)?;
    let code = form.get("device_code").map_or("", String::as_str);
    match state.tokens.asked.get(code).map(|asked| asked.consent) {
        None => Err(oauth_error(400, "invalid_grant", "Malformed device code.")),
        Some(None) => Err(oauth_error(428, "authorization_pending", "Precondition Required")),
        Some(Some(false)) => Err(oauth_error(403, "access_denied", "Forbidden")),
        Some(Some(true)) => {
            state.tokens.asked.remove(code);
            Ok(granted(state, &user))
        }
    }
}

/// The page that asks: here, whoever opens it has said yes.
fn consent(state: &mut State, target: &Target) -> Outcome {
    let get = |name: &str| target.get(name).unwrap_or_default().to_owned();
    let redirect = get("redirect_uri");
    let is_right = get("response_type") == "code"
        && get("code_challenge_method") == "S256"
        && get("access_type") == "offline"
        && (redirect.starts_with("http://127.0.0.1:") || redirect.starts_with("http://localhost:"));
    if !is_right || !state.tokens.users.iter().any(|user| user.client_id == get("client_id")) {
        return Err(refuse(400, "invalid_request", "Error 400: invalid_request"));
    }
    let code = format!("4/0A{}", state.new_id());
    state.tokens.asked.insert(
        code.clone(),
        Asked {
            client_id: get("client_id"),
            redirect: Some((redirect.clone(), get("code_challenge"))),
            consent: Some(true),
        },
    );
    let location = format!("{redirect}?state={}&code={}&scope=x", get("state"), code.replace('/', "%2F"));
    Ok(Answer {
        status: 302,
        headers: vec![("Location".to_owned(), location)],
        body: Vec::new(),
        break_after: None,
    })
}
