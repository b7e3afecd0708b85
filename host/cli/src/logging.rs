//! Log records, on stderr and out of the way of progress bars.

use std::io::{self, Write};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter};

use crate::{
    arguments::{GlobalArguments, LogFormat},
    output::Output,
};

/// Starts logging: warnings, more with `-v`; `BULKHEAD_LOG` takes a filter of tracing-subscriber's syntax.
pub(crate) fn start(arguments: &GlobalArguments, output: &Output) {
    let level = match (arguments.quiet, arguments.verbose) {
        (true, _) => "error",
        (false, 0) => "warn",
        (false, 1) => "warn,bulkhead=info,bulkhead_runtime=info,bulkhead_vault=info,bulkhead_pipeline=info",
        (false, 2) => {
            "info,bulkhead=debug,bulkhead_runtime=debug,bulkhead_vault=debug,bulkhead_pipeline=debug,cranelift=warn,wasmtime=warn"
        }
        (false, _) => "trace",
    };
    let filter = EnvFilter::try_from_env("BULKHEAD_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(LogWriter(output.clone(), arguments.log_format));
    match arguments.log_format {
        LogFormat::Text => builder
            .with_ansi(output.colours_errors())
            .with_target(arguments.verbose > 1)
            .compact()
            .init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// Writes records between redraws of the progress bar.
struct LogWriter(Output, LogFormat);

impl<'w> MakeWriter<'w> for LogWriter {
    type Writer = Record;

    fn make_writer(&'w self) -> Self::Writer {
        Record {
            output: self.0.clone(),
            format: self.1,
            text: Vec::new(),
        }
    }
}

/// One record; written whole when it is dropped.
struct Record {
    output: Output,
    format: LogFormat,
    text: Vec<u8>,
}

impl Write for Record {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let text = String::from_utf8_lossy(&self.text);
        match self.format {
            LogFormat::Text => self.output.tell(&text),
            LogFormat::Json => self.output.tell_json(&text),
        }
    }
}
