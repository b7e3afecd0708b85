//! `bulkhead man`

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_mangen::Man;

use crate::{arguments::Arguments, error::CommandError, exit::Exit, session::Session};

/// Print the manual page, or write one for each command
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  bulkhead man | man -l -\n  bulkhead man --into /usr/local/share/man/man1")]
pub(crate) struct ManArguments {
    /// Write bulkhead.1, bulkhead-run.1 and so on into this folder
    #[arg(long, value_name = "FOLDER")]
    into: Option<PathBuf>,
}

pub(crate) fn man(arguments: &ManArguments, session: &Session) -> Result<Exit, CommandError> {
    let command = Arguments::command();
    if let Some(folder) = &arguments.into {
        clap_mangen::generate_to(command, folder).map_err(|error| {
            CommandError::system(&format!("write manual pages into {}", folder.display()), &error)
                .with(Exit::Internal, "name a folder that exists and that you may write to")
        })?;
        return Ok(Exit::Ok);
    }
    let mut page = Vec::new();
    Man::new(command)
        .render(&mut page)
        .map_err(|error| CommandError::system("render the manual page", &error))?;
    session.output.raw(&page);
    Ok(Exit::Ok)
}
