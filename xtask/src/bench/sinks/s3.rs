//! `cargo xtask bench s3`: files into a bucket and back, beside restic and `rclone copy`, with the server here and 50 ms away.

use std::path::{Path, PathBuf};

use bulkhead_test_support::restic::Restic;
use bulkhead_test_support::s3::Server;
use bulkhead_test_support::{DelayLine, Scratch};

use super::super::Context;
use super::super::measure::{Cost, Job};
use super::super::report::Report;
use super::{AWAY, Distance, HERE, Rclone, Side};
use crate::error::Result;

/// Backup and restore of files in a bucket, beside restic and `rclone copy`, with the server here and 50 ms away.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Size of the files in MiB.
    #[arg(long, default_value_t = 2048, value_parser = clap::value_parser!(u64).range(16..=65_536))]
    size: u64,
}

/// Measures all three against one server for each distance.
pub(in super::super) fn run(context: &Context, arguments: &Arguments) -> Result<Report> {
    let server = Server::start()?;
    let size = arguments.size << 20;
    let samples = super::compare(context, size, &[HERE, AWAY], |distance, tree| {
        // What earlier rounds have stored is not to fill the disk.
        server.empty()?;
        sides(context, &server, distance, tree)
    })?;
    let remarks = vec![
        "The server is s3s-fs, which keeps objects as files; it works on the same cores and is left out of CPU and memory. Its answers and the requests arrive half of the round trip \
         later each, and a new connection takes one more; the line is as wide as loopback is."
            .to_owned(),
        "rclone copies the files as they are: nothing is compressed, encrypted or deduplicated.".to_owned(),
    ];
    super::report(context, "s3", size, &["restic", "rclone"], samples, remarks)
}

fn sides(context: &Context, server: &Server, distance: &Distance, tree: &Path) -> Result<Vec<Box<dyn Side>>> {
    let port = if distance.round_trip.is_zero() {
        server.port()
    } else {
        DelayLine::start(server.port(), distance.round_trip)?.port()
    };
    let url = format!("http://127.0.0.1:{port}");
    let scratch = Scratch::new()?;
    scratch.private_file("access-key", server.access_key())?;
    scratch.private_file("secret-key", server.secret_key())?;
    let sink = format!(
        "plugin = \"s3\"\nconfig = {{ bucket = \"vaults\", prefix = \"bulkhead\" }}\n\
         endpoint.storage = {{ url = \"{url}\", auth = {{ aws = {{ region = \"us-east-1\", access-key-id = {{ file = \"access-key\" }}, secret-access-key = {{ file = \"secret-key\" }} }} }} }}"
    );
    Ok(vec![
        super::ours(context, scratch, &sink, tree)?,
        Box::new(ResticSide::new(server, &url)?),
        Box::new(rclone_side(server, &url)),
    ])
}

/// restic with a repository of its own in the bucket.
struct ResticSide {
    _scratch: Scratch,
    restic: Restic,
    keys: [(&'static str, String); 2],
}

impl ResticSide {
    fn new(server: &Server, url: &str) -> Result<Self> {
        let scratch = Scratch::new()?;
        let password = scratch.private_file("password", "benchmark")?;
        let side = Self {
            restic: Restic::new(format!("s3:{url}/vaults/restic"), password)?,
            keys: [
                ("AWS_ACCESS_KEY_ID", server.access_key().to_owned()),
                ("AWS_SECRET_ACCESS_KEY", server.secret_key().to_owned()),
            ],
            _scratch: scratch,
        };
        side.job(&["init", "--repository-version", "2"])?;
        Ok(side)
    }

    fn job(&self, arguments: &[&str]) -> Result<Cost> {
        let mut command = self.restic.command(arguments);
        command.envs(self.keys.iter().map(|(name, value)| (name, value)));
        Job::command(command).run()
    }
}

impl Side for ResticSide {
    fn name(&self) -> &'static str {
        "restic"
    }

    fn back_up(&self, tree: &Path) -> Result<Cost> {
        self.job(&["backup", "--quiet", &tree.display().to_string()])
    }

    fn restore(&self, into: &Path) -> Result<Cost> {
        self.job(&["restore", "--quiet", "latest", "--target", &into.display().to_string()])
    }

    fn place(&self, into: &Path, tree: &Path) -> PathBuf {
        into.join(tree.strip_prefix("/").unwrap_or(tree))
    }
}

fn rclone_side(server: &Server, url: &str) -> Rclone {
    let settings = [
        ("RCLONE_CONFIG_BUCKET_TYPE", "s3".to_owned()),
        ("RCLONE_CONFIG_BUCKET_PROVIDER", "Other".to_owned()),
        ("RCLONE_CONFIG_BUCKET_ENDPOINT", url.to_owned()),
        ("RCLONE_CONFIG_BUCKET_REGION", "us-east-1".to_owned()),
        ("RCLONE_CONFIG_BUCKET_ACCESS_KEY_ID", server.access_key().to_owned()),
        ("RCLONE_CONFIG_BUCKET_SECRET_ACCESS_KEY", server.secret_key().to_owned()),
        ("RCLONE_CONFIG", String::new()),
    ];
    Rclone {
        base: Box::new(move || {
            let mut command = super::rclone()?.command(["--s3-no-check-bucket"]);
            command.envs(settings.iter().map(|(name, value)| (name, value)));
            // It cannot read one, and nothing here needs one.
            command.env_remove("AWS_CA_BUNDLE");
            Ok(command)
        }),
        // With a slash at its end, it is a folder without asking: this server answers that question with a failure.
        remote: "bucket:vaults/rclone/".to_owned(),
    }
}
