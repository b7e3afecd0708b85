//! From a fresh connection to an authenticated [`Session`]: [`connect`].
//!
//! The order is libpq's: ask for TLS as the operator's mode says, send the startup parameters, answer what the server asks for, and wait until it is
//! ready. Nothing that arrives before TLS is believed but the one byte that answers the request for it.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use bulkhead_sdk::endpoint::{self, Settings, TlsMode};
use zeroize::Zeroizing;

use crate::{
    auth::{ChannelBinding, Password, Scram, end_point_hash, md5_response},
    error::{ClientError, Violation},
    session::{AuthenticationMethod, Encryption, Session},
    transport::Transport,
    wire::{Authentication, Message, frontend},
};

/// How long a server may take for each message of the login. PostgreSQL gives the whole login a minute (`authentication_timeout`).
const LOGIN_DEADLINE: Duration = Duration::from_secs(60);

/// Who connects, and to what.
pub struct ConnectOptions<'a> {
    /// The role.
    pub user: &'a str,
    /// Further startup parameters: `database`, or `replication` = `true` for physical replication; `application_name`.
    pub parameters: &'a [(&'a str, &'a str)],
    /// Asked for the password only if the server asks us.
    pub password: &'a dyn Fn() -> Result<Password, ClientError>,
    /// Whether to give away the password in clear where others can read it.
    pub allow_cleartext_password: bool,
}

/// Makes a session on a connection to an endpoint with `settings`.
pub fn connect<T: Transport>(mut transport: T, settings: &Settings, options: &ConnectOptions<'_>) -> Result<Session<T>, ClientError> {
    let (encryption, certificate) = encrypt(&mut transport, settings)?;
    let mut session = Session::new(transport, encryption);
    session.send(&startup_message(options)?)?;
    Login {
        session: &mut session,
        options,
        binding: binding(certificate.as_deref()),
    }
    .run()?;
    session.logged_in();
    finish(&mut session)?;
    Ok(session)
}

/// TLS as `settings` ask for it. Over a Unix socket there is none, as in libpq.
fn encrypt<T: Transport>(transport: &mut T, settings: &Settings) -> Result<(Encryption, Option<Vec<u8>>), ClientError> {
    if settings.transport == endpoint::Transport::Unix {
        return Ok((Encryption::LocalSocket, None));
    }
    if settings.tls == TlsMode::Disable {
        return Ok((Encryption::None, None));
    }
    let mut request = Vec::new();
    frontend::ssl_request(&mut request);
    transport.write(&request)?;
    // One byte and no more: whatever somebody on the way has added in clear stays unread, and fails the TLS handshake (CVE-2021-23222).
    let answer = transport.read(1, Some(LOGIN_DEADLINE))?.ok_or(ClientError::Closed)?;
    match answer.as_slice() {
        [b'S'] => Ok((Encryption::Tls, Some(transport.start_tls()?))),
        [b'N'] if settings.tls == TlsMode::Prefer => Ok((Encryption::None, None)),
        [b'N'] => Err(ClientError::TlsNotOffered),
        // An ErrorResponse here could be forged by anybody: its text is not shown (CVE-2024-10977).
        [other, ..] => Err(Violation::TlsAnswer(*other).into()),
        [] => Err(ClientError::Closed),
    }
}

fn startup_message(options: &ConnectOptions<'_>) -> Result<Vec<u8>, ClientError> {
    let mut parameters = vec![("user", options.user), ("client_encoding", "UTF8")];
    parameters.extend_from_slice(options.parameters);
    if options.user.contains('\0') {
        return Err(ClientError::ZeroByte("the user's name"));
    }
    if parameters.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
        return Err(ClientError::ZeroByte("a startup parameter"));
    }
    let mut message = Vec::new();
    frontend::startup(&mut message, &parameters);
    Ok(message)
}

/// What an exchange with the owner of `certificate` is bound to.
fn binding(certificate: Option<&[u8]>) -> ChannelBinding {
    certificate
        .and_then(end_point_hash)
        .map_or(ChannelBinding::Unsupported, ChannelBinding::EndPoint)
}

/// What the server asked for.
enum Request {
    Done,
    Cleartext,
    Md5([u8; 4]),
    Sasl { plain: bool, plus: bool },
}

struct Login<'a, T> {
    session: &'a mut Session<T>,
    options: &'a ConnectOptions<'a>,
    binding: ChannelBinding,
}

impl<T: Transport> Login<'_, T> {
    fn run(mut self) -> Result<(), ClientError> {
        match self.request()? {
            Request::Done => return Ok(()),
            Request::Cleartext => self.cleartext()?,
            Request::Md5(salt) => self.md5(salt)?,
            Request::Sasl { plain, plus } => self.scram(plain, plus)?,
        }
        match self.request()? {
            Request::Done => Ok(()),
            Request::Cleartext | Request::Md5(_) | Request::Sasl { .. } => Err(Violation::Unexpected {
                tag: b'R',
                during: "the login",
            }
            .into()),
        }
    }

    fn request(&mut self) -> Result<Request, ClientError> {
        self.session.login_message(LOGIN_DEADLINE, |tag, message| match message {
            Message::Authentication(Authentication::Ok) => Ok(Request::Done),
            Message::Authentication(Authentication::CleartextPassword) => Ok(Request::Cleartext),
            Message::Authentication(Authentication::Md5Password { salt }) => Ok(Request::Md5(salt)),
            Message::Authentication(Authentication::Sasl { mechanisms }) => {
                let offers = |name: &[u8]| mechanisms.contains(&name);
                let (plain, plus) = (offers(b"SCRAM-SHA-256"), offers(b"SCRAM-SHA-256-PLUS"));
                if plain || plus {
                    Ok(Request::Sasl { plain, plus })
                } else {
                    Err(unsupported_sasl(&mechanisms))
                }
            }
            Message::Authentication(Authentication::Other(number)) => Err(ClientError::UnsupportedMethod(method_name(number))),
            other => Err(refused(tag, other)),
        })
    }

    fn password(&self) -> Result<Password, ClientError> {
        (self.options.password)()
    }

    fn cleartext(&mut self) -> Result<(), ClientError> {
        if self.session.encryption == Encryption::None && !self.options.allow_cleartext_password {
            return Err(ClientError::CleartextRefused);
        }
        let password = self.password()?;
        if password.bytes().contains(&0) {
            return Err(ClientError::ZeroByte("the password"));
        }
        let mut message = Zeroizing::new(Vec::with_capacity(password.bytes().len() + 8));
        frontend::password(&mut message, password.bytes());
        self.session.authentication = AuthenticationMethod::CleartextPassword;
        self.session.send(&message)
    }

    fn md5(&mut self, salt: [u8; 4]) -> Result<(), ClientError> {
        let answer = Zeroizing::new(md5_response(self.options.user, &self.password()?, salt));
        let mut message = Zeroizing::new(Vec::new());
        frontend::password(&mut message, answer.as_bytes());
        self.session.authentication = AuthenticationMethod::Md5;
        self.session.send(&message)
    }

    fn scram(&mut self, plain: bool, plus: bool) -> Result<(), ClientError> {
        let binding = match (&self.binding, plus, plain) {
            (ChannelBinding::EndPoint(_), true, _) => self.binding.clone(),
            (ChannelBinding::EndPoint(_), false, _) => ChannelBinding::NotOffered,
            (_, _, true) => ChannelBinding::Unsupported,
            _ => {
                return Err(ClientError::UnsupportedMethod(
                    "SCRAM-SHA-256-PLUS without a certificate to bind to".into(),
                ));
            }
        };
        self.session.authentication = match binding {
            ChannelBinding::EndPoint(_) => AuthenticationMethod::ScramSha256Plus,
            _ => AuthenticationMethod::ScramSha256,
        };
        let mut scram = Scram::new(&self.password()?, binding.clone(), nonce()?);
        let mut message = Vec::new();
        frontend::sasl_initial(&mut message, binding.mechanism(), scram.first().as_bytes());
        self.session.send(&message)?;

        let answer = self.session.login_message(LOGIN_DEADLINE, |tag, message| match message {
            Message::Authentication(Authentication::SaslContinue(challenge)) => Ok(scram.respond(challenge)?),
            other => Err(refused(tag, other)),
        })?;
        let mut message = Vec::new();
        frontend::sasl_response(&mut message, answer.as_bytes());
        self.session.send(&message)?;
        self.session.login_message(LOGIN_DEADLINE, |tag, message| match message {
            Message::Authentication(Authentication::SaslFinal(signature)) => Ok(scram.verify(signature)?),
            other => Err(refused(tag, other)),
        })
    }
}

fn refused(tag: u8, message: Message<'_>) -> ClientError {
    match message {
        Message::ErrorResponse(report) => ClientError::Server(Box::new(report)),
        _ => Violation::Unexpected { tag, during: "the login" }.into(),
    }
}

fn nonce() -> Result<String, ClientError> {
    let mut bytes = [0; 18];
    getrandom::fill(&mut bytes).map_err(|_| ClientError::Random)?;
    Ok(BASE64.encode(bytes))
}

/// What an authentication request's number stands for, where it isn't one that we answer.
fn method_name(number: u32) -> String {
    match number {
        2 => "Kerberos V5".into(),
        6 => "SCM credentials".into(),
        7 | 8 => "GSSAPI".into(),
        9 => "SSPI".into(),
        other => format!("number {other}"),
    }
}

fn unsupported_sasl(mechanisms: &[&[u8]]) -> ClientError {
    let names: Vec<_> = mechanisms
        .iter()
        .take(8)
        .map(|name| String::from_utf8_lossy(&name[..name.len().min(64)]))
        .collect();
    ClientError::UnsupportedMethod(names.join(", ").chars().filter(|character| !character.is_control()).collect())
}

/// Reads what follows the login, up to `ReadyForQuery`.
fn finish<T: Transport>(session: &mut Session<T>) -> Result<(), ClientError> {
    enum After {
        Ready,
        Parameter(String, String),
        Notice(crate::ServerReport),
        Process(u32),
        Nothing,
    }
    loop {
        let after = session.login_message(LOGIN_DEADLINE, |tag, message| match message {
            Message::ReadyForQuery => Ok(After::Ready),
            Message::ParameterStatus { name, value } => Ok(After::Parameter(
                String::from_utf8_lossy(name).into_owned(),
                String::from_utf8_lossy(value).into_owned(),
            )),
            Message::NoticeResponse(report) => Ok(After::Notice(report)),
            Message::BackendKeyData { process } => Ok(After::Process(process)),
            Message::NegotiateProtocolVersion => Ok(After::Nothing),
            other => Err(refused(tag, other)),
        })?;
        match after {
            After::Ready => return Ok(()),
            After::Parameter(name, value) => session.parameter_status(name, value),
            After::Notice(report) => session.notice(report),
            After::Process(process) => session.process = Some(process),
            After::Nothing => {}
        }
    }
}
