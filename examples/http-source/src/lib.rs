//! A source plugin of a third party, whole: it backs up documents of an HTTP server, those that have not changed without reading them again, and
//! brings them back into a folder.

use std::collections::BTreeMap;

use bulkhead_sdk::{
    digest::Algorithm,
    directory::OpenMode,
    entries::Finished,
    host::BEST_TRANSFER,
    http::{Request, Response},
    prelude::*,
};

/// What the operator writes under `config`.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Paths of the documents on the server, without the leading "/".
    documents: Vec<String>,
}

/// What a run leaves to the next one: the ETags of what it stored.
type Tags = BTreeMap<String, String>;

/// The plugin.
pub struct HttpSource {
    documents: Vec<String>,
}

impl Source for HttpSource {
    type Config = Config;

    fn describe() -> Description {
        let operations = Operations::CHECK | Operations::BACKUP | Operations::VERIFY | Operations::RESTORE;
        let reading = Operations::CHECK | Operations::BACKUP;
        Description::new(
            "http-source",
            env!("CARGO_PKG_VERSION"),
            "Backs up documents of an HTTP server",
            operations,
        )
        .endpoint("server", "The server that has the documents", reading)
        .directory(
            "target",
            "Where a restore writes the documents",
            Access::ReadWrite,
            Operations::RESTORE,
        )
    }

    fn new(config: Config) -> Result<Self> {
        if config.documents.is_empty() {
            return Err(Error::config("documents", "no document is named").with_hint("for example `documents = [\"export.json\"]`"));
        }
        Ok(Self {
            documents: config.documents,
        })
    }

    /// Asks for the head of each document: before the first run, the operator learns what is missing.
    fn check(&mut self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for document in &self.documents {
            if let Err(error) = Request::new("HEAD", "server", format!("/{document}")).send()?.success() {
                findings.push(Finding::error("document-unavailable", error.to_string()).with_setting("documents"));
            }
        }
        Ok(findings)
    }

    fn backup(&mut self, request: BackupRequest) -> Result<BackupResult> {
        let known: Tags = request
            .checkpoint
            .and_then(|json| serde_json::from_slice(&json).ok())
            .unwrap_or_default();
        let (mut tags, mut proof) = (Tags::new(), Proof::default());
        for document in &self.documents {
            progress::report(&format!("reading {document}"), proof.bytes, None);
            let mut get = Request::get("server", format!("/{document}"));
            if let Some(tag) = known.get(document) {
                get = get.header("if-none-match", tag);
            }
            let response = get.send()?;
            let tag = response.header("etag").map(str::to_owned);
            let finished = match response.status() {
                304 => entries::keep(document)?, // unchanged: carried forward from the parent snapshot
                _ => store(document, response.success()?)?,
            };
            proof.count(&finished);
            tags.extend(tag.or_else(|| known.get(document).cloned()).map(|tag| (document.clone(), tag)));
        }
        // Every document came whole: the host fails a body that ends early, and `store` one whose length is not what was announced.
        proof.complete = true;
        proof.fact("documents", self.documents.len());
        let checkpoint = serde_json::to_vec(&tags).map_err(|error| Error::new(ErrorKind::Internal, error.to_string()))?;
        Ok(BackupResult {
            proof,
            checkpoint: Some(checkpoint),
            findings: Vec::new(),
        })
    }

    /// Reads all of it back; what is called JSON must be JSON.
    fn verify(&mut self) -> Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for entry in snapshot::walk("")? {
            let path = entry?.path;
            let name = String::from_utf8_lossy(&path);
            let parsed = serde_json::from_reader::<_, serde::de::IgnoredAny>(snapshot::open(&path)?);
            if let (true, Err(error)) = (name.ends_with(".json"), parsed) {
                findings.push(Finding::error("not-json", format!("{name} is not JSON: {error}")));
            }
        }
        Ok(findings)
    }

    fn restore(&mut self, request: RestoreRequest) -> Result<RestoreResult> {
        let target = directory::open("target")?;
        let mut result = RestoreResult::default();
        for entry in snapshot::walk("")? {
            let entry = entry?;
            if !request.selects(&entry.path) {
                continue;
            }
            if entry.metadata.node_type == NodeType::Directory {
                target.create_folders(&entry.path, 0o700)?;
                continue;
            }
            if let Some(end) = entry.path.iter().rposition(|byte| *byte == b'/') {
                target.create_folders(&entry.path[..end], 0o700)?;
            }
            // `Create` refuses to overwrite: a restore never destroys what is there.
            let mut file = target.open_file(&entry.path, OpenMode::Create)?;
            result.bytes += std::io::copy(&mut snapshot::open(&entry.path)?, &mut file)?;
            result.entries += 1;
            file.sync()?;
        }
        Ok(result)
    }
}

/// Streams a response into an entry: no document has to fit into memory.
fn store(document: &str, mut response: Response) -> Result<Finished> {
    let announced: Option<u64> = response.header("content-length").and_then(|length| length.parse().ok());
    let mut entry = entries::create_with_digest(document, &Metadata::file(), Algorithm::Sha256)?;
    while let Some(bytes) = response.read_bytes(BEST_TRANSFER)? {
        entry.write_bytes(&bytes)?;
    }
    let finished = entry.finish()?;
    match announced {
        Some(length) if length != finished.size => Err(Error::protocol(format!(
            "{document} was announced with {length} bytes and came with {}",
            finished.size
        ))),
        _ => Ok(finished),
    }
}

bulkhead_sdk::export_source!(HttpSource);
