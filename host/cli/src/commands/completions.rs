//! `bulkhead completions`

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::{arguments::Arguments, exit::Exit, session::Session};

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead completions bash > /etc/bash_completion.d/bulkhead\n  bulkhead completions zsh > ~/.zfunc/_bulkhead"
)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

pub(crate) fn completions(arguments: &CompletionsArguments, session: &Session) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "bulkhead", &mut script);
    session.output.raw(&script);
    Exit::Ok
}
