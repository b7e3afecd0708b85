//! Taking a backup: [`backup`] finds the servers to read, [`Reader`] reads one of them.

use std::collections::{BTreeMap, BTreeSet};

use bulkhead_sdk::{
    Error, ErrorKind, Result, ResultExt, entries,
    metadata::Metadata,
    source::BackupResult,
    types::{Finding, Proof},
};

use crate::{
    cluster::{self, Shard, Topology},
    comparison::{self, Counted as ServerCount},
    config::{Config, Mode},
    connection::{Connection, Login},
    counts::{Counted, Counts},
    manifest::{Dataset, Manifest},
    scan, sentinel,
    server::Info,
    sidecar,
    synchronization::{Refusal, Synchronization},
};

/// The dataset's name.
pub(crate) const DUMP: &str = "dump.rdb";

/// Databases whose counts become facts of the proof; the manifest has all.
const MAX_FACTS: usize = 32;

/// Backs up the server, or the cluster that it belongs to.
pub(crate) fn backup(config: &Config) -> Result<BackupResult> {
    let login = Login::server(config.user.as_deref());
    let (address, mut seed, place, info) = config.attempts.run(|| {
        let (address, mut seed, place) = sentinel::open(config, login)?;
        let info = ready(&mut seed, &place, config)?;
        Ok((address, seed, place, info))
    })?;
    let mut reader = Reader {
        config,
        login,
        proof: Proof::default(),
        findings: Vec::new(),
        datasets: Vec::new(),
    };
    if info.is_cluster() {
        reader.cluster(&mut seed, &place)?;
    } else {
        reader.dataset(&mut seed, &info, &Place::alone(address, place))?;
    }
    reader.finish()
}

/// What the server says of itself; an error where it cannot be backed up now.
pub(crate) fn ready(session: &mut Connection, place: &str, config: &Config) -> Result<Info> {
    let info = Info::ask(session)?;
    info.loaded(place)?;
    if !info.is_linked() {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("{place} is a replica that has lost its master: what it has is older than anybody knows"),
        )
        .with_retryable(true)
        .with_hint("INFO replication there says why; or back up another one"));
    }
    if let Some(silence) = info.silence().filter(|silence| *silence > config.max_silence()) {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("{place} is a replica that lags: it has not heard from its master for {silence}"),
        )
        .with_retryable(true)
        .with_setting("max-silence")
        .with_hint("look at the network between them and at the master; back up another one, or allow more time with `max-silence`"));
    }
    Ok(info)
}

/// Where a dataset is read, and where it goes.
#[derive(Debug)]
struct Place {
    /// To dial; none for the endpoint itself.
    dial: Option<String>,
    /// For people.
    address: String,
    /// Of its entries, with a "/" at the end where there is one.
    folder: String,
    /// Of a cluster.
    shard: Option<Shard>,
}

impl Place {
    fn alone(dial: Option<String>, address: String) -> Self {
        Self {
            dial,
            address,
            folder: String::new(),
            shard: None,
        }
    }
}

/// A backup in progress.
struct Reader<'a> {
    config: &'a Config,
    login: Login<'a>,
    proof: Proof,
    findings: Vec<Finding>,
    datasets: Vec<Dataset>,
}

impl Reader<'_> {
    /// Every shard, one after the other; the slots must be covered before, and be where they were after.
    fn cluster(&mut self, seed: &mut Connection, seed_address: &str) -> Result<()> {
        let (before, shards) = self.config.attempts.run(|| {
            let topology = Topology::ask(seed, seed_address)?;
            let shards = topology.shards(self.config.prefer)?;
            Ok((topology, shards))
        })?;
        let mut run_ids = BTreeSet::new();
        for shard in shards {
            let (mut control, address, info) = self.config.attempts.run(|| {
                let (mut control, address) = self.login.open(Some(&shard.address))?;
                let info = ready(&mut control, &address, self.config)?;
                let theirs = Topology::ask(&mut control, &address)?;
                before.agrees(&theirs, &address)?;
                theirs.is_of(&shard, &address)?;
                Ok((control, address, info))
            })?;
            if info.get("run_id").is_some_and(|id| !run_ids.insert(id.to_owned())) {
                return Err(Error::new(
                    ErrorKind::Conflict,
                    format!("{address} is a server that was read as another shard already"),
                )
                .with_retryable(true)
                .with_hint("CLUSTER NODES on it says how many nodes it believes itself to be"));
            }
            let place = Place {
                dial: Some(shard.address.clone()),
                address,
                folder: format!("shards/{}/", shard.id),
                shard: Some(shard),
            };
            let folder = place.folder.clone();
            self.dataset(&mut control, &info, &place)
                .context(|| format!("backing up the shard in {folder} failed"))?;
        }
        before.unchanged(&Topology::ask(seed, seed_address)?)?;
        before.store(&mut self.proof)
    }

    /// One server's dataset, and what an RDB leaves out.
    fn dataset(&mut self, control: &mut Connection, info: &Info, place: &Place) -> Result<()> {
        let read = match self.config.mode {
            Mode::Scan => None,
            Mode::Auto | Mode::Replica => self.as_replica(control, info, place)?,
        };
        let read = match read {
            Some(read) => read,
            None => self.by_scan(control, info, place)?,
        };
        self.findings.extend(sidecar::acl(control, &place.folder, &mut self.proof)?);
        self.findings
            .extend(sidecar::configuration(control, &place.folder, &mut self.proof)?);
        self.record(info, place, &read);
        Ok(())
    }

    /// A further connection to the server that said `info`; an address may lead to several.
    fn another(&self, info: &Info, place: &Place) -> Result<Connection> {
        let (mut session, address) = self.login.open(place.dial.as_deref())?;
        if Info::ask(&mut session)?.get("run_id") != info.get("run_id") {
            return Err(Error::new(
                ErrorKind::Conflict,
                format!(
                    "a second connection, to {address}, reached another server than the first one, to {}",
                    place.address
                ),
            )
            .with_retryable(true)
            .with_hint(
                "the server was restarted, or its address leads to several: name one server in `endpoint.server`, not a load balancer",
            ));
        }
        if let Some(shard) = &place.shard {
            Topology::ask(&mut session, &address)?.is_of(shard, &address)?;
        }
        Ok(session)
    }

    /// By the replication protocol; `None` where the server does not offer it and may be read otherwise.
    fn as_replica(&mut self, control: &mut Connection, info: &Info, place: &Place) -> Result<Option<Read>> {
        let session = self.another(info, place)?;
        let begun = match Synchronization::begin(session, info) {
            Ok(begun) => begun,
            Err(refusal) => return self.refused(refusal),
        };
        // At once: the fewer commands between the fork and this, the closer the comparison.
        let counted = Info::ask(control)?;
        let (replication_id, forked) = (begun.replication_id.clone(), begun.offset);
        let transfer = match begun.transfer() {
            Ok(transfer) => transfer,
            Err(refusal) => return self.refused(refusal),
        };
        let mut entry = entries::create(format!("{}{DUMP}", place.folder), &Metadata::file())?;
        let rdb = transfer.receive(info.number("used_memory"), |bytes| entry.write_bytes(bytes))?;
        self.proof.count(&entry.finish()?);
        let compared = match (forked, counted.offset()) {
            (Some(forked), Some(offset)) => {
                let server = ServerCount {
                    keys: counted.keyspace(),
                    offset,
                };
                comparison::compare(&rdb.counts.keys, &server, forked)?.to_string()
            }
            _ => {
                self.findings.push(not_compared());
                "not compared".to_owned()
            }
        };
        Ok(Some(Read {
            how: "replica",
            rdb,
            replication_id,
            offset: forked,
            compared,
        }))
    }

    fn refused(&self, refusal: Refusal) -> Result<Option<Read>> {
        match refusal {
            Refusal::Failed(error) => Err(error),
            Refusal::NotOffered(_) if self.config.mode == Mode::Auto => Ok(None),
            Refusal::NotOffered(error) => Err(Error::unsupported("the server does not offer replication to clients")
                .with_cause(error)
                .with_setting("mode")
                .with_hint("managed services hide PSYNC: read key by key with `mode = \"scan\"` (or `\"auto\"`)")),
        }
    }

    /// Key by key.
    fn by_scan(&mut self, control: &mut Connection, info: &Info, place: &Place) -> Result<Read> {
        let mut session = self.another(info, place)?;
        let before = Info::ask(control)?;
        let mut entry = entries::create(format!("{}{DUMP}", place.folder), &Metadata::file())?;
        let scanned = scan::scan(&mut session, info, scan::KEYS_A_PASS, &mut |bytes| entry.write_bytes(bytes))?;
        self.proof.count(&entry.finish()?);
        self.findings.extend(scanned.findings);
        let compared = match scan::compare(&scanned.rdb.counts.keys, &before, &Info::ask(control)?)? {
            scan::Comparison::Agree(agreement) => agreement.to_string(),
            scan::Comparison::Hidden => {
                self.findings.push(hidden_expiries());
                "not compared".to_owned()
            }
            scan::Comparison::Untold => {
                self.findings.push(not_compared());
                "not compared".to_owned()
            }
        };
        Ok(Read {
            how: "scan",
            rdb: scanned.rdb,
            replication_id: None,
            offset: None,
            compared,
        })
    }

    fn record(&mut self, info: &Info, place: &Place, read: &Read) {
        let counts = &read.rdb.counts;
        if read.rdb.checksum() == 0 {
            self.findings.push(checksum_off());
        }
        self.findings.extend(peculiarities(&read.rdb.counts, &place.folder));
        self.datasets.push(Dataset {
            path: format!("{}{DUMP}", place.folder),
            read: read.how.to_owned(),
            address: place.address.clone(),
            server_version: info.version(),
            role: info.role().to_string(),
            run_id: info.get("run_id").unwrap_or_default().to_owned(),
            replication_id: read.replication_id.clone(),
            replication_offset: read.offset,
            slots: place.shard.as_ref().map(|shard| shard.slots.clone()),
            rdb_version: read.rdb.version(),
            checksum: format!("{:016x}", read.rdb.checksum()),
            bytes: read.rdb.position(),
            keys: counts.keys.clone(),
            types: counts.types().iter().map(|(name, count)| ((*name).to_owned(), *count)).collect(),
            expires: counts.expires,
            functions: counts.functions,
            compared: read.compared.clone(),
        });
    }

    /// The whole, proved.
    fn finish(mut self) -> Result<BackupResult> {
        let keys: u64 = self.datasets.iter().flat_map(|dataset| dataset.keys.values()).sum();
        if keys == 0 && !self.config.allow_empty {
            return Err(Error::new(ErrorKind::Conflict, "the server has no keys at all")
                .with_setting("allow-empty")
                .with_hint("check that it is the right server (`endpoint.server`); `allow-empty = true` believes it"));
        }
        let manifest = Manifest {
            version: 1,
            datasets: self.datasets,
        };
        manifest.store(&mut self.proof)?;
        facts(&manifest.datasets, keys, &mut self.proof);
        self.proof.complete = true;
        Ok(BackupResult {
            proof: self.proof,
            checkpoint: None,
            findings: self.findings,
        })
    }
}

/// A dataset that was read.
struct Read {
    how: &'static str,
    rdb: Counted,
    replication_id: Option<String>,
    offset: Option<u64>,
    compared: String,
}

/// Statements about what was read.
fn facts(datasets: &[Dataset], keys: u64, proof: &mut Proof) {
    if let [dataset] = datasets {
        proof.fact("server-version", &dataset.server_version);
        proof.fact("server-role", &dataset.role);
        proof.fact("run-id", &dataset.run_id);
        if let (Some(id), Some(offset)) = (&dataset.replication_id, dataset.replication_offset) {
            proof.fact("replication-id", id);
            proof.fact("replication-offset", offset);
        }
        proof.fact("rdb-version", &dataset.rdb_version);
        proof.fact("rdb-checksum", &dataset.checksum);
        proof.fact("read-as", &dataset.read);
        proof.fact("counts-compared", &dataset.compared);
    } else {
        proof.fact("shards", datasets.len());
        proof.fact("slots", cluster::SLOTS);
        let versions: BTreeMap<&str, ()> = datasets.iter().map(|dataset| (dataset.server_version.as_str(), ())).collect();
        proof.fact("server-version", versions.into_keys().collect::<Vec<_>>().join(", "));
    }
    proof.fact("keys", keys);
    let mut by_database = BTreeMap::<u64, u64>::new();
    for (database, count) in datasets.iter().flat_map(|dataset| &dataset.keys) {
        *by_database.entry(*database).or_default() += count;
    }
    for (database, count) in by_database.into_iter().take(MAX_FACTS) {
        proof.fact(format!("keys-db{database}"), count);
    }
    proof.fact("functions", datasets.iter().map(|dataset| dataset.functions).sum::<u64>());
}

fn not_compared() -> Finding {
    Finding::warning(
        "counts-not-compared",
        "the server does not tell what was written meanwhile: its key counts could not be compared with what was read",
    )
}

/// A replica counts keys that have expired until its master removes them, and hides them from everybody else.
fn hidden_expiries() -> Finding {
    Finding::warning(
        "counts-not-compared",
        "a replica counts keys that have expired and does not list them: its key counts could not be compared with what was read",
    )
    .with_hint("`mode = \"replica\"`, or the master (`prefer`), gives counts that can be compared")
}

/// Keys that do not come back everywhere.
fn peculiarities(counts: &Counts, folder: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if counts.long_names > 0 {
        let message = format!(
            "{} keys of {folder}{DUMP} have names of more than {} bytes: they are in the snapshot, but `browse` does not list them, and a restore into a live \
             server does not bring them back",
            counts.long_names,
            bulkhead_rdb::KEY_LIMIT
        );
        findings.push(Finding::warning("long-names", message).with_hint("restore the whole `dump.rdb` into a directory to have them back"));
    }
    if counts.empty > 0 {
        let message = format!(
            "{} keys of {folder}{DUMP} are collections without elements, left by a bug of the server: servers pass over them when they load the file",
            counts.empty
        );
        findings.push(Finding::info("empty-collections", message));
    }
    findings
}

/// No checksum: what changes on the way goes unnoticed into every backup.
pub(crate) fn checksum_off() -> Finding {
    Finding::warning(
        "checksum-off",
        "the server writes its RDB without a checksum: what changes a byte on the way here goes unnoticed",
    )
    .with_hint("set `rdbchecksum yes` in redis.conf and restart the server")
}
