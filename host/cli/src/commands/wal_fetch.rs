//! `bulkhead wal-fetch`

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use bulkhead_pipeline as pipeline;
use bulkhead_pipeline::{Content, LogPart, OpenSnapshot, RecoverySpan, SnapshotError};
use clap::Args;

use crate::{
    error::CommandError,
    exit::Exit,
    session::{Session, one_pipeline},
};

/// Fetch a file of the write-ahead log, as a recovering server asks for it
///
/// This is what `restore --to-time` and its like write as `restore_command`; the server's user must be able to read the configuration, the vault's key and the sink. A file
/// that the log does not have ends it with 13, which PostgreSQL takes for the end of the log; any failure with 126, at which it stops.
///
/// Segments that follow are fetched along, up to --ahead of them, into a folder beside the file: opening the vault takes longer than reading one.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  bulkhead wal-fetch shop-wal 0000000100000000000000A3 /tmp/segment\n\nIn postgresql.conf:\n  restore_command = 'bulkhead -c /etc/bulkhead/bulkhead.toml wal-fetch shop-wal %f %p'"
)]
pub(crate) struct WalFetchArguments {
    /// The pipeline that stores the log
    #[arg(value_name = "PIPELINE")]
    pipeline: String,

    /// The file's name: `%f`
    #[arg(value_name = "NAME")]
    name: OsString,

    /// Where it goes: `%p`
    #[arg(value_name = "PATH")]
    path: PathBuf,

    /// The beginning of a snapshot's id
    #[arg(long, value_name = "ID", default_value = "latest")]
    snapshot: String,

    /// Where the recovery begins: should the snapshot be forgotten, the newest one is read if it has all from here to --to
    #[arg(long, value_name = "LSN", requires = "to")]
    from: Option<String>,

    /// Where the recovery's log ended when it was planned
    #[arg(long, value_name = "LSN", requires = "from")]
    to: Option<String>,

    /// Read from this sink, one of the vault's; the first one by default
    #[arg(long, value_name = "NAME")]
    sink: Option<String>,

    /// How many segments that follow are fetched along
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u64).range(0..=256))]
    ahead: u64,
}

impl WalFetchArguments {
    /// What the recovery needs of the log.
    fn span(&self) -> Option<RecoverySpan> {
        let (from, to) = (self.from.clone()?, self.to.clone()?);
        Some(RecoverySpan { from, to })
    }
}

/// One read.
const READ_SIZE: usize = 1 << 20;

/// Beside the file: PostgreSQL ignores what is in `pg_wal` under such a name, and a base backup leaves it out of the manifest.
const AHEAD_FOLDER: &str = "bulkhead-ahead";

pub(crate) async fn wal_fetch(arguments: &WalFetchArguments, session: &Session) -> Result<Exit, CommandError> {
    match fetch(arguments, session).await {
        Ok(found) => Ok(found),
        Err(error) => {
            session.output.complain(&error);
            Ok(Exit::Undecided)
        }
    }
}

async fn fetch(arguments: &WalFetchArguments, session: &Session) -> Result<Exit, CommandError> {
    let name = arguments.name.to_string_lossy();
    if !pipeline::is_log_file(&name) {
        return Err(CommandError::usage(
            format!("`{name}` is no file of a write-ahead log"),
            "restore_command has the name first: `bulkhead wal-fetch PIPELINE %f %p`",
        ));
    }
    let ahead = Ahead::beside(&arguments.path);
    if ahead.take(&name, &arguments.path)? {
        return Ok(Exit::Ok);
    }
    let config = session.config()?;
    let pipeline = one_pipeline(&config, &arguments.pipeline)?;
    let operation = session.reading(&config, arguments.sink.as_deref(), [pipeline.vault.as_str()])?;
    let failed = |error: SnapshotError| CommandError::operation(&error, &config);
    let snapshot = pipeline::open_log(&operation, pipeline, &arguments.snapshot, arguments.span().as_ref()).await;
    let snapshot = snapshot.map_err(|error| CommandError::operation(&error, &config))?;
    let fetcher = Fetcher {
        snapshot: &snapshot,
        failed: &failed,
    };
    let Some(size) = fetcher.fetch(&name, LogPart::Partial, &arguments.path).await? else {
        ahead.remove();
        return Ok(Exit::NotFound);
    };
    let number = usize::try_from(arguments.ahead).unwrap_or_default();
    if let Err(error) = fetcher.fetch_ahead(&ahead, following(&name, size).take(number)).await {
        // What was asked for is in its place. Whether the rest is needed, the server says when it asks for it.
        session.output.complain(&error);
        session
            .output
            .warn("warning: segments that follow could not be fetched along; the one that was asked for is in its place");
    }
    Ok(Exit::Ok)
}

/// Reads files of one snapshot.
struct Fetcher<'f, F> {
    snapshot: &'f OpenSnapshot,
    failed: &'f F,
}

impl<F: Fn(SnapshotError) -> CommandError> Fetcher<'_, F> {
    /// Writes a file of the log to `path`; its size, or `None` where the log doesn't have it.
    async fn fetch(&self, name: &str, part: LogPart, path: &Path) -> Result<Option<u64>, CommandError> {
        let Some(mut content) = pipeline::fetch_log(self.snapshot, name, part).await.map_err(self.failed)? else {
            return Ok(None);
        };
        let size = content.size();
        self.write(&mut content, path).await.map(|()| Some(size))
    }

    /// Writes the segments of these names into the folder for those that are asked for later, up to the first that the log doesn't have.
    async fn fetch_ahead(&self, ahead: &Ahead, names: impl Iterator<Item = String>) -> Result<(), CommandError> {
        for next in names {
            let place = ahead.place(&next)?;
            if !place.exists() && self.fetch(&next, LogPart::Whole, &place).await?.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Writes the content beside its place first, and to the disk: what is at its place is whole.
    async fn write(&self, content: &mut Content, path: &Path) -> Result<(), CommandError> {
        let beside = path.with_added_extension("bulkhead");
        let unwritable = |error: &io::Error| CommandError::system(&format!("write {}", path.display()), error);
        let written = self.write_to(content, &beside, &unwritable).await;
        if written.is_err() {
            // What it was to be is asked for again.
            let _ = fs::remove_file(&beside);
        }
        written?;
        fs::rename(&beside, path).map_err(|error| unwritable(&error))
    }

    /// Into a new file that only its owner reads; what an earlier attempt left is removed, and no link is followed.
    async fn write_to(
        &self,
        content: &mut Content,
        path: &Path,
        unwritable: &impl Fn(&io::Error) -> CommandError,
    ) -> Result<(), CommandError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(&error)),
            _ => {}
        }
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(path);
        let mut file = file.map_err(|error| unwritable(&error))?;
        while let Some(data) = content.read(READ_SIZE).await.map_err(self.failed)? {
            file.write_all(&data).map_err(|error| unwritable(&error))?;
        }
        file.sync_all().map_err(|error| unwritable(&error))
    }
}

/// Segments that were fetched along with an earlier one.
struct Ahead(PathBuf);

impl Ahead {
    /// Those beside the file at `path`.
    fn beside(path: &Path) -> Self {
        Self(path.parent().unwrap_or(Path::new("")).join(AHEAD_FOLDER))
    }

    /// Puts the segment called `name` at `path`, if it is here.
    fn take(&self, name: &str, path: &Path) -> Result<bool, CommandError> {
        match fs::rename(self.0.join(name), path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(CommandError::system(&format!("write {}", path.display()), &error)),
        }
    }

    /// Where a segment goes.
    fn place(&self, name: &str) -> Result<PathBuf, CommandError> {
        fs::create_dir_all(&self.0).map_err(|error| CommandError::system(&format!("make {}", self.0.display()), &error))?;
        Ok(self.0.join(name))
    }

    /// Nothing follows: what is here will not be asked for.
    fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.0)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::debug!(%error, "{} stays", self.0.display());
        }
    }
}

/// Names of the segments that follow the one called `name`, of `size` bytes; none after what is no segment.
fn following(name: &str, size: u64) -> impl Iterator<Item = String> + use<> {
    let part = |range: std::ops::Range<usize>| name.get(range).and_then(|digits| u64::from_str_radix(digits, 16).ok());
    let in_a_log = (1_u64 << 32).checked_div(size).filter(|&count| name.len() == 24 && count > 0);
    let first = match (part(0..8), part(8..16), part(16..24), in_a_log) {
        (Some(timeline), Some(log), Some(segment), Some(count)) => Some((timeline, log * count + segment, count)),
        _ => None,
    };
    first.into_iter().flat_map(|(timeline, number, count)| {
        (number + 1..).map(move |number| format!("{timeline:08X}{:08X}{:08X}", number / count, number % count))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_follow_each_other_across_logs() {
        let next: Vec<_> = following("0000000200000001000000FE", 16 << 20).take(2).collect();
        assert_eq!(next, ["0000000200000001000000FF", "000000020000000200000000"]);
        assert_eq!(following("00000002.history", 42).next(), None);
        assert_eq!(following("0000000200000001000000FE", 0).next(), None);
    }
}
