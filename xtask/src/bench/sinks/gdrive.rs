//! `cargo xtask bench gdrive`: files into a folder of a Drive and back, beside `rclone copy`, 50 ms away.

use std::path::Path;

use bulkhead_test_support::gdrive::{Drive, Served, User};
use bulkhead_test_support::{DelayLine, Scratch};
use serde_json::json;

use super::super::Context;
use super::super::report::Report;
use super::{AWAY, Rclone, Side};
use crate::error::Result;

/// Backup and restore of files in a Drive, beside `rclone copy`, with the server 50 ms away.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Size of the files in MiB; the server keeps what both sides store in memory.
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(16..=2048))]
    size: u64,
}

/// Measures both against a server of the tests' own.
pub(in super::super) fn run(context: &Context, arguments: &Arguments) -> Result<Report> {
    let size = arguments.size << 20;
    // The server's certificate goes away with it.
    let mut server = None;
    let samples = super::compare(context, size, &[AWAY], |distance, tree| {
        let drive = Drive::new();
        let served = server.insert(drive.serve()?);
        let line = DelayLine::start(served.port(), distance.round_trip)?;
        sides(context, &drive, served, line.port(), tree)
    })?;
    let remarks = vec![
        "The server is the tests' own, which answers as Google Drive does, in memory. It works on the same cores and is left out of CPU and memory. Its answers and the requests arrive \
         half of the round trip later each, and a new connection takes one more; the line is as wide as loopback is."
            .to_owned(),
        "rclone copies the files as they are: nothing is compressed, encrypted or deduplicated.".to_owned(),
    ];
    super::report(context, "gdrive", size, &["rclone"], samples, remarks)
}

fn sides(context: &Context, drive: &Drive, served: &Served, port: u16, tree: &Path) -> Result<Vec<Box<dyn Side>>> {
    let user = drive.add_user()?;
    let folder = drive.state().add_folder("root", "vault");
    let scratch = Scratch::new()?;
    let consent = json!({
        "type": "authorized_user",
        "client_id": user.client_id,
        "client_secret": user.client_secret,
        "refresh_token": user.refresh_token,
        "token_uri": served.token_url(),
    });
    scratch.private_file("consent.json", consent.to_string())?;
    let sink = format!(
        "plugin = \"gdrive\"\nconfig = {{ folder = \"{folder}\" }}\n\
         endpoint.drive = {{ url = \"https://localhost:{port}\", tls = {{ ca = \"{}\" }}, auth = {{ refresh-token = {{ file = \"consent.json\" }} }} }}",
        served.authority().display()
    );
    Ok(vec![
        super::ours(context, scratch, &sink, tree)?,
        Box::new(rclone_side(served, port, &user)?),
    ])
}

/// It knows the API by Google's own name only, so it is told that the server is its proxy.
fn rclone_side(served: &Served, port: u16, user: &User) -> Result<Rclone> {
    let scratch = Scratch::new()?;
    let token =
        json!({ "access_token": "old", "token_type": "Bearer", "refresh_token": user.refresh_token, "expiry": "2020-01-01T00:00:00Z" });
    let text = format!(
        "[drive]\ntype = drive\nscope = drive\nclient_id = {}\nclient_secret = {}\ntoken = {token}\n",
        user.client_id, user.client_secret
    );
    let configuration = scratch.private_file("rclone.conf", text)?;
    let authority = served.authority();
    Ok(Rclone {
        base: Box::new(move || {
            // The folder lives for as long as the commands that read it.
            let _ = &scratch;
            let mut command = super::rclone()?.command(["--drive-disable-http2", "--ca-cert"]);
            command.arg(&authority).arg("--config").arg(&configuration);
            command.env("HTTPS_PROXY", format!("http://127.0.0.1:{port}"));
            Ok(command)
        }),
        remote: "drive:rclone".to_owned(),
    })
}
