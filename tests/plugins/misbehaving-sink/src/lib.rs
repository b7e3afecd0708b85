//! A sink for tests: a plain store in the directory `root`, and on demand every way in which a sink can go wrong.
//!
//! `behaviour` begins with the call that finds `after` objects below `data/` in the store, whichever instance of the pool makes it: so a test chooses
//! how much of a run goes well.

mod behaviour;
mod store;

use bulkhead_sdk::prelude::*;

pub use behaviour::Behaviour;
use store::Store;

/// What a test writes under `config`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Config {
    /// What to do.
    pub behaviour: Behaviour,
    /// How many objects below `data/` are stored before that begins.
    pub after: u64,
}

/// The plugin.
#[derive(Debug)]
pub struct MisbehavingSink(Config);

impl MisbehavingSink {
    /// The behaviour that is due now.
    fn due(&self, store: &Store) -> Result<Behaviour> {
        let begun = self.0.after == 0 || store.list("data/")?.len() as u64 >= self.0.after;
        Ok(if begun { self.0.behaviour } else { Behaviour::Good })
    }
}

impl Sink for MisbehavingSink {
    type Config = Config;

    fn describe() -> Description {
        let all = Operations::CHECK | Operations::BACKUP | Operations::RESTORE | Operations::VERIFY;
        Description::new(
            "misbehaving-sink",
            env!("CARGO_PKG_VERSION"),
            "Goes wrong in every way, for tests",
            all,
        )
        .directory("root", "Where the objects are", Access::ReadWrite, all)
    }

    fn new(config: Config) -> Result<Self> {
        Ok(Self(config))
    }

    fn check(&mut self) -> Result<Vec<Finding>> {
        let store = Store::open()?;
        match self.due(&store)? {
            Behaviour::Error => Err(behaviour::refused("check")),
            Behaviour::StorageFull => Ok(vec![Finding::error("storage-full", "there is no room left").with_hint("make room")]),
            _ => Ok(Vec::new()),
        }
    }

    fn traits(&mut self) -> Result<Traits> {
        Ok(Traits {
            max_object_size: 256 << 20,
            concurrency: 4,
            conditional_put: true,
            object_lock: false,
        })
    }

    fn initialize(&mut self) -> Result<()> {
        Store::open().map(drop)
    }

    fn put(&mut self, key: &str, body: &mut ObjectReader<'_>, options: PutOptions) -> Result<()> {
        let store = Store::open()?;
        match self.due(&store)? {
            Behaviour::Lose => Ok(()),
            Behaviour::Truncate => store.put(key, body, options.if_absent, 1),
            behaviour => {
                behaviour.act("put")?;
                store.put(key, body, options.if_absent, 0)
            }
        }
    }

    fn get(&mut self, key: &str, range: Option<ByteRange>, into: &mut ObjectWriter<'_>) -> Result<()> {
        let store = Store::open()?;
        let behaviour = self.due(&store)?;
        let mut content = store.get(key, range)?;
        match behaviour {
            Behaviour::Corrupt => content.iter_mut().take(1).for_each(|byte| *byte ^= 1),
            Behaviour::ReadShort => content.truncate(content.len() / 2),
            Behaviour::ReadTooMuch => content.extend_from_slice(&[0; 4096]),
            Behaviour::StorageFull => {}
            other => other.act("get")?,
        }
        into.write_bytes(&content)
    }

    fn list(&mut self, prefix: &str, page: Option<&str>) -> Result<Page> {
        let store = Store::open()?;
        let mut objects = store.list(prefix)?;
        match self.due(&store)? {
            Behaviour::ListShort => _ = objects.pop(),
            Behaviour::ListForever => {
                let number: u64 = page.and_then(|page| page.parse().ok()).unwrap_or(0);
                let next = Some((number + 1).to_string());
                return Ok(Page { objects, next });
            }
            Behaviour::ListSamePage => {
                let next = Some("once more".to_owned());
                return Ok(Page { objects, next });
            }
            Behaviour::Error => return Err(behaviour::refused("list")),
            _ => {}
        }
        Ok(Page { objects, next: None })
    }

    fn stat(&mut self, key: &str) -> Result<Option<Object>> {
        Ok(Store::open()?.list(key)?.into_iter().find(|object| object.key == key))
    }

    fn delete(&mut self, key: &str) -> Result<()> {
        let store = Store::open()?;
        match self.due(&store)? {
            Behaviour::Error => Err(behaviour::refused("delete")),
            _ => store.delete(key),
        }
    }
}

bulkhead_sdk::export_sink!(MisbehavingSink);
