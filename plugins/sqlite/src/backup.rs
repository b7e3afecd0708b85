//! A run: [`backup`] holds one database after the other still, stores its image, and lets SQLite say what is in it.

use std::rc::Rc;

use bulkhead_sdk::{
    Result, ResultExt,
    directory::{Folder, Stat},
    entries,
    metadata::{Metadata, NodeType},
    source::BackupResult,
    types::{Finding, Proof},
};

use bulkhead_sqlite_image::{Check, Contents, Engine, Image, Mode, Pages, Verdict};

use crate::{
    config::Config,
    find::{self, Wanted},
    inventory::{self, Inventory, Record},
};

/// Backs up every database that the config means.
pub(crate) fn backup(config: &Config, wanted: &Wanted) -> Result<BackupResult> {
    let mut run = Run {
        config,
        proof: Proof::default(),
        inventory: Inventory::default(),
        findings: Vec::new(),
    };
    for found in find::find(wanted)? {
        run.findings.extend(found.link_finding());
        for path in &found.paths {
            let entry = [found.grant.as_bytes(), b"/", path].concat();
            let name = inventory::name(&entry);
            let record = run
                .database(&found.folder, path, &entry, &name)
                .context(|| format!("backing up {name} failed"))?;
            run.inventory.databases.insert(name, record);
        }
    }
    run.finish()
}

struct Run<'c> {
    config: &'c Config,
    proof: Proof,
    inventory: Inventory,
    findings: Vec<Finding>,
}

impl Run<'_> {
    fn database(&mut self, folder: &Folder, path: &[u8], entry: &[u8], name: &str) -> Result<Record> {
        let image = Rc::new(Image::hold(folder, path, self.config.busy_timeout.0)?);
        self.store(&image, entry)?;
        let (integrity, contents) = self.judge(&image, name)?;
        image.confirm(folder, path)?;
        Ok(Record {
            path: std::str::from_utf8(entry).is_err().then(|| entry.to_vec()),
            mode: match image.mode {
                None => "empty",
                Some(Mode::Rollback) => "rollback",
                Some(Mode::Wal) => "wal",
            }
            .to_owned(),
            bytes: image.size(),
            second_pages: image.second_pages(),
            integrity,
            contents,
        })
    }

    fn store(&mut self, image: &Image, entry: &[u8]) -> Result<()> {
        let mut writer = entries::create(entry, &metadata(&image.stat))?;
        image.store(&mut writer, self.proof.bytes)?;
        self.proof.count(&writer.finish()?);
        Ok(())
    }

    /// Lets SQLite read the same image, while nobody can change it.
    fn judge(&mut self, image: &Rc<Image>, name: &str) -> Result<(String, Option<Contents>)> {
        if self.config.check == Check::None {
            return Ok(("not checked".to_owned(), None));
        }
        let engine = Engine::open(Rc::clone(image) as Rc<dyn Pages>)?;
        let integrity = match engine.check(self.config.check)? {
            Verdict::Whole => "ok".to_owned(),
            Verdict::Unknown(reason) => {
                let message = format!("SQLite could not check {name} by itself: {reason}");
                let hint = "its schema needs what only its program brings (a collation, a function); let that program check it";
                self.findings.push(Finding::warning("integrity-unknown", message).with_hint(hint));
                return Ok((format!("unknown: {reason}"), None));
            }
        };
        Ok((integrity, Some(engine.contents()?)))
    }

    fn finish(mut self) -> Result<BackupResult> {
        let databases = &self.inventory.databases;
        let contents = || databases.values().filter_map(|record| record.contents.as_ref());
        let rows: i64 = contents().flat_map(|contents| contents.rows.values()).sum();
        self.proof.fact("databases", databases.len());
        self.proof
            .fact("tables", contents().map(|contents| contents.rows.len()).sum::<usize>());
        self.proof.fact("rows", rows);
        self.proof
            .fact("checked", databases.values().filter(|record| record.integrity == "ok").count());
        self.proof.count(&self.inventory.store()?);
        self.proof.complete = true;
        Ok(BackupResult {
            proof: self.proof,
            findings: self.findings,
            ..BackupResult::default()
        })
    }
}

fn metadata(stat: &Stat) -> Metadata {
    Metadata::new(NodeType::File)
        .with_mode(stat.mode)
        .with_owner(stat.uid, stat.gid)
        .with_modified(stat.modified)
}
