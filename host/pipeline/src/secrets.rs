//! Fetches secrets from where the configuration says they are, when they are needed.
//!
//! The environment is the caller's to hand in ([`Secrets::new`]): libraries don't read it. A secret is never part of a message; where it was looked for
//! is.

use std::{
    ffi::OsString,
    fmt, io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bulkhead_config::SecretSource;
use bulkhead_model::{Fault, FaultKind};
use bulkhead_runtime::{SecretBytes, SecretProvider};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, ChildStderr};
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::private_file::PrivateFile;

/// Largest secret: keys and service-account files are a few KiB; more is a wrong path.
const MAX_SECRET: u64 = 64 * 1024;
/// So much of what a command complains about is kept, to show its last line.
const MAX_COMPLAINT: usize = 4096;
/// How long the complaint of a command that has ended may still be on its way: what it left running holds its standard error open.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A password manager may ask somebody for a touch; more than that hangs a nightly run.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(60);

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// Fetches secrets. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    environment: Arc<Lookup>,
}

/// Why a secret could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file can't be read.
    #[error("cannot read the secret in {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    NotInEnvironment(String),
    /// systemd did not hand over any credentials.
    #[error("there is no systemd credential `{0}`: $CREDENTIALS_DIRECTORY is not set")]
    NoCredentials(String),
    /// The command can't be started.
    #[error("cannot run `{program}`, which should print a secret")]
    Command {
        /// The command's first word.
        program: String,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The command failed.
    #[error("`{program}`, which should print a secret, failed ({status}){}", said(stderr))]
    CommandFailed {
        /// The command's first word.
        program: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// The last line that it wrote to stderr.
        stderr: String,
    },
    /// The command took too long.
    #[error("`{program}`, which should print a secret, did not end within {} s", COMMAND_TIMEOUT.as_secs())]
    CommandTimedOut {
        /// The command's first word.
        program: String,
    },
    /// More than 64 KiB.
    #[error("the secret in {0} is longer than {MAX_SECRET} bytes")]
    TooLong(String),
    /// Nothing at all.
    #[error("the secret in {0} is empty")]
    Empty(String),
}

/// Where a secret comes from, as messages say it: of a command its first word only, since what follows may be nobody else's business.
fn place(source: &SecretSource) -> String {
    match source {
        SecretSource::Command(words) => format!("the output of `{}`", words.first().map_or("", String::as_str)),
        other => other.to_string(),
    }
}

fn said(stderr: &str) -> String {
    if stderr.is_empty() { String::new() } else { format!(": {stderr}") }
}

impl SecretError {
    /// The next action.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "restore it from where you keep it, or correct the path".to_owned()
            }
            Self::File { path, .. } => format!("make it readable for this user: `ls -l {}` shows who may", path.display()),
            Self::NotInEnvironment(name) => format!("set it where bulkhead is started: `export {name}=…`"),
            Self::NoCredentials(name) => format!("start bulkhead by systemd with `LoadCredential={name}:/path`"),
            Self::Command { .. } | Self::CommandFailed { .. } | Self::CommandTimedOut { .. } => {
                "run the command by hand, as the same user".to_owned()
            }
            Self::TooLong(_) | Self::Empty(_) => "look whether this is the right place".to_owned(),
        }
    }

    /// The next action where the secret is one that may not have been made yet. Anywhere else a new one would open nothing.
    pub(crate) fn hint_to_make(&self) -> String {
        match self {
            Self::File { path, source } if source.kind() == io::ErrorKind::NotFound => {
                format!("create it, readable by this user only: `bulkhead key generate {}`", path.display())
            }
            _ => self.hint(),
        }
    }

    pub(crate) fn into_fault(self) -> Fault {
        let kind = match self {
            Self::File { ref source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => FaultKind::PermissionDenied,
            _ => FaultKind::Unauthenticated,
        };
        let mut fault = Fault::new(kind, self.to_string());
        if let Some(cause) = std::error::Error::source(&self) {
            fault = fault.caused_by(cause);
        }
        fault.hint = Some(self.hint());
        fault
    }
}

impl Secrets {
    /// Secrets that come from the environment are looked up with `environment`.
    pub fn new(environment: impl Fn(&str) -> Option<OsString> + Send + Sync + 'static) -> Self {
        Self {
            environment: Arc::new(environment),
        }
    }

    /// The secret as it is stored.
    ///
    /// # Errors
    /// When it can't be had, is empty or longer than 64 KiB.
    pub async fn read(&self, source: &SecretSource) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let secret = match source {
            SecretSource::File(path) => read_file(path).await?,
            SecretSource::Env(name) => self.variable(name)?,
            SecretSource::Credential(name) => read_file(&self.credential(name)?).await?,
            SecretSource::Command(words) => run_command(words).await?,
        };
        if secret.len() as u64 > MAX_SECRET {
            return Err(SecretError::TooLong(place(source)));
        }
        if without_newline(&secret).is_empty() {
            return Err(SecretError::Empty(place(source)));
        }
        Ok(secret)
    }

    /// The secret without one newline at its end: what people mean by a password in a file.
    ///
    /// # Errors
    /// As [`Secrets::read`].
    pub async fn password(&self, source: &SecretSource) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let secret = self.read(source).await?;
        Ok(Zeroizing::new(without_newline(&secret).to_vec()))
    }

    /// A provider that reads the secret when a plugin's capability asks for it.
    #[must_use]
    pub fn provider(&self, source: &SecretSource) -> Arc<dyn SecretProvider> {
        Arc::new(ConfiguredSecret {
            secrets: self.clone(),
            source: source.clone(),
        })
    }

    /// A variable of the environment that is no secret.
    pub(crate) fn lookup(&self, name: &str) -> Option<OsString> {
        (self.environment)(name)
    }

    fn variable(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let value = self.lookup(name).ok_or_else(|| SecretError::NotInEnvironment(name.to_owned()))?;
        Ok(Zeroizing::new(value.into_vec()))
    }

    fn credential(&self, name: &str) -> Result<PathBuf, SecretError> {
        let folder = self
            .lookup("CREDENTIALS_DIRECTORY")
            .ok_or_else(|| SecretError::NoCredentials(name.to_owned()))?;
        Ok(Path::new(&folder).join(name))
    }
}

/// Makes a file with a password that nobody can guess: 32 random bytes in base64, and a newline. Readable by its owner only, and on the disk when this
/// returns.
///
/// # Errors
/// As the operating system says: [`io::ErrorKind::AlreadyExists`] where there is something already, which stays as it is.
pub fn generate_password(path: &Path) -> io::Result<()> {
    let bytes: Zeroizing<[u8; 32]> = Zeroizing::new(rand::random());
    let mut text = Zeroizing::new(BASE64_STANDARD.encode(*bytes));
    text.push('\n');
    PrivateFile::create(path)?.write(text.as_bytes())
}

/// Whether the file of a secret can be read by more than its owner (and root), and how to change that.
#[must_use]
pub(crate) fn exposed(source: &SecretSource) -> Option<String> {
    use std::os::unix::fs::PermissionsExt as _;
    let SecretSource::File(path) = source else { return None };
    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    (mode & 0o044 != 0).then(|| {
        format!(
            "{} can be read by other users (mode {:o}): `chmod 600 {}`",
            path.display(),
            mode & 0o7777,
            path.display()
        )
    })
}

async fn read_file(path: &Path) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let failed = |source| SecretError::File {
        path: path.to_owned(),
        source,
    };
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    read_secret(file).await.map_err(failed)
}

/// All that comes, but not more than a byte too much. The buffer never grows: what a growing one leaves behind would not be wiped.
async fn read_secret(reader: impl AsyncRead + Unpin) -> io::Result<Zeroizing<Vec<u8>>> {
    const ROOM: usize = MAX_SECRET as usize + 1;
    let mut content = Zeroizing::new(vec![0; ROOM]);
    let mut reader = reader.take(ROOM as u64);
    let mut filled = 0;
    while filled < ROOM {
        match reader.read(&mut content[filled..]).await? {
            0 => break,
            count => filled += count,
        }
    }
    content.truncate(filled);
    Ok(content)
}

async fn run_command(words: &[String]) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    let program = words.first().cloned().unwrap_or_default();
    let failed = |source| SecretError::Command {
        program: program.clone(),
        source,
    };
    let mut child = tokio::process::Command::new(&program)
        .args(words.get(1..).unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let finished = tokio::time::timeout(COMMAND_TIMEOUT, finish(&mut child)).await;
    let (secret, complaint, status) = finished
        .map_err(|_| SecretError::CommandTimedOut { program: program.clone() })?
        .map_err(failed)?;
    // One that printed too much was cut off, and its status says no more than that.
    if status.success() || secret.len() as u64 > MAX_SECRET {
        return Ok(secret);
    }
    Err(SecretError::CommandFailed {
        program,
        status,
        stderr: complaint.last_line().await,
    })
}

/// What a command complains about, listened to while it works: the beginning is kept, and it can go on complaining.
pub(crate) struct Complaint {
    beginning: Arc<Mutex<Vec<u8>>>,
    listening: JoinHandle<()>,
}

impl Complaint {
    /// Begins to listen.
    pub(crate) fn listen(mut stderr: ChildStderr) -> Self {
        let beginning = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&beginning);
        let listening = tokio::spawn(async move {
            let mut part = [0; 4096];
            while let Ok(read @ 1..) = stderr.read(&mut part).await {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                let room = MAX_COMPLAINT.saturating_sub(kept.len());
                kept.extend_from_slice(&part[..read.min(room)]);
            }
        });
        Self { beginning, listening }
    }

    /// The last line of it, for a message, when the command has ended.
    pub(crate) async fn last_line(mut self) -> String {
        if tokio::time::timeout(LAST_WORDS, &mut self.listening).await.is_err() {
            self.listening.abort();
        }
        let beginning = self.beginning.lock().unwrap_or_else(PoisonError::into_inner);
        let complaint = String::from_utf8_lossy(&beginning);
        complaint.trim().lines().last().unwrap_or_default().to_owned()
    }
}

/// What a command prints, the beginning of what it complains about, and how it ended.
async fn finish(child: &mut Child) -> io::Result<(Zeroizing<Vec<u8>>, Complaint, ExitStatus)> {
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(io::ErrorKind::BrokenPipe.into());
    };
    let complaint = Complaint::listen(stderr);
    let secret = read_secret(stdout).await?;
    let status = child.wait().await?;
    Ok((secret, complaint, status))
}

fn without_newline(secret: &[u8]) -> &[u8] {
    secret.strip_suffix(b"\n").unwrap_or(secret)
}

struct ConfiguredSecret {
    secrets: Secrets,
    source: SecretSource,
}

impl fmt::Debug for ConfiguredSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ConfiguredSecret({})", place(&self.source))
    }
}

#[async_trait]
impl SecretProvider for ConfiguredSecret {
    async fn read(&self) -> Result<SecretBytes, Fault> {
        let secret = self.secrets.read(&self.source).await.map_err(SecretError::into_fault)?;
        Ok(SecretBytes::new(secret.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn secrets() -> Secrets {
        Secrets::new(|name| (name == "PASSWORD").then(|| "hunter2\n".into()))
    }

    #[tokio::test]
    async fn one_newline_at_the_end_is_not_part_of_a_password() {
        let password = secrets().password(&SecretSource::Env("PASSWORD".into())).await.unwrap();
        assert_eq!(password.as_slice(), b"hunter2");
        let stored = secrets().read(&SecretSource::Env("PASSWORD".into())).await.unwrap();
        assert_eq!(stored.as_slice(), b"hunter2\n");
    }

    #[tokio::test]
    async fn a_command_prints_a_secret_or_says_why_not() {
        let command = |script: &str| SecretSource::Command(vec!["sh".into(), "-c".into(), script.into()]);
        assert_eq!(secrets().password(&command("echo hunter2")).await.unwrap().as_slice(), b"hunter2");
        let error = secrets().password(&command("echo locked >&2; exit 3")).await.unwrap_err();
        assert!(error.to_string().ends_with("(exit status: 3): locked"), "{error}");
        let error = secrets().password(&command(": hunter2")).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the secret in the output of `sh` is empty",
            "arguments are not shown"
        );
    }

    #[tokio::test]
    async fn a_command_that_prints_without_end_is_cut_off() {
        let endless = SecretSource::Command(vec!["yes".into()]);
        assert!(matches!(secrets().password(&endless).await.unwrap_err(), SecretError::TooLong(_)));
        let loud = "yes complaint | head -c 1000000 >&2; echo hunter2";
        let loud = SecretSource::Command(vec!["sh".into(), "-c".into(), loud.into()]);
        assert_eq!(secrets().password(&loud).await.unwrap().as_slice(), b"hunter2");
    }

    #[tokio::test]
    async fn a_credential_is_a_file_in_the_folder_that_systemd_made() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("vault"), "hunter2\n").unwrap();
        let path = folder.path().to_owned();
        let secrets = Secrets::new(move |name| (name == "CREDENTIALS_DIRECTORY").then(|| path.clone().into()));
        assert_eq!(
            secrets
                .password(&SecretSource::Credential("vault".into()))
                .await
                .unwrap()
                .as_slice(),
            b"hunter2"
        );
        assert!(matches!(
            secrets.read(&SecretSource::Credential("other".into())).await.unwrap_err(),
            SecretError::File { .. }
        ));
    }

    #[tokio::test]
    async fn a_file_that_is_far_too_long_is_not_a_secret() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), vec![b'x'; 65537]).unwrap();
        let source = SecretSource::File(file.path().to_owned());
        assert!(matches!(secrets().read(&source).await.unwrap_err(), SecretError::TooLong(_)));
    }

    #[tokio::test]
    async fn only_a_secret_that_may_be_new_is_to_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let lost = SecretSource::File(folder.path().join("lost"));
        let error = secrets().read(&lost).await.unwrap_err();
        assert_eq!(error.hint(), "restore it from where you keep it, or correct the path");
        assert!(error.hint_to_make().contains("key generate"), "{}", error.hint_to_make());
    }

    #[test]
    fn a_secret_that_others_can_read_is_noticed() {
        use std::os::unix::fs::PermissionsExt;
        let file = tempfile::NamedTempFile::new().unwrap();
        let source = SecretSource::File(file.path().to_owned());
        assert_eq!(exposed(&source), None);
        std::fs::set_permissions(file.path(), PermissionsExt::from_mode(0o644)).unwrap();
        assert!(exposed(&source).unwrap().contains("chmod 600"));
    }
}
