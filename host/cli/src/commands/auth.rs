//! `bulkhead auth`

use std::path::PathBuf;

use bulkhead_pipeline::{Application, Browser, Consent, ConsentError, ConsentServers, Device, Explain as _};
use clap::{Args, Subcommand};

use crate::{error::CommandError, exit::Exit, output::Mark, session::Session};

/// Consent of people to use their storage
#[derive(Debug, Subcommand)]
pub(crate) enum AuthCommand {
    Gdrive(GdriveArguments),
}

/// Ask a person for the use of their Google Drive, and store what comes of it
///
/// It takes a client of your own: in the Google Cloud console, make a project, enable the Drive API, and make an OAuth client of the kind "Desktop app" (with
/// --device: "TVs and Limited Input devices"). The file is readable by you only; `auth = { refresh-token = { file = "FILE" } }` of an endpoint names it.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead auth gdrive --client-id ID --client-secret-file secret --into /etc/bulkhead/gdrive.json\n  bulkhead auth gdrive … --device --folder Backups      on a host without a browser; only what it makes itself is seen"
)]
pub(crate) struct GdriveArguments {
    /// The client's id
    #[arg(long, value_name = "ID")]
    client_id: String,

    /// A file with the client's secret
    #[arg(long, value_name = "FILE")]
    client_secret_file: PathBuf,

    /// Where to store it; an older one is replaced
    #[arg(long, value_name = "FILE")]
    into: PathBuf,

    /// Ask through a browser on another device
    #[arg(long)]
    device: bool,

    /// Make a folder of this name in My Drive, and print its id
    #[arg(long, value_name = "NAME")]
    folder: Option<String>,

    /// Another server than Google's, by URL
    #[arg(long, value_name = "URL", hide = true)]
    server: Option<String>,

    /// Certificates to trust instead of the system's, PEM
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl GdriveArguments {
    fn servers(&self) -> ConsentServers {
        let servers = match &self.server {
            None => ConsentServers::default(),
            Some(server) => ConsentServers {
                page: format!("{server}/o/oauth2/v2/auth"),
                device: format!("{server}/device/code"),
                token: format!("{server}/token"),
                drive: server.clone(),
                ca: None,
            },
        };
        ConsentServers {
            ca: self.ca.clone(),
            ..servers
        }
    }

    fn application(&self) -> Result<Application, CommandError> {
        let file = self.client_secret_file.display();
        let secret = std::fs::read_to_string(&self.client_secret_file).map_err(|error| {
            CommandError::usage(
                format!("cannot read the client's secret in {file}: {error}"),
                "the Google Cloud console shows it: APIs & Services, Credentials",
            )
        })?;
        Ok(Application::new(self.client_id.clone(), &secret, self.servers()))
    }
}

pub(crate) async fn auth(command: &AuthCommand, session: &Session) -> Result<Exit, CommandError> {
    match command {
        AuthCommand::Gdrive(arguments) => gdrive(arguments, session).await,
    }
}

/// What becomes of a request, unless the person is tired of it.
async fn unless_interrupted<T>(work: impl Future<Output = Result<T, ConsentError>>, session: &Session) -> Result<T, CommandError> {
    tokio::select! {
        biased;
        () = session.cancellation.cancelled() => Err(CommandError::interrupted()),
        done = work => done.map_err(|error| failed(&error)),
    }
}

async fn gdrive(arguments: &GdriveArguments, session: &Session) -> Result<Exit, CommandError> {
    let application = arguments.application()?;
    let asked = async {
        let consent = if arguments.device {
            ask_on_device(application, session).await?
        } else {
            ask_in_browser(application, session).await?
        };
        Ok::<_, ConsentError>(consent)
    };
    let consent = unless_interrupted(asked, session).await?;
    let into = arguments.into.display();
    consent.store(&arguments.into).map_err(|error| {
        CommandError::usage(
            format!("cannot make the file {into}: {error}"),
            "name a file in a folder that you may write to",
        )
    })?;
    // Only now: a person who has agreed is not to be asked again because Drive would not make a folder.
    let folder = match &arguments.folder {
        Some(name) => Some(unless_interrupted(consent.make_folder(name), session).await?),
        None => None,
    };
    if session.output.is_json() {
        let document = serde_json::json!({ "file": arguments.into, "folder": folder });
        session.output.document("auth-gdrive", &document);
        return Ok(Exit::Ok);
    }
    let done = session.output.mark(Mark::Good, "stored");
    session.output.line(&format!(
        "{done} {into}: write `auth = {{ refresh-token = {{ file = \"{into}\" }} }}`"
    ));
    if let Some(id) = folder {
        session
            .output
            .line(&format!("folder made: write `config = {{ folder = \"{id}\" }}`"));
    }
    Ok(Exit::Ok)
}

async fn ask_in_browser(application: Application, session: &Session) -> Result<Consent, ConsentError> {
    let browser = Browser::begin(application).await?;
    session
        .output
        .warn(&format!("Open this in a browser on this host:\n\n{}\n", browser.url()));
    browser.wait().await
}

async fn ask_on_device(application: Application, session: &Session) -> Result<Consent, ConsentError> {
    let device = Device::begin(application).await?;
    session
        .output
        .warn(&format!("Open {} on any device, and type the code {}", device.url(), device.code()));
    device.wait().await
}

fn failed(error: &ConsentError) -> CommandError {
    CommandError::Failure {
        failure: Box::new(error.explain()),
        config: None,
    }
}
