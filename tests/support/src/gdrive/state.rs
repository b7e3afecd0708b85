//! What a Drive holds: [`State`], and the server over it: [`Drive`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use md5::{Digest as _, Md5};
use sha2::Sha256;

use super::oauth::Tokens;
use super::serve::Fault;
use super::uploads::Session;
use super::{FOLDER, routes};
use crate::couchdb::{Answer, Request};

/// The word that stands for the root of My Drive.
const ROOT: &str = "root";

/// What is in a file, with its digests.
pub struct Content {
    /// All of it.
    pub bytes: Vec<u8>,
    /// In hexadecimal digits.
    pub md5: String,
    /// In hexadecimal digits.
    pub sha256: String,
}

impl Content {
    /// Of these bytes.
    #[must_use]
    pub fn of(bytes: Vec<u8>) -> Arc<Self> {
        let (md5, sha256) = (hex::encode(Md5::digest(&bytes)), hex::encode(Sha256::digest(&bytes)));
        Arc::new(Self { bytes, md5, sha256 })
    }
}

impl std::fmt::Debug for Content {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Content({} bytes)", self.bytes.len())
    }
}

/// A file or folder.
#[derive(Debug, Clone)]
pub struct File {
    /// What it is known by.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Its kind.
    pub mime_type: String,
    /// The folder it is in: one, or none for a root.
    pub parents: Vec<String>,
    /// What is in it; `None` for a folder.
    pub content: Option<Arc<Content>>,
    /// Whether it was thrown away by itself.
    pub trashed: bool,
    /// The shared drive that it is in.
    pub drive: Option<String>,
    /// RFC 3339.
    pub created: String,
    /// RFC 3339.
    pub modified: String,
    /// Private to the application that set them.
    pub app_properties: BTreeMap<String, String>,
    /// Whether Drive takes it for malware.
    pub is_abusive: bool,
}

/// What a Drive holds.
#[derive(Debug)]
pub struct State {
    pub(super) files: BTreeMap<String, File>,
    pub(super) sessions: BTreeMap<String, Session>,
    /// Ids that were given out for files that clients make.
    pub(super) reserved: BTreeSet<String>,
    pub(super) tokens: Tokens,
    root: String,
    counter: u64,
    /// Bytes that My Drive takes.
    pub quota: Option<u64>,
    /// Files of a page, at most, whatever is asked for.
    pub page: usize,
    /// Whether searches in several folders at once find nothing but in the first of them, without a word, as Drive's sometimes do.
    pub overlooks: bool,
    /// Whether permanent deletion is for others.
    pub only_trashes: bool,
}

impl State {
    fn new() -> Self {
        let root = "0AA0000000000000000".to_owned();
        let mut state = Self {
            files: BTreeMap::new(),
            sessions: BTreeMap::new(),
            reserved: BTreeSet::new(),
            tokens: Tokens::default(),
            root: root.clone(),
            counter: 0,
            quota: None,
            page: 1000,
            overlooks: false,
            only_trashes: false,
        };
        let my_drive = File {
            name: "My Drive".to_owned(),
            ..state.blank(root, None)
        };
        state.insert(my_drive);
        state
    }

    /// A folder without name and place.
    fn blank(&mut self, id: String, drive: Option<String>) -> File {
        let now = self.now();
        File {
            id,
            name: String::new(),
            mime_type: FOLDER.to_owned(),
            parents: Vec::new(),
            content: None,
            trashed: false,
            drive,
            created: now.clone(),
            modified: now,
            app_properties: BTreeMap::new(),
            is_abusive: false,
        }
    }

    /// A millisecond later each time that it is asked for: what is made first is the older.
    pub(super) fn now(&mut self) -> String {
        self.counter += 1;
        let (seconds, milliseconds) = (self.counter / 1000, self.counter % 1000);
        format!(
            "2026-01-{:02}T{:02}:{:02}:{:02}.{milliseconds:03}Z",
            1 + seconds / 86_400 % 28,
            seconds / 3600 % 24,
            seconds / 60 % 60,
            seconds % 60
        )
    }

    /// A new id, of the form and the length that Drive's have.
    pub(super) fn new_id(&mut self) -> String {
        self.counter += 1;
        let digest = hex::encode(Sha256::digest(self.counter.to_string()));
        format!("1{}-_", &digest[..30])
    }

    pub(super) fn insert(&mut self, file: File) {
        self.files.insert(file.id.clone(), file);
    }

    /// The id that is meant: `root` is a word for one.
    #[must_use]
    pub fn resolve(&self, id: &str) -> String {
        if id == ROOT { self.root.clone() } else { id.to_owned() }
    }

    /// All files and folders, the trash included.
    pub fn files(&self) -> impl Iterator<Item = &File> {
        self.files.values()
    }

    /// Removes a file for good, and all below it.
    pub fn remove(&mut self, id: &str) {
        self.files.remove(id);
        let is_below = |file: &&File| file.parents.iter().any(|parent| parent == id);
        let below: Vec<String> = self.files.values().filter(is_below).map(|file| file.id.clone()).collect();
        below.iter().for_each(|id| self.remove(id));
    }

    /// A file by its id.
    #[must_use]
    pub fn file(&self, id: &str) -> Option<&File> {
        self.files.get(&self.resolve(id))
    }

    /// A file by its id.
    pub fn file_mut(&mut self, id: &str) -> Option<&mut File> {
        let id = self.resolve(id);
        self.files.get_mut(&id)
    }

    /// Whether it, or a folder above it, was thrown away.
    #[must_use]
    pub fn is_trashed(&self, file: &File) -> bool {
        file.trashed
            || file
                .parents
                .iter()
                .filter_map(|id| self.files.get(id))
                .any(|parent| self.is_trashed(parent))
    }

    /// Bytes of all files in My Drive, the trash included.
    #[must_use]
    pub fn usage(&self) -> u64 {
        let own = self.files.values().filter(|file| file.drive.is_none());
        own.filter_map(|file| file.content.as_ref())
            .map(|content| content.bytes.len() as u64)
            .sum()
    }

    /// Makes a shared drive; its id is that of its root.
    pub fn add_shared_drive(&mut self, name: &str) -> String {
        let id = format!("0A{}PVA", &self.new_id()[1..15]);
        let file = File {
            name: name.to_owned(),
            ..self.blank(id.clone(), Some(id.clone()))
        };
        self.insert(file);
        id
    }

    /// Makes a folder in another one (`root` for My Drive); its id.
    pub fn add_folder(&mut self, parent: &str, name: &str) -> String {
        self.add(parent, name, FOLDER, None)
    }

    /// Makes a file in a folder; its id.
    pub fn add_file(&mut self, parent: &str, name: &str, content: &[u8]) -> String {
        self.add(parent, name, "application/octet-stream", Some(Content::of(content.to_vec())))
    }

    fn add(&mut self, parent: &str, name: &str, mime_type: &str, content: Option<Arc<Content>>) -> String {
        let id = self.new_id();
        let parent = self.resolve(parent);
        let drive = self.files.get(&parent).and_then(|parent| parent.drive.clone());
        let file = File {
            name: name.to_owned(),
            mime_type: mime_type.to_owned(),
            parents: vec![parent],
            content,
            ..self.blank(id.clone(), drive)
        };
        self.insert(file);
        id
    }

    /// What is in a folder and not in the trash, in order of names.
    #[must_use]
    pub fn children(&self, folder: &str) -> Vec<&File> {
        let folder = self.resolve(folder);
        let mut children: Vec<&File> = self
            .files
            .values()
            .filter(|file| file.parents.contains(&folder) && !self.is_trashed(file))
            .collect();
        children.sort_by(|a, b| (&a.name, &a.created).cmp(&(&b.name, &b.created)));
        children
    }

    /// All that is at a path below a folder and not in the trash.
    #[must_use]
    pub fn at(&self, folder: &str, path: &str) -> Vec<&File> {
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        let here = self.children(folder).into_iter().filter(|file| file.name == first);
        if rest.is_empty() {
            return here.collect();
        }
        here.flat_map(|file| self.at(&file.id, rest)).collect()
    }

    /// Files with content below a folder, and not in the trash.
    #[must_use]
    pub fn objects(&self, folder: &str) -> usize {
        let children = self.children(folder);
        children
            .iter()
            .map(|file| if file.content.is_some() { 1 } else { self.objects(&file.id) })
            .sum()
    }

    /// All uploads that are under way are forgotten.
    pub fn forget_uploads(&mut self) {
        self.sessions.clear();
    }

    /// Access tokens that were given out are not good any more.
    pub fn expire_tokens(&mut self) {
        self.tokens.expire();
    }
}

/// Says what happens to a request.
type Choice = Box<dyn FnMut(&Request, &mut State) -> Option<Fault> + Send>;

struct Shared {
    state: Mutex<State>,
    choose: Mutex<Option<Choice>>,
    requests: Mutex<Vec<String>>,
    latency: Mutex<Duration>,
}

/// A server that answers as Google Drive does.
#[derive(Clone)]
pub struct Drive(Arc<Shared>);

impl std::fmt::Debug for Drive {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Drive")
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for Drive {
    fn default() -> Self {
        Self::new()
    }
}

impl Drive {
    /// With an empty My Drive, for everybody, until somebody is [known](Drive::add_user).
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State::new()),
            choose: Mutex::default(),
            requests: Mutex::default(),
            latency: Mutex::default(),
        }))
    }

    /// What it holds.
    pub fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }

    /// From now on, `choose` says what happens to a request.
    pub fn inject(&self, choose: impl FnMut(&Request, &mut State) -> Option<Fault> + Send + 'static) {
        *lock(&self.0.choose) = Some(Box::new(choose));
    }

    /// The next `count` requests that contain `what` ("PUT /upload") fail so, and no others.
    pub fn inject_times(&self, what: &str, count: usize, fault: Fault) {
        let (what, mut left) = (what.to_owned(), count);
        self.inject(move |request, _| {
            if left == 0 || !format!("{} {}", request.method, request.path).contains(&what) {
                return None;
            }
            left -= 1;
            Some(fault.clone())
        });
    }

    /// Nothing goes wrong any more.
    pub fn behave(&self) {
        *lock(&self.0.choose) = None;
    }

    /// Lets each answer wait.
    pub fn set_latency(&self, latency: Duration) {
        *lock(&self.0.latency) = latency;
    }

    pub(super) fn latency(&self) -> Duration {
        *lock(&self.0.latency)
    }

    /// "GET /drive/v3/files?…" and so on, since the last call.
    pub fn requests(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.0.requests))
    }

    /// What is to happen to a request, whose body may not have come yet.
    pub(super) fn choose(&self, request: &Request) -> Option<Fault> {
        lock(&self.0.requests).push(format!("{} {}", request.method, request.path));
        let mut state = self.state();
        lock(&self.0.choose).as_mut().and_then(|choose| choose(request, &mut state))
    }

    /// The answer of a server with which nothing goes wrong.
    pub(super) fn route(&self, request: &Request) -> Answer {
        routes::answer(&mut self.state(), request)
    }

    /// The answer to a request that has come whole. A connection that would break off answers 503, which means as much to a client.
    #[must_use]
    pub fn answer(&self, request: &Request) -> Answer {
        match self.choose(request) {
            None => self.route(request),
            Some(fault) => fault.carry_out(self, request),
        }
    }
}
