//! The folder writer on real folders: what comes back, and what a hostile snapshot cannot do.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, os::unix::fs::MetadataExt as _};

use bulkhead_model::{ExtendedAttribute, Timestamp};

use super::*;

fn entry(path: &str, node_type: NodeType) -> SnapshotEntry {
    let mut metadata = EntryMetadata::private(node_type);
    metadata.uid = rustix::process::geteuid().as_raw();
    metadata.gid = rustix::process::getegid().as_raw();
    SnapshotEntry {
        path: EntryPath::new(path).unwrap(),
        metadata,
        size: 0,
        content: None,
    }
}

fn create() -> Decision {
    Decision {
        action: Action::Create,
        bytes: 0,
        writes: 0,
        is_passage: false,
    }
}

fn open(target: &Path) -> FolderWriter {
    FolderWriter::new(make(target).unwrap(), target, Owners::default())
}

/// Begins an entry as a restore into an empty folder does: further names of a file are links.
fn begin(writer: &mut FolderWriter, entry: SnapshotEntry) -> Result<(), FolderError> {
    writer.begin(entry, &create())
}

fn write_file(writer: &mut FolderWriter, entry: SnapshotEntry, content: &[u8]) {
    begin(writer, entry).unwrap();
    writer.write(&Bytes::copy_from_slice(content)).unwrap();
    writer.finish_file().unwrap();
}

/// Writes files as a restore into an empty folder does: further names of one are links.
fn write_linked(writer: &mut FolderWriter, files: Vec<(SnapshotEntry, &[u8])>) {
    let mut links = Links::default();
    for (entry, content) in files {
        if let Some((to, _)) = links.first(&entry).cloned() {
            let link = Decision {
                action: Action::Link { to, replace: false },
                ..create()
            };
            writer.begin(entry, &link).unwrap();
        } else {
            links.note(&entry, &Action::Create);
            write_file(writer, entry, content);
        }
    }
}

fn target() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("new/target");
    (parent, path)
}

#[test]
fn everything_that_an_entry_is_comes_back() {
    let (_parent, target) = target();
    let mut writer = open(&target);
    let mut folder = entry("d", NodeType::Directory);
    folder.metadata.mode = 0o500;
    folder.metadata.modified = Some(Timestamp {
        seconds: 1_000_000_000,
        nanoseconds: 7,
    });
    begin(&mut writer, folder).unwrap();
    let mut file = entry("d/f", NodeType::File);
    file.metadata.mode = 0o6754;
    file.metadata.modified = Some(Timestamp {
        seconds: -5,
        nanoseconds: 999_999_999,
    });
    file.metadata.extended_attributes.push(ExtendedAttribute {
        name: b"user.comment".to_vec(),
        value: b"hello".to_vec(),
    });
    write_file(&mut writer, file, b"content");
    begin(&mut writer, entry("e", NodeType::Fifo)).unwrap();
    begin(&mut writer, entry("s", NodeType::Symlink(b"/nowhere/\xff".to_vec()))).unwrap();
    writer.finish().unwrap();

    let folder = fs::metadata(target.join("d")).unwrap();
    assert_eq!(
        (folder.mode() & 0o7777, folder.mtime(), folder.mtime_nsec()),
        (0o500, 1_000_000_000, 7)
    );
    let file = fs::metadata(target.join("d/f")).unwrap();
    assert_eq!((file.mode() & 0o7777, file.mtime(), file.mtime_nsec()), (0o6754, -5, 999_999_999));
    assert_eq!(fs::read(target.join("d/f")).unwrap(), b"content");
    let mut value = [0; 16];
    let length = rustix::fs::getxattr(target.join("d/f"), "user.comment", &mut value).unwrap_or(0);
    assert!(
        length == 0 || &value[..length] == b"hello",
        "the attribute is there if the file system can have it"
    );
    assert_eq!(fs::read_link(target.join("s")).unwrap().as_os_str().as_bytes(), b"/nowhere/\xff");
    assert_eq!(fs::symlink_metadata(target.join("e")).unwrap().mode() & 0o170_000, 0o010_000);
}

#[test]
fn a_target_that_is_not_empty_is_refused() {
    let (_parent, target) = target();
    fs::create_dir_all(&target).unwrap();
    fs::write(target.join("x"), "").unwrap();
    let error = expect_empty(&make(&target).unwrap(), &target).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::DirectoryNotEmpty);
}

#[test]
fn a_link_is_never_followed_out_of_the_target() {
    let (parent, target) = target();
    let outside = parent.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let mut writer = open(&target);
    writer
        .begin(entry("a", NodeType::Symlink(outside.as_os_str().as_bytes().to_vec())), &create())
        .unwrap();
    // A tree that has two entries of one name: a link and a folder.
    assert!(begin(&mut writer, entry("a", NodeType::Directory)).is_err());
    assert!(begin(&mut writer, entry("a/evil", NodeType::File)).is_err());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn nothing_that_exists_is_written_over() {
    let (_parent, target) = target();
    let mut writer = open(&target);
    write_file(&mut writer, entry("a", NodeType::File), b"first");
    assert!(begin(&mut writer, entry("a", NodeType::File)).is_err());
    assert_eq!(fs::read(target.join("a")).unwrap(), b"first");
}

#[test]
fn two_names_of_one_file_stay_two_names_of_one_file() {
    let (_parent, target) = target();
    let mut writer = open(&target);
    let name = |path: &str| {
        let mut entry = entry(path, NodeType::File);
        (entry.metadata.links, entry.metadata.inode, entry.metadata.device) = (2, 42, 1);
        entry
    };
    begin(&mut writer, entry("d", NodeType::Directory)).unwrap();
    write_linked(&mut writer, vec![(name("d/a"), b"content"), (name("z"), b"content")]);
    writer.finish().unwrap();
    assert_eq!(
        fs::metadata(target.join("d/a")).unwrap().ino(),
        fs::metadata(target.join("z")).unwrap().ino()
    );
    assert_eq!(fs::metadata(target.join("z")).unwrap().nlink(), 2);
}

#[test]
fn files_that_differ_are_not_joined_by_a_number_that_they_share() {
    let (_parent, target) = target();
    let mut writer = open(&target);
    let file = |(path, size, device): (&'static str, u64, u64)| {
        let mut entry = entry(path, NodeType::File);
        (entry.metadata.links, entry.metadata.inode, entry.metadata.device) = (2, 42, device);
        entry.size = size;
        (entry, path.as_bytes())
    };
    let files = [("a", 5, 1), ("b", 6, 1), ("c", 5, 0), ("d", 5, 0)].map(file);
    write_linked(&mut writer, files.to_vec());
    writer.finish().unwrap();
    for path in ["a", "b", "c", "d"] {
        assert_eq!(fs::read(target.join(path)).unwrap(), path.as_bytes());
    }
}

#[test]
fn zeros_become_holes_and_stay_zeros() {
    let (_parent, target) = target();
    let mut writer = open(&target);
    begin(&mut writer, entry("sparse", NodeType::File)).unwrap();
    writer.write(&Bytes::from_static(b"begin")).unwrap();
    writer.write(&Bytes::from(vec![0; 1 << 20])).unwrap();
    writer.finish_file().unwrap();
    writer.finish().unwrap();
    let content = fs::read(target.join("sparse")).unwrap();
    assert_eq!(content.len(), (1 << 20) + 5);
    assert!(content.starts_with(b"begin\0") && content[5..].iter().all(|byte| *byte == 0));
    assert!(fs::metadata(target.join("sparse")).unwrap().blocks() < 64);
}

#[test]
fn a_folder_that_comes_twice_is_refused() {
    let (_parent, target) = target();
    let mut writer = open(&target);
    begin(&mut writer, entry("d", NodeType::Directory)).unwrap();
    begin(&mut writer, entry("e", NodeType::Directory)).unwrap();
    let error = begin(&mut writer, entry("d", NodeType::Directory)).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn a_folder_that_nobody_may_read_can_hold_the_first_name_of_a_file() {
    let (_parent, target) = target();
    let mut writer = open(&target);
    let mut folder = entry("d", NodeType::Directory);
    folder.metadata.mode = 0o300;
    begin(&mut writer, folder).unwrap();
    let twin = |path: &str| {
        let mut file = entry(path, NodeType::File);
        (file.metadata.links, file.metadata.device, file.metadata.inode, file.size) = (2, 1, 1, 7);
        file
    };
    write_linked(&mut writer, vec![(twin("d/f"), b"content"), (twin("g"), b"content")]);
    writer.finish().unwrap();
    assert_eq!(fs::metadata(target.join("g")).unwrap().nlink(), 2);
}
