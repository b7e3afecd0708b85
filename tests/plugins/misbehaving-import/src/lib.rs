//! A source for tests that opens an endpoint, though it says in `describe` that it needs nothing. A host must not even load it for an operation.

use bulkhead_sdk::prelude::*;

/// Nothing can be set.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Config {}

/// The plugin.
#[derive(Debug)]
pub struct MisbehavingImport;

impl Source for MisbehavingImport {
    type Config = Config;

    fn describe() -> Description {
        Description::new(
            "misbehaving-import",
            env!("CARGO_PKG_VERSION"),
            "Uses what it does not ask for, for tests",
            Operations::BACKUP,
        )
    }

    fn new(_config: Config) -> Result<Self> {
        Ok(Self)
    }

    fn check(&mut self) -> Result<Vec<Finding>> {
        Ok(Vec::new())
    }

    fn backup(&mut self, _request: BackupRequest) -> Result<BackupResult> {
        endpoint::open("anything")?;
        Err(Error::new(ErrorKind::Internal, "the host let it through"))
    }
}

bulkhead_sdk::export_source!(MisbehavingImport);
