//! Directories: nothing leads out, nothing is changed without the right to.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;

use bulkhead_model::{EntryPath, ExtendedAttribute, Fault, FaultKind, Timestamp};
use bulkhead_runtime::capabilities::directory::{Attributes, Directories, FileType, Folder, LockKind, Node, OpenMode, SpecialFile};
use bulkhead_runtime::capabilities::{Budget, Granted};
use bulkhead_runtime::{Access, DirectoryGrant, Limits, PluginKind};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

fn path(path: &str) -> EntryPath {
    EntryPath::new(path).unwrap()
}

async fn open(at: &Path, access: Access) -> Folder {
    open_within(at, access, Limits::default_for(PluginKind::Source)).await
}

async fn open_within(at: &Path, access: Access, limits: Limits) -> Folder {
    let grants = BTreeMap::from([(
        "root".to_owned(),
        DirectoryGrant {
            path: at.to_owned(),
            access,
        },
    )]);
    let granted = Granted::new("pipeline.test", "directory", "{ … }", grants);
    Directories::new(granted, Arc::new(Budget::new(limits))).open("root").await.unwrap()
}

fn kind<T>(result: Result<T, Fault>) -> Option<FaultKind> {
    result.err().map(|fault| fault.kind)
}

/// A granted folder beside a secret one, with links that lead out of it.
async fn prison() -> (tempfile::TempDir, Folder) {
    let top = tempfile::tempdir().unwrap();
    fs::create_dir_all(top.path().join("granted/inner")).unwrap();
    fs::write(top.path().join("granted/inner/file"), "inside").unwrap();
    fs::create_dir(top.path().join("outside")).unwrap();
    fs::write(top.path().join("outside/secret"), "secret").unwrap();
    let granted = top.path().join("granted");
    symlink("../outside", granted.join("relative")).unwrap();
    symlink(top.path().join("outside"), granted.join("absolute")).unwrap();
    symlink("../../outside/secret", granted.join("inner/secret")).unwrap();
    symlink("inner", granted.join("harmless")).unwrap();
    let folder = open(&granted, Access::ReadWrite).await;
    (top, folder)
}

#[tokio::test]
async fn nothing_leads_out() {
    let (top, folder) = prison().await;
    for way in ["relative/secret", "absolute/secret", "inner/secret"] {
        assert!(folder.open_file(path(way), OpenMode::Read).await.is_err(), "{way}");
        assert!(folder.open_file(path(way), OpenMode::Replace).await.is_err(), "{way}");
    }
    for way in ["relative", "absolute"] {
        assert!(folder.list(path(way)).await.is_err(), "{way}");
        assert!(folder.sync(path(way)).await.is_err(), "{way}");
        let below = path(&format!("{way}/new"));
        assert!(folder.open_file(below.clone(), OpenMode::Create).await.is_err(), "{way}");
        assert!(folder.create_folder(below.clone(), 0o700).await.is_err(), "{way}");
        assert!(folder.create_symlink(below.clone(), b"x".to_vec()).await.is_err(), "{way}");
        assert!(folder.rename(path("inner/file"), below.clone()).await.is_err(), "{way}");
        assert!(folder.create_hard_link(path("inner/file"), below).await.is_err(), "{way}");
        let secret = path(&format!("{way}/secret"));
        assert!(folder.remove_file(secret.clone()).await.is_err(), "{way}");
        assert!(folder.stat(secret.clone()).await.is_err(), "{way}");
        assert!(folder.create_hard_link(secret.clone(), path("stolen")).await.is_err(), "{way}");
        assert!(
            folder
                .set_attributes(
                    secret,
                    Attributes {
                        mode: Some(0o777),
                        ..Attributes::default()
                    }
                )
                .await
                .is_err(),
            "{way}"
        );
    }
    assert_eq!(fs::read(top.path().join("outside/secret")).unwrap(), b"secret");
    assert_eq!(fs::read_dir(top.path().join("outside")).unwrap().count(), 1);
}

#[tokio::test]
async fn many_names_are_read_in_one_call_and_lead_nowhere_else() {
    let (top, folder) = prison().await;
    let granted = top.path().join("granted");
    fs::write(granted.join("small"), "small").unwrap();
    fs::write(granted.join("large"), vec![7; 2000]).unwrap();
    fs::write(granted.join("medium"), vec![7; 998]).unwrap();
    fs::write(granted.join("empty"), "").unwrap();
    let names = |names: &[&str]| names.iter().map(|name| name.as_bytes().to_vec()).collect::<Vec<_>>();
    let all = names(&["absolute", "empty", "inner", "large", "missing", "relative", "small"]);

    let stats = folder.stat_names(path(""), all.clone()).await.unwrap();
    assert_eq!(stats.len(), all.len());
    for (name, stat) in all.iter().zip(stats) {
        assert_eq!(stat, folder.stat(EntryPath::new(name.clone()).unwrap()).await);
    }

    let nodes = folder.read_names(path(""), all.clone(), 1000).await.unwrap();
    let told = |node: &Result<Node, Fault>| match node {
        Ok(node) => (node.target.clone(), node.content.clone(), None),
        Err(fault) => (None, None, Some(fault.kind)),
    };
    let told: Vec<_> = nodes.iter().map(told).collect();
    let outside = top.path().join("outside").to_str().unwrap().as_bytes().to_vec();
    assert_eq!(
        told,
        [
            (Some(outside), None, None),
            (None, Some(Vec::new()), None),
            (None, None, None),
            (None, None, None),
            (None, None, Some(FaultKind::NotFound)),
            (Some(b"../outside".to_vec()), None, None),
            (None, Some(b"small".to_vec()), None),
        ]
    );
    // What has no room any more is left to the next call.
    let nodes = folder
        .read_names(path(""), names(&["small", "medium", "empty"]), 1000)
        .await
        .unwrap();
    assert_eq!(nodes.len(), 1);
    let nodes = folder.read_names(path("harmless"), names(&["file"]), 1000).await.unwrap();
    assert_eq!(nodes[0].as_ref().unwrap().content.as_deref(), Some(&b"inside"[..]));

    for name in ["", ".", "..", "inner/file", "../outside", "relative/secret", "/etc"] {
        assert_eq!(
            kind(folder.stat_names(path(""), names(&[name])).await),
            Some(FaultKind::Internal),
            "{name}"
        );
        assert_eq!(
            kind(folder.read_names(path(""), names(&[name]), 9).await),
            Some(FaultKind::Internal),
            "{name}"
        );
    }
    for way in ["relative", "absolute", "missing", "small"] {
        assert!(folder.stat_names(path(way), names(&["secret"])).await.is_err(), "{way}");
        assert!(folder.read_names(path(way), names(&["secret"]), 9).await.is_err(), "{way}");
    }
}

#[tokio::test]
async fn links_within_are_followed_and_links_themselves_are_not() {
    let (_top, folder) = prison().await;
    let file = folder.open_file(path("harmless/file"), OpenMode::Read).await.unwrap();
    assert_eq!(file.read_at(0, 100).await.unwrap().unwrap(), "inside");
    let stat = folder.stat(path("harmless")).await.unwrap();
    assert_eq!(stat.file_type, FileType::Symlink);
    assert_eq!(folder.read_link(path("relative")).await.unwrap(), b"../outside");
    let mode = Attributes {
        mode: Some(0o777),
        ..Attributes::default()
    };
    assert_eq!(
        kind(folder.set_attributes(path("absolute"), mode).await),
        Some(FaultKind::Unsupported)
    );
    folder.remove_file(path("absolute")).await.unwrap();
}

#[tokio::test]
async fn a_read_only_grant_changes_nothing() {
    let (top, _) = prison().await;
    let folder = open(&top.path().join("granted"), Access::ReadOnly).await;
    let denied = Some(FaultKind::PermissionDenied);
    for mode in [OpenMode::Modify, OpenMode::Create, OpenMode::Replace] {
        assert_eq!(kind(folder.open_file(path("inner/file"), mode).await), denied);
    }
    assert_eq!(kind(folder.create_folder(path("x"), 0o700).await), denied);
    assert_eq!(kind(folder.create_symlink(path("x"), b"y".to_vec()).await), denied);
    assert_eq!(kind(folder.create_hard_link(path("inner/file"), path("x")).await), denied);
    assert_eq!(kind(folder.rename(path("inner/file"), path("x")).await), denied);
    assert_eq!(kind(folder.remove_file(path("inner/file")).await), denied);
    assert_eq!(kind(folder.remove_folder(path("inner")).await), denied);
    assert_eq!(kind(folder.set_attributes(path("inner"), Attributes::default()).await), denied);
    let attribute = ExtendedAttribute {
        name: b"user.x".to_vec(),
        value: b"y".to_vec(),
    };
    assert_eq!(kind(folder.set_extended_attribute(path("inner"), attribute).await), denied);
    let file = folder.open_file(path("inner/file"), OpenMode::Read).await.unwrap();
    assert_eq!(kind(file.write_at(0, "x".into()).await), denied);
    assert_eq!(kind(file.set_size(0).await), denied);
    assert_eq!(kind(file.set_attributes(Attributes::default()).await), denied);
    assert_eq!(fs::read(top.path().join("granted/inner/file")).unwrap(), b"inside");
}

#[tokio::test]
async fn files_are_written_and_read_at_offsets() {
    let top = tempfile::tempdir().unwrap();
    let folder = open(top.path(), Access::ReadWrite).await;
    let file = folder.open_file(path("new"), OpenMode::Create).await.unwrap();
    assert_eq!(fs::metadata(top.path().join("new")).unwrap().mode() & 0o777, 0o600);
    assert_eq!(
        kind(folder.open_file(path("new"), OpenMode::Create).await),
        Some(FaultKind::AlreadyExists)
    );
    file.write_at(4, "data".into()).await.unwrap();
    file.sync().await.unwrap();
    assert_eq!(file.read_at(0, 100).await.unwrap().unwrap(), &b"\0\0\0\0data"[..]);
    assert_eq!(file.read_at(6, 1).await.unwrap().unwrap(), "t");
    assert_eq!(file.read_at(8, 1).await.unwrap(), None);
    file.set_size(5).await.unwrap();
    assert_eq!(file.stat().await.unwrap().size, 5);
    let replaced = folder.open_file(path("new"), OpenMode::Replace).await.unwrap();
    assert_eq!(replaced.stat().await.unwrap().size, 0);
    folder.sync(path("")).await.unwrap();
    assert!(folder.space().await.unwrap().total > 0);
}

#[tokio::test]
async fn attributes_are_set_to_the_nanosecond() {
    let top = tempfile::tempdir().unwrap();
    let folder = open(top.path(), Access::ReadWrite).await;
    folder.create_folder(path("made"), 0o2775).await.unwrap();
    assert_eq!(
        fs::metadata(top.path().join("made")).unwrap().permissions().mode() & 0o7777,
        0o2775,
        "whatever the umask"
    );
    let file = folder.open_file(path("made/file"), OpenMode::Create).await.unwrap();
    let modified = Timestamp {
        seconds: -5,
        nanoseconds: 123_456_789,
    };
    file.set_attributes(Attributes {
        mode: Some(0o1711),
        modified: Some(modified),
        ..Attributes::default()
    })
    .await
    .unwrap();
    let stat = folder.stat(path("made/file")).await.unwrap();
    assert_eq!((stat.mode, stat.modified), (0o1711, modified));
    let later = Timestamp {
        seconds: 1_700_000_000,
        nanoseconds: 1,
    };
    folder
        .set_attributes(
            path("made/file"),
            Attributes {
                mode: Some(0o640),
                modified: Some(later),
                ..Attributes::default()
            },
        )
        .await
        .unwrap();
    let stat = file.stat().await.unwrap();
    assert_eq!((stat.mode, stat.modified, stat.links), (0o640, later, 1));
    folder.create_hard_link(path("made/file"), path("second")).await.unwrap();
    assert_eq!(file.stat().await.unwrap().links, 2);
}

#[tokio::test]
async fn no_program_is_left_behind_that_lends_the_hosts_rights() {
    let top = tempfile::tempdir().unwrap();
    let folder = open(top.path(), Access::ReadWrite).await;
    folder.create_folder(path("folder"), 0o755).await.unwrap();
    let file = folder.open_file(path("file"), OpenMode::Create).await.unwrap();
    let mode = |mode| Attributes {
        mode: Some(mode),
        ..Attributes::default()
    };
    for bits in [0o4755, 0o2755, 0o6755] {
        let denied = Some(FaultKind::PermissionDenied);
        assert_eq!(kind(file.set_attributes(mode(bits)).await), denied, "{bits:o}");
        assert_eq!(kind(folder.set_attributes(path("file"), mode(bits)).await), denied, "{bits:o}");
    }
    assert_eq!(file.stat().await.unwrap().mode, 0o600);
    assert_eq!(
        kind(folder.create_folder(path("new"), 0o4755).await),
        Some(FaultKind::PermissionDenied)
    );
    folder.set_attributes(path("folder"), mode(0o2750)).await.unwrap();
    assert_eq!(folder.stat(path("folder")).await.unwrap().mode, 0o2750);
}

/// An access control list, as Linux has it in an attribute: it gives one user more to read.
fn access_list() -> Vec<u8> {
    const NOBODY_IN_PARTICULAR: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] = [
        (0x01, 6, NOBODY_IN_PARTICULAR),
        (0x02, 4, 1),
        (0x04, 4, NOBODY_IN_PARTICULAR),
        (0x10, 4, NOBODY_IN_PARTICULAR),
        (0x20, 0, NOBODY_IN_PARTICULAR),
    ];
    let entries = entries.map(|(tag, permissions, id)| [&tag.to_le_bytes()[..], &permissions.to_le_bytes(), &id.to_le_bytes()].concat());
    [&2_u32.to_le_bytes()[..], &entries.concat()].concat()
}

#[tokio::test]
async fn extended_attributes_of_what_is_not_opened_are_read() {
    let top = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let pipe = top.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    rustix::fs::lsetxattr(&pipe, "system.posix_acl_access", &access_list(), rustix::fs::XattrFlags::empty()).unwrap();
    std::os::unix::fs::symlink("pipe", top.path().join("link")).unwrap();
    let folder = open(top.path(), Access::ReadWrite).await;
    let expected = ExtendedAttribute {
        name: b"system.posix_acl_access".to_vec(),
        value: access_list(),
    };
    let of = async |name| folder.extended_attributes(path(name)).await.unwrap();
    assert_eq!(of("pipe").await, std::slice::from_ref(&expected));
    assert_eq!(of("link").await, [], "those of what it leads to are not its own");
    let names = vec![b"link".to_vec(), b"pipe".to_vec()];
    let read = folder.read_names(path(""), names, 1 << 10).await.unwrap();
    let attributes: Vec<_> = read.into_iter().map(|node| node.unwrap().extended_attributes).collect();
    assert_eq!(attributes, [vec![], vec![expected]]);
    // Only root may give a link an attribute of its own.
    let own = ExtendedAttribute {
        name: b"trusted.bulkhead".to_vec(),
        value: b"own".to_vec(),
    };
    let given = rustix::fs::lsetxattr(
        top.path().join("link"),
        "trusted.bulkhead",
        &own.value,
        rustix::fs::XattrFlags::empty(),
    );
    assert_eq!(of("link").await, if given.is_ok() { vec![own] } else { vec![] });
}

#[tokio::test]
async fn extended_attributes_come_back() {
    // The system's temporary folder may be on a file system without them; the build's own is not.
    let top = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let folder = open(top.path(), Access::ReadWrite).await;
    folder.open_file(path("file"), OpenMode::Create).await.unwrap();
    let attribute = ExtendedAttribute {
        name: b"user.bulkhead".to_vec(),
        value: vec![0, 1, 255],
    };
    folder.set_extended_attribute(path("file"), attribute.clone()).await.unwrap();
    let all = folder.extended_attributes(path("file")).await.unwrap();
    assert!(all.contains(&attribute), "{all:?}");
    let remove = || folder.remove_extended_attribute(path("file"), attribute.name.clone());
    remove().await.unwrap();
    assert!(!folder.extended_attributes(path("file")).await.unwrap().contains(&attribute));
    assert_eq!(kind(remove().await), Some(FaultKind::NotFound));
    let privileged = folder.remove_extended_attribute(path("file"), b"security.capability".to_vec());
    assert_eq!(kind(privileged.await), Some(FaultKind::PermissionDenied));
}

#[tokio::test]
async fn pipes_and_sockets_are_made_and_devices_are_not() {
    let top = tempfile::tempdir().unwrap();
    let folder = open(top.path(), Access::ReadWrite).await;
    for (name, node, made) in [
        ("pipe", SpecialFile::Fifo, FileType::Fifo),
        ("socket", SpecialFile::Socket, FileType::Socket),
    ] {
        folder.create_special_file(path(name), node, 0o622).await.unwrap();
        let stat = folder.stat(path(name)).await.unwrap();
        assert_eq!((stat.file_type, stat.mode), (made, 0o622));
        let again = folder.create_special_file(path(name), node, 0o622).await;
        assert_eq!(kind(again), Some(FaultKind::AlreadyExists));
    }
    for device in [SpecialFile::CharacterDevice(0x103), SpecialFile::BlockDevice(0x800)] {
        let made = folder.create_special_file(path("device"), device, 0o600).await;
        assert_eq!(kind(made), Some(FaultKind::PermissionDenied));
    }
    let read_only = open(top.path(), Access::ReadOnly).await;
    let made = read_only.create_special_file(path("other"), SpecialFile::Fifo, 0o600).await;
    assert_eq!(kind(made), Some(FaultKind::PermissionDenied));
}

#[tokio::test]
async fn locks_exclude_other_open_files_and_other_programs() {
    use LockKind::{Exclusive, Shared};
    let top = tempfile::tempdir().unwrap();
    fs::write(top.path().join("file"), "").unwrap();
    let folder = open(top.path(), Access::ReadWrite).await;
    let (one, two) = (
        folder.open_file(path("file"), OpenMode::Modify).await.unwrap(),
        folder.open_file(path("file"), OpenMode::Modify).await.unwrap(),
    );
    // Where SQLite has its locks, far beyond the end of the file.
    let pending = 0x4000_0000;
    assert!(one.lock_range(pending, 1, Shared).await.unwrap());
    assert!(two.lock_range(pending, 1, Shared).await.unwrap());
    assert!(!one.lock_range(pending, 1, Exclusive).await.unwrap());
    assert!(!one.test_range(pending, 0, Exclusive).await.unwrap());
    two.unlock_range(pending, 1).await.unwrap();
    assert!(one.test_range(pending, 1, Exclusive).await.unwrap());
    assert!(one.lock_range(pending, 1, Exclusive).await.unwrap());
    assert!(!two.lock_range(pending, 1, Shared).await.unwrap());
    assert!(two.lock_range(pending + 1, 0, Exclusive).await.unwrap());

    // POSIX record locks, as SQLite takes them, see ours.
    let other = fs::File::open(top.path().join("file")).unwrap();
    let ask = |offset: u64| {
        let mut lock = libc::flock {
            l_type: libc::F_RDLCK as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: offset.try_into().unwrap(),
            l_len: 1,
            l_pid: 0,
        };
        fcntl(&other, FcntlArg::F_GETLK(&mut lock)).unwrap();
        libc::c_int::from(lock.l_type) != libc::F_UNLCK
    };
    assert!(ask(pending));
    drop(one);
    assert!(!ask(pending), "a file that is closed gives its locks up");
    assert!(ask(pending + 1));
    assert_eq!(kind(two.lock_range(u64::MAX, 1, Shared).await), Some(FaultKind::Io));

    let reading = folder.open_file(path("file"), OpenMode::Read).await.unwrap();
    assert_eq!(kind(reading.lock_range(0, 1, Exclusive).await), Some(FaultKind::PermissionDenied));
    assert!(reading.lock_range(0, 1, Shared).await.unwrap());
    for turn in 1..4096 {
        reading.lock_range(2 * turn, 1, Shared).await.unwrap();
    }
    assert_eq!(kind(reading.lock_range(0, 1, Shared).await), Some(FaultKind::Limit));
}

#[tokio::test]
async fn listings_come_in_batches_and_end() {
    let top = tempfile::tempdir().unwrap();
    (0..1500).for_each(|number| fs::write(top.path().join(number.to_string()), "").unwrap());
    fs::create_dir(top.path().join("folder")).unwrap();
    let folder = open(top.path(), Access::ReadOnly).await;
    let mut listing = folder.list(path("")).await.unwrap();
    let mut names = Vec::new();
    loop {
        let batch = listing.next().await.unwrap();
        assert!(batch.len() <= 1024);
        if batch.is_empty() {
            break;
        }
        names.extend(batch);
    }
    assert_eq!(names.len(), 1501);
    assert!(
        names
            .iter()
            .any(|entry| entry.name == b"folder" && entry.file_type == FileType::Directory)
    );
    assert!(listing.next().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_opened() {
    let top = tempfile::tempdir().unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        top.path().join("pipe"),
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    let folder = open(top.path(), Access::ReadWrite).await;
    // A pipe without writer would hold the call for ever.
    assert_eq!(
        kind(folder.open_file(path("pipe"), OpenMode::Read).await),
        Some(FaultKind::Conflict)
    );
    assert_eq!(
        kind(folder.open_file(path("missing"), OpenMode::Read).await),
        Some(FaultKind::NotFound)
    );
    assert_eq!(kind(folder.remove_folder(path("missing")).await), Some(FaultKind::NotFound));
    assert!(folder.extended_attributes(path("pipe")).await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_no_file_is_not_opened_to_find_that_out() {
    let top = tempfile::tempdir().unwrap();
    let pipe = top.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let folder = open(top.path(), Access::ReadWrite).await;
    for mode in [OpenMode::Read, OpenMode::Modify, OpenMode::Replace] {
        assert_eq!(kind(folder.open_file(path("pipe"), mode).await), Some(FaultKind::Conflict));
        // A pipe that somebody has open can be written to.
        let writer = rustix::fs::open(&pipe, OFlags::WRONLY | OFlags::NONBLOCK, Mode::empty());
        assert_eq!(writer.err(), Some(Errno::NXIO), "{mode:?}");
    }
}

#[tokio::test]
async fn growth_counts_as_written() {
    let top = tempfile::tempdir().unwrap();
    let limits = Limits {
        bytes_written: 1 << 20,
        ..Limits::default_for(PluginKind::Source)
    };
    let folder = open_within(top.path(), Access::ReadWrite, limits).await;
    let file = folder.open_file(path("file"), OpenMode::Create).await.unwrap();
    file.set_size(1 << 20).await.unwrap();
    file.set_size(10).await.unwrap();
    assert_eq!(kind(file.set_size(1 << 20).await), Some(FaultKind::Limit));
    assert_eq!(file.stat().await.unwrap().size, 10);
}

#[tokio::test]
async fn descriptors_of_one_operation_are_bounded() {
    let top = tempfile::tempdir().unwrap();
    fs::write(top.path().join("file"), "").unwrap();
    let folder = open(top.path(), Access::ReadOnly).await;
    let limit = Some(FaultKind::Limit);
    let mut files = Vec::new();
    for _ in 0..256 {
        files.push(folder.open_file(path("file"), OpenMode::Read).await.unwrap());
    }
    assert_eq!(kind(folder.open_file(path("file"), OpenMode::Read).await), limit);
    files.pop();
    folder.open_file(path("file"), OpenMode::Read).await.unwrap();
    let mut listings = Vec::new();
    for _ in 0..64 {
        listings.push(folder.list(path("")).await.unwrap());
    }
    assert_eq!(kind(folder.list(path("")).await), limit);
}
