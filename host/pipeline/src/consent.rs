//! A person's consent to use their Google Drive: [`Browser`] asks on this host (RFC 8252, with PKCE, RFC 7636), [`Device`] on another one (RFC 8628), and
//! [`Consent`] is what comes of it, to be stored for the host's requests.

use std::{
    io,
    net::Ipv4Addr,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use bulkhead_model::{Fault, FaultKind};
use bulkhead_runtime::{
    TlsSettings,
    capabilities::http::{self, Question},
};
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::Instant,
};
use zeroize::Zeroizing;

use crate::{
    failure::{Explain, Failure, FailureClass},
    oauth::{DRIVE, Hidden, Refused, TOKEN_URL, Tokens, ask, form, send},
};

/// What a device may ask for: files that the application made itself.
const DRIVE_FILE: &str = "https://www.googleapis.com/auth/drive.file";
/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long whoever connects may take to say what they want: browsers connect ahead of time, and say nothing.
const REQUEST_PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a browser's request.
const MAX_REQUEST: usize = 16 << 10;

/// The servers that are asked: Google's, unless they are named.
#[derive(Debug, Clone)]
pub struct ConsentServers {
    /// The page that asks a person.
    pub page: String,
    /// Where codes for other devices are given out.
    pub device: String,
    /// Where tokens are given out.
    pub token: String,
    /// Drive's API.
    pub drive: String,
    /// Certificates to trust, PEM; the system's where `None`.
    pub ca: Option<PathBuf>,
}

impl Default for ConsentServers {
    fn default() -> Self {
        Self {
            page: "https://accounts.google.com/o/oauth2/v2/auth".to_owned(),
            device: "https://oauth2.googleapis.com/device/code".to_owned(),
            token: TOKEN_URL.to_owned(),
            drive: "https://www.googleapis.com".to_owned(),
            ca: None,
        }
    }
}

impl ConsentServers {
    fn tls(&self) -> TlsSettings {
        TlsSettings {
            ca: self.ca.clone(),
            ..TlsSettings::default()
        }
    }
}

/// The application that a person trusts: a client of the operator's own project at Google.
#[derive(Debug, Clone)]
pub struct Application {
    id: String,
    secret: Hidden,
    servers: ConsentServers,
}

impl Application {
    /// A client by its id and secret; whitespace around the secret is not part of it.
    #[must_use]
    pub fn new(id: String, secret: &str, servers: ConsentServers) -> Self {
        Self {
            id,
            secret: Hidden::from(secret.trim().to_owned()),
            servers,
        }
    }
}

/// Why there is no consent.
#[derive(Debug, thiserror::Error)]
pub enum ConsentError {
    /// A server could not be asked, or refused.
    #[error("{0}")]
    Server(Fault),
    /// The person said no.
    #[error("consent was refused")]
    Denied,
    /// The person said nothing.
    #[error("nobody has answered for {} minutes", PATIENCE.as_secs() / 60)]
    TimedOut,
    /// The answer has no refresh token.
    #[error("the server gives access for an hour only, and no refresh token")]
    NoRefreshToken,
    /// This host cannot listen for the browser's answer.
    #[error("cannot listen for the browser's answer")]
    Listen(#[source] io::Error),
}

impl Explain for ConsentError {
    fn explain(&self) -> Failure {
        match self {
            Self::Server(fault) => Failure::of_fault(fault),
            Self::Denied | Self::TimedOut => Failure::new(FailureClass::Credentials, self).hint("run it again, and follow the link"),
            Self::NoRefreshToken => Failure::new(FailureClass::Credentials, self)
                .hint("remove the application at https://myaccount.google.com/connections, and run it again"),
            Self::Listen(_) => Failure::new(FailureClass::Internal, self).hint("with `--device` nothing has to listen here"),
        }
    }
}

impl From<Refused> for ConsentError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Answer { word, .. } if word == "access_denied" => Self::Denied,
            other => Self::Server(other.into_fault()),
        }
    }
}

/// A person is asked in a browser on this host.
#[derive(Debug)]
pub struct Browser {
    application: Application,
    listener: TcpListener,
    redirect: String,
    /// Whoever comes with the answer must know it.
    state: String,
    verifier: Hidden,
}

impl Browser {
    /// Begins to listen for the answer.
    ///
    /// # Errors
    /// `Listen`.
    pub async fn begin(application: Application) -> Result<Self, ConsentError> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(ConsentError::Listen)?;
        let port = listener.local_addr().map_err(ConsentError::Listen)?.port();
        Ok(Self {
            application,
            listener,
            redirect: format!("http://127.0.0.1:{port}"),
            state: random(),
            verifier: Hidden::from(random()),
        })
    }

    /// What to open.
    #[must_use]
    pub fn url(&self) -> String {
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(self.verifier.expose()));
        let query = form(&[
            ("client_id", &self.application.id),
            ("redirect_uri", &self.redirect),
            ("response_type", "code"),
            ("scope", DRIVE),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("state", &self.state),
            ("access_type", "offline"),
            // Without it, Google gives a refresh token the first time only.
            ("prompt", "consent"),
        ]);
        format!("{}?{}", self.application.servers.page, String::from_utf8_lossy(&query))
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// All of [`ConsentError`].
    pub async fn wait(self) -> Result<Consent, ConsentError> {
        let code = tokio::time::timeout(PATIENCE, self.code()).await;
        let code = code.map_err(|_| ConsentError::TimedOut)??;
        let servers = &self.application.servers;
        let form = form(&[
            ("grant_type", "authorization_code"),
            ("client_id", &self.application.id),
            ("client_secret", self.application.secret.expose()),
            ("code", &code),
            ("code_verifier", self.verifier.expose()),
            ("redirect_uri", &self.redirect),
        ]);
        let tokens = ask(&servers.token, &servers.tls(), form).await?;
        Consent::of(self.application, tokens)
    }

    /// The code that the browser brings. Whoever else connects gets told off.
    async fn code(&self) -> Result<Zeroizing<String>, ConsentError> {
        loop {
            let (mut stream, _) = self.listener.accept().await.map_err(ConsentError::Listen)?;
            let target = tokio::time::timeout(REQUEST_PATIENCE, target(&mut stream)).await.ok().flatten();
            let answer = target.and_then(|target| self.read(&target));
            let (status, text) = match &answer {
                None => ("404 Not Found", "There is nothing here."),
                Some(Err(_)) => ("200 OK", "Consent was refused. This page can be closed."),
                Some(Ok(_)) => (
                    "200 OK",
                    "Thank you. Bulkhead goes on where it was started; this page can be closed.",
                ),
            };
            let page = format!(
                "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
                text.len()
            );
            // Whether the page is seen changes nothing.
            let _ = stream.write_all(page.as_bytes()).await;
            let _ = stream.shutdown().await;
            if let Some(answer) = answer {
                return answer;
            }
        }
    }

    /// What a request says, if it is the answer that is waited for.
    fn read(&self, target: &str) -> Option<Result<Zeroizing<String>, ConsentError>> {
        let query = target.split_once('?')?.1;
        let value = |name: &str| {
            let found = query
                .split('&')
                .filter_map(|pair| pair.split_once('='))
                .find(|(key, _)| *key == name);
            found.map(|(_, value)| percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned())
        };
        if value("state").as_deref() != Some(&self.state) {
            return None;
        }
        match (value("code"), value("error")) {
            (Some(code), None) => Some(Ok(Zeroizing::new(code))),
            _ => Some(Err(ConsentError::Denied)),
        }
    }
}

/// The path and query of a request.
async fn target(stream: &mut TcpStream) -> Option<String> {
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if request.len() > MAX_REQUEST || stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    let head = String::from_utf8_lossy(&request).into_owned();
    head.strip_prefix("GET ")?.split(' ').next().map(str::to_owned)
}

/// A person is asked on another device.
#[derive(Debug)]
pub struct Device {
    application: Application,
    codes: Codes,
}

#[derive(Debug, Deserialize)]
struct Codes {
    device_code: Hidden,
    user_code: String,
    #[serde(alias = "verification_uri")]
    verification_url: String,
    #[serde(default = "usual_interval")]
    interval: u64,
}

fn usual_interval() -> u64 {
    5
}

impl Device {
    /// Asks for a code that a person can type.
    ///
    /// # Errors
    /// `Server`.
    pub async fn begin(application: Application) -> Result<Self, ConsentError> {
        let servers = &application.servers;
        let form = form(&[("client_id", &application.id), ("scope", DRIVE_FILE)]);
        let body = send(&servers.device, &servers.tls(), form).await?;
        let codes = serde_json::from_slice(body.expose()).map_err(|_| {
            let message = format!("{} answers without a code", servers.device);
            ConsentError::Server(Fault::new(FaultKind::Protocol, message))
        })?;
        Ok(Self { application, codes })
    }

    /// What to open.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.codes.verification_url
    }

    /// What to type there.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.codes.user_code
    }

    /// Waits for the answer, asking as often as the server wants.
    ///
    /// # Errors
    /// All of [`ConsentError`] but `Listen`.
    pub async fn wait(self) -> Result<Consent, ConsentError> {
        let end = Instant::now() + PATIENCE;
        let mut pause = Duration::from_secs(self.codes.interval.max(1));
        let servers = &self.application.servers;
        while Instant::now() < end {
            tokio::time::sleep(pause).await;
            let form = form(&[
                ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                ("client_id", &self.application.id),
                ("client_secret", self.application.secret.expose()),
                ("device_code", self.codes.device_code.expose()),
            ]);
            match ask(&servers.token, &servers.tls(), form).await {
                Ok(tokens) => return Consent::of(self.application, tokens),
                Err(Refused::Answer { word, .. }) if word == "authorization_pending" => {}
                // Five seconds more, by the RFC.
                Err(Refused::Answer { word, .. }) if word == "slow_down" => pause += Duration::from_secs(5),
                Err(Refused::Answer { word, .. }) if word == "expired_token" => return Err(ConsentError::TimedOut),
                Err(Refused::Fault(fault) | Refused::Answer { fault, .. }) if fault.retryable => {}
                Err(refused) => return Err(refused.into()),
            }
        }
        Err(ConsentError::TimedOut)
    }
}

/// A person's consent.
#[derive(Debug)]
pub struct Consent {
    application: Application,
    access: Hidden,
    refresh: Hidden,
}

#[derive(Deserialize)]
struct Made {
    id: String,
}

impl Consent {
    fn of(application: Application, tokens: Tokens) -> Result<Self, ConsentError> {
        Ok(Self {
            application,
            access: tokens.access_token,
            refresh: tokens.refresh_token.ok_or(ConsentError::NoRefreshToken)?,
        })
    }

    /// Makes a folder in My Drive, which this application may use whatever else it may; its id.
    ///
    /// # Errors
    /// `Server`.
    pub async fn make_folder(&self, name: &str) -> Result<String, ConsentError> {
        let servers = &self.application.servers;
        let url = format!("{}/drive/v3/files?fields=id", servers.drive.trim_end_matches('/'));
        let document = serde_json::json!({ "name": name, "mimeType": "application/vnd.google-apps.folder" });
        let request = Question {
            method: "POST",
            url: &url,
            tls: &servers.tls(),
            headers: vec![
                ("content-type".to_owned(), b"application/json".to_vec()),
                ("authorization".to_owned(), format!("Bearer {}", self.access.expose()).into_bytes()),
            ],
            body: Zeroizing::new(document.to_string().into_bytes()),
        };
        let answer = http::ask(request).await.map_err(ConsentError::Server)?;
        let made = serde_json::from_slice::<Made>(answer.body.expose()).ok();
        made.filter(|_| answer.status == 200).map(|made| made.id).ok_or_else(|| {
            let told = String::from_utf8_lossy(&answer.body.expose()[..answer.body.expose().len().min(500)]).into_owned();
            let mut fault = Fault::new(
                FaultKind::Server,
                format!("Drive does not make the folder `{name}` (status {})", answer.status),
            );
            fault.causes.push(told);
            ConsentError::Server(fault.hint("is the Drive API enabled for the project?"))
        })
    }

    /// Stores it as the document that `auth.refresh-token` takes (Google's own "authorized_user"), readable by its owner only. An older one is replaced at
    /// once and whole; it is on the disk when this returns.
    ///
    /// # Errors
    /// As the operating system says.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        use std::io::Write as _;
        let mut document = serde_json::json!({
            "type": "authorized_user",
            "client_id": self.application.id,
            "client_secret": self.application.secret.expose(),
            "refresh_token": self.refresh.expose(),
        });
        if self.application.servers.token != TOKEN_URL {
            document["token_uri"] = self.application.servers.token.clone().into();
        }
        let text = Zeroizing::new(format!("{document:#}\n"));
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(format!("-tmp-{}", random()));
        let temporary = PathBuf::from(temporary);
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&temporary)?;
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        let renamed = written.and_then(|()| std::fs::rename(&temporary, path));
        if let Err(error) = renamed {
            // It has a token in it.
            let _ = std::fs::remove_file(&temporary);
            return Err(error);
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }
}

/// 256 bits that nobody can guess, in characters that need no encoding.
fn random() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn application() -> Application {
        Application::new("id".to_owned(), " secret\n", ConsentServers::default())
    }

    #[tokio::test]
    async fn only_who_knows_the_state_brings_the_answer() {
        let browser = Browser::begin(application()).await.unwrap();
        let state = browser.state.clone();
        assert!(browser.url().contains("code_challenge_method=S256") && !browser.url().contains(browser.verifier.expose()));
        for other in ["/favicon.ico", "/?code=x", "/?code=x&state=guessed"] {
            assert!(browser.read(other).is_none(), "{other}");
        }
        let code = browser.read(&format!("/?state={state}&code=4%2F0A&scope=x")).unwrap().unwrap();
        assert_eq!(*code, "4/0A");
        let denied = browser.read(&format!("/?error=access_denied&state={state}")).unwrap();
        assert!(matches!(denied, Err(ConsentError::Denied)));
    }

    #[test]
    fn what_is_stored_is_for_its_owner_only_and_replaces_what_was_there() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.json");
        std::fs::write(&path, "old").unwrap();
        let consent = Consent {
            application: application(),
            access: Hidden::from("access".to_owned()),
            refresh: Hidden::from("refresh".to_owned()),
        };
        consent.store(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"refresh\"") && text.contains("\"secret\"") && !text.contains("access\""));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(!format!("{consent:?}").contains("refresh\""));
    }
}
