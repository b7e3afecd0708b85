//! Where a vault is, sink by sink, and how plain restic gets there. Credentials are not part of it.

use std::path::Path;

use bulkhead_config::{Config, Destination, Sink, Vault};
use serde_json::Value;

/// A sink.
pub(super) struct Place {
    pub(super) sink: String,
    /// Where it is.
    pub(super) description: String,
    /// Nothing for a sink that restic doesn't know.
    pub(super) restic: Option<Repository>,
}

/// What restic calls a sink.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Repository {
    /// What it needs first: a sentence.
    pub(super) first: Option<String>,
    /// Its `-r`.
    pub(super) name: String,
}

/// The sinks of `vault`, in order.
pub(super) fn of(config: &Config, vault: &Vault) -> Vec<Place> {
    vault.sinks.iter().filter_map(|name| config.sink(name)).map(place).collect()
}

fn place(sink: &Sink) -> Place {
    let (description, restic) = match sink.plugin.as_str() {
        "local" => local(sink),
        "s3" => s3(sink),
        "gdrive" => gdrive(sink),
        _ => None,
    }
    .map_or_else(
        || (format!("what the plugin `{}` makes of it", sink.plugin), None),
        |(what, restic)| (what, Some(restic)),
    );
    let region = sink.region.as_ref().map(|region| format!(", in {region}")).unwrap_or_default();
    let is_sealed = sink.plugin == "s3" && setting(sink, "encryption") == Some("customer-key");
    let sealed = if is_sealed {
        ", readable only with the `customer-key` of the sink, too"
    } else {
        ""
    };
    Place {
        sink: sink.name.clone(),
        description: description + &region + sealed,
        // It knows no such key.
        restic: restic.filter(|_| !is_sealed),
    }
}

fn local(sink: &Sink) -> Option<(String, Repository)> {
    let path = &sink.grants.directories.first()?.path;
    let path = std::path::absolute(path).unwrap_or_else(|_| Path::new(path).to_owned());
    let name = path.display().to_string();
    Some((format!("the folder {name}"), Repository { first: None, name }))
}

fn s3(sink: &Sink) -> Option<(String, Repository)> {
    let bucket = setting(sink, "bucket");
    let url = match &sink.grants.endpoints.first()?.destination {
        Destination::Url(url) => with_bucket(url.trim_end_matches('/'), bucket),
        _ => return None,
    };
    let prefix = setting(sink, "prefix")
        .map(|prefix| prefix.trim_matches('/'))
        .filter(|prefix| !prefix.is_empty());
    let url = prefix.map_or_else(|| url.clone(), |prefix| format!("{url}/{prefix}"));
    let first = "The bucket's credentials go into the environment, as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.";
    let repository = Repository {
        first: Some(first.to_owned()),
        name: format!("s3:{url}"),
    };
    Some((format!("the bucket at {url}"), repository))
}

/// The address with the bucket in its path, as restic wants it.
fn with_bucket(url: &str, bucket: Option<&str>) -> String {
    if let Some(bucket) = bucket {
        return format!("{url}/{bucket}");
    }
    let moved = url.split_once("://").and_then(|(scheme, rest)| {
        let (bucket, server) = rest.split_once(".s3.")?;
        Some(format!("{scheme}://s3.{server}/{bucket}"))
    });
    moved.unwrap_or_else(|| url.to_owned())
}

fn gdrive(sink: &Sink) -> Option<(String, Repository)> {
    let folder = setting(sink, "folder")?;
    let first = format!("rclone gets there: `rclone config create bulkhead drive root_folder_id {folder}` asks for the account.");
    let repository = Repository {
        first: Some(first),
        name: "rclone:bulkhead:".to_owned(),
    };
    Some((format!("the folder {folder} of Google Drive"), repository))
}

fn setting<'s>(sink: &'s Sink, name: &str) -> Option<&'s str> {
    sink.config.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_bucket_is_found_wherever_it_is_named() {
        for (url, bucket, expected) in [
            ("https://s3.example", Some("b"), "https://s3.example/b"),
            ("https://s3.example/b", None, "https://s3.example/b"),
            ("https://b.s3.eu-west-1.amazonaws.com", None, "https://s3.eu-west-1.amazonaws.com/b"),
        ] {
            assert_eq!(with_bucket(url, bucket), expected);
        }
    }

    #[test]
    fn each_kind_of_sink_has_its_place() {
        let text = r#"version = 1

[vault.main]
key = { file = "/keys/main" }
sinks = ["disk", "bucket", "sealed", "drive", "own"]

[sink.disk]
plugin = "local"
directory.root = { path = "/srv/vault", access = "read-write" }

[sink.bucket]
plugin = "s3"
region = "eu"
endpoint.storage = { url = "https://s3.example" }
config = { bucket = "backups", prefix = "main/" }

[sink.sealed]
plugin = "s3"
endpoint.storage = { url = "https://s3.example" }
config = { bucket = "sealed", encryption = "customer-key" }

[sink.drive]
plugin = "gdrive"
config = { folder = "0Aabc" }

[sink.own]
plugin = "own"

[plugin.own]
path = "own.wasm"
"#;
        let config = bulkhead_config::parse("bulkhead.toml", text).unwrap();
        let places = of(&config, config.vault("main").unwrap());
        let described: Vec<&str> = places.iter().map(|place| place.description.as_str()).collect();
        assert_eq!(
            described,
            [
                "the folder /srv/vault",
                "the bucket at https://s3.example/backups/main, in eu",
                "the bucket at https://s3.example/sealed, readable only with the `customer-key` of the sink, too",
                "the folder 0Aabc of Google Drive",
                "what the plugin `own` makes of it"
            ]
        );
        let names: Vec<Option<&str>> = places
            .iter()
            .map(|place| place.restic.as_ref().map(|restic| restic.name.as_str()))
            .collect();
        assert_eq!(
            names,
            [
                Some("/srv/vault"),
                Some("s3:https://s3.example/backups/main"),
                None,
                Some("rclone:bulkhead:"),
                None
            ]
        );
    }
}
