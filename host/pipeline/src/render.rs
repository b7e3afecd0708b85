//! `bulkhead dump --format`: a snapshot in another format, as its plugin writes it.
//!
//! The plugin runs beside its reader, a few pieces ahead at most. A reader that goes away ends it.

use std::sync::Arc;

use async_trait::async_trait;
use bulkhead_config::Pipeline;
use bulkhead_model::{EntryPath, Fault, FaultKind};
use bulkhead_runtime::{Format, PluginError, RenderRequest, ports::EntryWriter};
use bytes::Bytes;
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    browse::{SnapshotError, open_snapshot},
    failure::{Explain, Failure, FailureClass, Site},
    host::{BuildError, pipeline_site},
    operation::{Interrupted, Operation},
    stored::VaultSnapshot,
};

/// Pieces, of 1 MiB at most, that wait for their reader.
const AHEAD: usize = 4;

/// Zero bytes in one piece.
const ZEROS: &[u8] = &[0; 64 << 10];

/// What to write.
#[derive(Debug, Clone)]
pub struct RenderOptions {
    /// `latest`, or the beginning of a snapshot's id.
    pub snapshot: String,
    /// One of the plugin's formats.
    pub format: String,
    /// What is written, with all below it; empty for everything.
    pub paths: Vec<EntryPath>,
}

/// Why a snapshot could not be written in another format.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The source's plugin can't be used.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The snapshot can't be found or read.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The plugin has no such format.
    #[error("the plugin `{plugin}` does not write the format `{format}`")]
    NoFormat {
        /// The plugin.
        plugin: String,
        /// What was asked for.
        format: String,
        /// What it writes.
        formats: Vec<String>,
    },
    /// The plugin failed.
    #[error("the plugin failed")]
    Plugin {
        /// The pipeline's table.
        site: Site,
        /// How.
        source: Box<PluginError>,
    },
    /// The plugin's task ended without a result.
    #[error("writing the format ended early")]
    Lost,
    /// Cut short.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl Explain for RenderError {
    fn explain(&self) -> Failure {
        match self {
            Self::Build(error) => error.explain(),
            Self::Snapshot(error) => error.explain(),
            Self::NoFormat { formats, .. } => {
                let hint = match formats.as_slice() {
                    [] => "it writes none; `bulkhead restore PIPELINE --into FOLDER` writes the entries".to_owned(),
                    formats => format!("it writes {}", formats.join(", ")),
                };
                Failure::new(FailureClass::NotFound, self).hint(hint)
            }
            Self::Plugin { site, source } => Failure::of_plugin(source).at(site),
            Self::Lost => Failure::new(FailureClass::Internal, self),
            Self::Interrupted(error) => crate::run::explain_interrupted(*error, None),
        }
    }
}

/// A format that is being written.
pub struct Rendering {
    operation: Operation,
    site: Site,
    pieces: mpsc::Receiver<Bytes>,
    /// The one task; ended when this is dropped.
    plugin: JoinSet<Result<(), PluginError>>,
}

/// Begins to write a snapshot of `pipeline` in another format.
///
/// # Errors
/// See [`RenderError`].
pub async fn render(operation: &Operation, pipeline: &Pipeline, options: RenderOptions) -> Result<Rendering, RenderError> {
    let loaded = operation.host.source(&operation.config, pipeline);
    let (source, plugin) = operation.until_interrupted(None, loaded).await??;
    refuse_unknown(&plugin.description().formats, &plugin.description().name, &options.format)?;
    let opened = open_snapshot(operation, pipeline, &options.snapshot).await?;
    let snapshot = VaultSnapshot::open(opened.reader().clone());
    let snapshot = Arc::new(operation.until_interrupted(None, snapshot).await?.map_err(SnapshotError::from)?);
    let (sender, pieces) = mpsc::channel(AHEAD);
    let (context, request) = (
        operation.context(),
        RenderRequest {
            format: options.format,
            paths: options.paths,
        },
    );
    let mut plugin = JoinSet::new();
    plugin.spawn(async move {
        source
            .render(&context, snapshot, request, Box::new(Pipe { sender, written: 0 }))
            .await
    });
    Ok(Rendering {
        operation: operation.clone(),
        site: pipeline_site(pipeline),
        pieces,
        plugin,
    })
}

fn refuse_unknown(formats: &[Format], plugin: &str, format: &str) -> Result<(), RenderError> {
    if formats.iter().any(|known| known.name == format) {
        return Ok(());
    }
    Err(RenderError::NoFormat {
        plugin: plugin.to_owned(),
        format: format.to_owned(),
        formats: formats.iter().map(|known| known.name.clone()).collect(),
    })
}

impl Rendering {
    /// The next bytes; `None` when all are written, and only then.
    ///
    /// # Errors
    /// See [`RenderError`]; what came before is not whole.
    pub async fn next(&mut self) -> Result<Option<Bytes>, RenderError> {
        if let Some(piece) = self.operation.until_interrupted(None, self.pieces.recv()).await? {
            return Ok(Some(piece));
        }
        match self.plugin.join_next().await {
            Some(Ok(Ok(()))) => Ok(None),
            Some(Ok(Err(error))) => Err(RenderError::Plugin {
                site: self.site.clone(),
                source: Box::new(error),
            }),
            Some(Err(_)) | None => Err(RenderError::Lost),
        }
    }
}

/// The plugin's end.
struct Pipe {
    sender: mpsc::Sender<Bytes>,
    written: u64,
}

#[async_trait]
impl EntryWriter for Pipe {
    async fn write(&mut self, data: Bytes) -> Result<(), Fault> {
        self.written += data.len() as u64;
        let gone = |_| Fault::new(FaultKind::Cancelled, "nobody reads any further");
        self.sender.send(data).await.map_err(gone)
    }

    async fn write_zeros(&mut self, length: u64) -> Result<(), Fault> {
        let mut left = length;
        while left > 0 {
            let piece = &ZEROS[..usize::try_from(left).unwrap_or(ZEROS.len()).min(ZEROS.len())];
            self.write(Bytes::from_static(piece)).await?;
            left -= piece.len() as u64;
        }
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<u64, Fault> {
        Ok(self.written)
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn a_format_that_there_is_not_is_told_with_those_that_there_are() {
        let sql = Format {
            name: "sql".to_owned(),
            summary: String::new(),
        };
        assert!(refuse_unknown(std::slice::from_ref(&sql), "postgres", "sql").is_ok());
        let error = refuse_unknown(&[sql], "postgres", "csv").unwrap_err();
        let failure = error.explain();
        assert_eq!(failure.message, "the plugin `postgres` does not write the format `csv`");
        assert_eq!(failure.hint.as_deref(), Some("it writes sql"));
        let none = refuse_unknown(&[], "files", "sql").unwrap_err().explain();
        assert!(none.hint.unwrap().starts_with("it writes none"));
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_ends_the_writer() {
        let (sender, mut pieces) = mpsc::channel(AHEAD);
        let mut pipe = Pipe { sender, written: 0 };
        pipe.write(Bytes::from_static(b"begin")).await.unwrap();
        pipe.write_zeros(ZEROS.len() as u64 + 1).await.unwrap();
        let lengths = [pieces.recv().await, pieces.recv().await, pieces.recv().await].map(|piece| piece.unwrap().len());
        assert_eq!(lengths, [5, ZEROS.len(), 1]);
        drop(pieces);
        assert_eq!(
            pipe.write(Bytes::from_static(b"more")).await.unwrap_err().kind,
            FaultKind::Cancelled
        );
    }
}
