//! Why a command failed, and how that is told: with the line of the TOML where there is one, its causes, and the next action.

use std::{error::Error, io, sync::Arc};

use bulkhead_config::{Config, DiagnosticLevel, Diagnostics, Explanation, Style};
use bulkhead_pipeline::{Explain, Failure};
use serde_json::{Value, json};

use crate::exit::Exit;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// The configuration is wrong.
    Config(Diagnostics),
    /// An operation failed.
    Failure {
        failure: Box<Failure>,
        config: Option<Arc<Config>>,
    },
    /// Anything that is said in one sentence.
    Message {
        exit: Exit,
        message: String,
        causes: Vec<String>,
        hint: Option<String>,
    },
}

impl CommandError {
    /// A failure of an operation on `config`.
    pub(crate) fn operation(error: &dyn Explain, config: &Arc<Config>) -> Self {
        Self::Failure {
            failure: Box::new(error.explain()),
            config: Some(config.clone()),
        }
    }

    /// The command line asks for something that makes no sense.
    pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Message {
            exit: Exit::Usage,
            message: message.into(),
            causes: Vec::new(),
            hint: Some(hint.into()),
        }
    }

    /// Interrupted before it came to a result.
    pub(crate) fn interrupted() -> Self {
        Self::Message {
            exit: Exit::Cancelled,
            message: "interrupted".to_owned(),
            causes: Vec::new(),
            hint: None,
        }
    }

    /// Not begun, because of an interruption: `what` was to be done.
    pub(crate) fn not_begun(what: &str) -> Self {
        Self::Message {
            exit: Exit::Cancelled,
            message: format!("interrupted: {what}"),
            causes: Vec::new(),
            hint: None,
        }
    }

    /// Standard output could not be written.
    pub(crate) fn output(error: &io::Error) -> Self {
        let failed = Self::system("write to standard output", error);
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                failed.with(Exit::StorageFull, "what was written is not whole: make room, and run it again")
            }
            _ => failed.with(Exit::Internal, "what was written is not whole"),
        }
    }

    /// The operating system refused something.
    pub(crate) fn system(action: &str, error: &dyn Error) -> Self {
        let mut causes = vec![error.to_string()];
        let mut source = error.source();
        while let Some(error) = source {
            causes.push(error.to_string());
            source = error.source();
        }
        Self::Message {
            exit: Exit::Internal,
            message: format!("cannot {action}"),
            causes,
            hint: None,
        }
    }

    /// The same with a next action and another exit.
    pub(crate) fn with(self, exit: Exit, hint: impl Into<String>) -> Self {
        match self {
            Self::Message { message, causes, .. } => Self::Message {
                exit,
                message,
                causes,
                hint: Some(hint.into()),
            },
            other => other,
        }
    }

    /// How the program ends for it.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Config(_) => Exit::Config,
            Self::Failure { failure, .. } => failure.class.into(),
            Self::Message { exit, .. } => *exit,
        }
    }

    /// As text for a terminal of `width` columns.
    pub(crate) fn render(&self, style: Style, width: usize) -> String {
        match self {
            Self::Config(diagnostics) => diagnostics.render(style, width),
            Self::Failure { failure, config } => render_failure(failure, config.as_deref(), DiagnosticLevel::Error, style, width),
            Self::Message { message, causes, hint, .. } => plain(message, causes, hint.as_deref(), style),
        }
    }

    /// As a JSON document of `vault`, in a list of several.
    pub(crate) fn to_json_of(&self, vault: &str) -> Value {
        let mut document = self.to_json();
        document["vault"] = vault.into();
        document
    }

    /// As a JSON document (`docs/json.md`).
    pub(crate) fn to_json(&self) -> Value {
        let exit = self.exit();
        let base = |message: &str, causes: &[String], hint: Option<&str>, retryable: bool| json!({ "kind": "error", "version": 1, "class": exit.class(), "exit-code": exit as u8, "message": message, "causes": causes, "hint": hint, "retryable": retryable });
        match self {
            Self::Config(diagnostics) => {
                let count = diagnostics.items().len();
                let message = if count == 1 {
                    "the configuration has an error".to_owned()
                } else {
                    format!("the configuration has {count} errors")
                };
                let mut document = base(&message, &[], None, false);
                document["diagnostics"] = diagnostics.to_json().into();
                document
            }
            Self::Failure { failure, config } => {
                let mut document = base(&failure.message, &failure.causes, failure.hint.as_deref(), failure.retryable);
                if let (Some(site), Some(config)) = (&failure.site, config) {
                    document["table"] = site.table.clone().into();
                    let diagnostics = config.explain(&site.origin, &explanation(failure, DiagnosticLevel::Error));
                    document["diagnostics"] = diagnostics.to_json().into();
                }
                document
            }
            Self::Message { message, causes, hint, .. } => base(message, causes, hint.as_deref(), false),
        }
    }
}

fn explanation(failure: &Failure, level: DiagnosticLevel) -> Explanation<'_> {
    Explanation {
        setting: failure.setting.as_deref(),
        message: &failure.message,
        causes: &failure.causes,
        hint: failure.hint.as_deref(),
        level,
    }
}

/// A failure (or a finding put as one) with the line of the TOML that it is about.
pub(crate) fn render_failure(failure: &Failure, config: Option<&Config>, level: DiagnosticLevel, style: Style, width: usize) -> String {
    match (&failure.site, config) {
        (Some(site), Some(config)) => config.explain(&site.origin, &explanation(failure, level)).render(style, width),
        _ => plain(&failure.message, &failure.causes, failure.hint.as_deref(), style),
    }
}

fn plain(message: &str, causes: &[String], hint: Option<&str>, style: Style) -> String {
    let (bold_red, bold, cyan, reset) = match style {
        Style::Plain => ("", "", "", ""),
        Style::Coloured => ("\x1b[1m\x1b[91m", "\x1b[1m", "\x1b[1m\x1b[96m", "\x1b[0m"),
    };
    let mut text = format!("{bold_red}error{reset}{bold}: {message}{reset}");
    for cause in causes {
        text.push_str(&format!("\n  {bold}cause{reset}: {cause}"));
    }
    if let Some(hint) = hint {
        text.push_str(&format!("\n  {cyan}help{reset}: {hint}"));
    }
    text
}
