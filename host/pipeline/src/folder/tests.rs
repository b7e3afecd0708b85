//! The folder writer on real folders: what comes back, and what a hostile snapshot cannot do.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{fs, os::unix::fs::MetadataExt as _};

use bulkhead_model::ExtendedAttribute;

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

fn write_file(writer: &mut FolderWriter, entry: SnapshotEntry, content: &[u8]) {
    writer.begin(entry).unwrap();
    writer.write(&Bytes::copy_from_slice(content)).unwrap();
    writer.finish_file().unwrap();
}

fn target() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("new/target");
    (parent, path)
}

#[test]
fn everything_that_an_entry_is_comes_back() {
    let (_parent, target) = target();
    let mut writer = FolderWriter::open(&target).unwrap();
    let mut folder = entry("d", NodeType::Directory);
    folder.metadata.mode = 0o500;
    folder.metadata.modified = Some(Timestamp {
        seconds: 1_000_000_000,
        nanoseconds: 7,
    });
    writer.begin(folder).unwrap();
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
    writer.begin(entry("e", NodeType::Fifo)).unwrap();
    writer.begin(entry("s", NodeType::Symlink(b"/nowhere/\xff".to_vec()))).unwrap();
    assert_eq!((writer.entries, writer.bytes), (4, 7));
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
    let error = FolderWriter::open(&target).err().unwrap();
    assert_eq!(error.source.kind(), io::ErrorKind::DirectoryNotEmpty);
}

#[test]
fn a_link_is_never_followed_out_of_the_target() {
    let (parent, target) = target();
    let outside = parent.path().join("outside");
    fs::create_dir(&outside).unwrap();
    let mut writer = FolderWriter::open(&target).unwrap();
    writer
        .begin(entry("a", NodeType::Symlink(outside.as_os_str().as_bytes().to_vec())))
        .unwrap();
    // A tree that has two entries of one name: a link and a folder.
    assert!(writer.begin(entry("a", NodeType::Directory)).is_err());
    assert!(writer.begin(entry("a/evil", NodeType::File)).is_err());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn nothing_that_exists_is_written_over() {
    let (_parent, target) = target();
    let mut writer = FolderWriter::open(&target).unwrap();
    write_file(&mut writer, entry("a", NodeType::File), b"first");
    assert!(writer.begin(entry("a", NodeType::File)).is_err());
    assert_eq!(fs::read(target.join("a")).unwrap(), b"first");
}

#[test]
fn two_names_of_one_file_stay_two_names_of_one_file() {
    let (_parent, target) = target();
    let mut writer = FolderWriter::open(&target).unwrap();
    let name = |path: &str| {
        let mut entry = entry(path, NodeType::File);
        (entry.metadata.links, entry.metadata.inode, entry.metadata.device) = (2, 42, 1);
        entry
    };
    writer.begin(entry("d", NodeType::Directory)).unwrap();
    write_file(&mut writer, name("d/a"), b"content");
    write_file(&mut writer, name("z"), b"content");
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
    let mut writer = FolderWriter::open(&target).unwrap();
    for (path, size, device) in [("a", 5, 1), ("b", 6, 1), ("c", 5, 0), ("d", 5, 0)] {
        let mut entry = entry(path, NodeType::File);
        (entry.metadata.links, entry.metadata.inode, entry.metadata.device) = (2, 42, device);
        entry.size = size;
        write_file(&mut writer, entry, path.repeat(5).as_bytes());
    }
    writer.finish().unwrap();
    for path in ["a", "b", "c", "d"] {
        assert_eq!(fs::read(target.join(path)).unwrap(), path.repeat(5).as_bytes());
    }
}

#[test]
fn zeros_become_holes_and_stay_zeros() {
    let (_parent, target) = target();
    let mut writer = FolderWriter::open(&target).unwrap();
    writer.begin(entry("sparse", NodeType::File)).unwrap();
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
    let mut writer = FolderWriter::open(&target).unwrap();
    writer.begin(entry("d", NodeType::Directory)).unwrap();
    writer.begin(entry("e", NodeType::Directory)).unwrap();
    let error = writer.begin(entry("d", NodeType::Directory)).unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::AlreadyExists);
}

#[test]
fn a_folder_that_nobody_may_read_can_hold_the_first_name_of_a_file() {
    let (_parent, target) = target();
    let mut writer = FolderWriter::open(&target).unwrap();
    let mut folder = entry("d", NodeType::Directory);
    folder.metadata.mode = 0o300;
    writer.begin(folder).unwrap();
    let twin = |path: &str| {
        let mut file = entry(path, NodeType::File);
        (file.metadata.links, file.metadata.device, file.metadata.inode, file.size) = (2, 1, 1, 7);
        file
    };
    write_file(&mut writer, twin("d/f"), b"content");
    write_file(&mut writer, twin("g"), b"content");
    writer.finish().unwrap();
    assert_eq!(fs::metadata(target.join("g")).unwrap().nlink(), 2);
}
