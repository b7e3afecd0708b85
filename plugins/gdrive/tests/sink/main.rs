//! The sink over a server that answers as Drive does: what goes right. Who is asking, the host says, and is tested from the outside.
#![expect(clippy::unwrap_used, reason = "tests")]

mod failures;
mod world;

use bulkhead_plugin_gdrive::GoogleDrive;
use bulkhead_sdk::{ErrorKind, testing::conformance, types::Severity};
use world::{KEY, World, codes, content};

#[test]
fn it_conforms() {
    let world = World::new();
    conformance::sink::<GoogleDrive>(&world.harness(), &world.config(""));
}

#[test]
fn it_conforms_in_a_shared_drive_with_pages_that_are_not_full_and_searches_that_overlook() {
    let world = World::in_shared_drive();
    world.drive.state().page = 3;
    world.drive.state().overlooks = true;
    conformance::sink::<GoogleDrive>(&world.harness(), &world.config(r#","removed":"trashed","piece":"256 KiB""#));
}

#[test]
fn a_person_sees_a_repository_of_restic() {
    let world = World::new();
    world.initialized();
    world.put(KEY, b"pack").unwrap();
    let state = world.drive.state();
    assert_eq!(state.at(&world.folder, KEY).len(), 1);
    assert_eq!(state.at(&world.folder, "data/ff").len(), 1);
    assert_eq!(state.children(&world.folder).len(), 5);
}

#[test]
fn a_new_vault_takes_few_requests() {
    let world = World::new();
    world.drive.requests();
    world.initialized();
    let requests = world.drive.requests();
    assert!(requests.len() <= 20, "{} requests: {requests:#?}", requests.len());
    // Cut off and begun anew, it makes what is missing.
    let data = world.drive.state().at(&world.folder, "data/7f")[0].id.clone();
    world.drive.state().file_mut(&data).unwrap().trashed = true;
    world.initialized();
    assert_eq!(world.drive.state().at(&world.folder, "data/7f").len(), 1);
    assert_eq!(world.drive.state().at(&world.folder, "data").len(), 1);
}

#[test]
fn a_vault_is_opened_with_few_requests() {
    let world = World::new();
    world.repository();
    for key in ["snapshots/0b", "index/0c", KEY] {
        world.put(key, b"content").unwrap();
    }
    world.drive.requests();
    let opened = world.with(&world.config(""), |sink| {
        for prefix in ["keys/", "snapshots/", "index/"] {
            assert_eq!(sink.list(prefix)?.len(), 1, "{prefix}");
        }
        for key in ["config", "keys/0a", "snapshots/0b", "index/0c", KEY] {
            sink.get(key)?;
        }
        Ok(())
    });
    opened.unwrap();
    // The vault's folder, those in it and in `data`, three listings, five objects, and one of them looked for.
    let requests = world.drive.requests();
    assert_eq!(requests.len(), 3 + 3 + 5 + 1, "{requests:#?}");
}

#[test]
fn folders_that_others_made_since_the_last_look_are_listed() {
    let world = World::new();
    world.repository();
    let listed = world.with(&world.config(""), |sink| {
        assert_eq!(sink.list("data/")?.len(), 0);
        let data = world.drive.state().at(&world.folder, "data")[0].id.clone();
        let second = world.drive.state().add_folder(&data, "ab");
        world.drive.state().add_file(&second, "ab01", b"there");
        // Those of a vault's other objects, where there was none.
        let gone = world.drive.state().at(&world.folder, "locks")[0].id.clone();
        world.drive.state().remove(&gone);
        sink.list("locks/")?;
        let locks = world.drive.state().add_folder(&world.folder, "locks");
        world.drive.state().add_file(&locks, "0a", b"a lock");
        Ok((sink.list("locks/")?.len(), sink.list("data/")?.len()))
    });
    assert_eq!(listed.unwrap(), (1, 1));
}

#[test]
fn an_object_goes_in_pieces_and_comes_in_ranges() {
    let world = World::new();
    world.initialized();
    let object = content(3 << 20);
    let config = world.config(r#","piece":"1 MiB""#);
    world.put_with(&config, KEY, &object).unwrap();
    assert_eq!(
        world.ranges(),
        [
            "bytes 0-1048575/3145728",
            "bytes 1048576-2097151/3145728",
            "bytes 2097152-3145727/3145728"
        ]
    );
    assert_eq!(world.get(KEY).unwrap(), object);
}

#[test]
fn listings_go_on_beyond_drives_pages_and_ours() {
    let world = World::new();
    world.initialized();
    let mut expected = Vec::new();
    for number in 0..12_345_u32 {
        let byte = number % 3;
        let name = format!("{byte:02x}{number:08x}");
        let folder = world.drive.state().at(&world.folder, &format!("data/{byte:02x}"))[0].id.clone();
        world.drive.state().add_file(&folder, &name, b"x");
        expected.push(format!("data/{byte:02x}/{name}"));
    }
    expected.sort();
    world.drive.state().overlooks = true;
    let listed: Vec<String> = world.list("data/").into_iter().map(|object| object.key).collect();
    assert!(listed == expected, "{} of {} objects were listed", listed.len(), expected.len());
}

#[test]
fn of_several_files_of_one_name_the_right_one_is_read_and_all_are_removed() {
    let world = World::new();
    world.initialized();
    let object = content(1000);
    let name = world::sha256(&object);
    let key = format!("data/{}/{name}", &name[..2]);
    let folder = world.drive.state().at(&world.folder, &format!("data/{}", &name[..2]))[0].id.clone();
    for damaged in [&b"half"[..], &object, b"other"] {
        world.drive.state().add_file(&folder, &name, damaged);
    }
    assert_eq!(world.get(&key).unwrap(), object);
    let listed = world.list("data/");
    assert_eq!(listed.iter().map(|object| object.size).collect::<Vec<_>>(), [1000]);
    world.delete(&key).unwrap();
    assert_eq!(world.drive.state().objects(&world.folder), 0);
}

#[test]
fn what_is_in_a_second_folder_of_the_same_name_is_there_too() {
    let world = World::new();
    world.repository();
    let data = world.drive.state().at(&world.folder, "data")[0].id.clone();
    let second = world.drive.state().add_folder(&data, "ab");
    world.drive.state().add_file(&second, "ab01", b"there");
    assert_eq!(world.get("data/ab/ab01").unwrap(), b"there");
    assert_eq!(world.list("data/").len(), 1);
    let findings = world.check();
    assert_eq!(codes(&findings), ["duplicate-folders"]);
    // New objects go where other tools look.
    world.put("data/ab/ab02", b"new").unwrap();
    assert_eq!(world.drive.state().children(&second).len(), 1);
}

#[test]
fn two_hosts_that_store_the_same_key_at_once_do_not_both_succeed() {
    let world = World::new();
    world.initialized();
    let folder = world.folder.clone();
    let mut done = false;
    // Between the look and the end of the upload somebody else is faster.
    world.drive.inject(move |request, state| {
        if !done && request.method == "PUT" {
            state.add_file(&folder, "config", b"theirs");
            done = true;
        }
        None
    });
    let error = world.put_if_absent("config", b"ours").unwrap_err();
    assert_eq!(error.kind, ErrorKind::AlreadyExists, "{error}");
    assert_eq!(world.get("config").unwrap(), b"theirs");
    assert_eq!(world.drive.state().at(&world.folder, "config").len(), 1);
}

#[test]
fn what_is_removed_goes_to_the_trash_where_that_is_said() {
    let world = World::new();
    world.repository();
    world.put(KEY, b"pack").unwrap();
    world.drive.state().only_trashes = true;
    assert_eq!(world.delete(KEY).unwrap_err().kind, ErrorKind::PermissionDenied);
    assert_eq!(codes(&world.check()), ["append-only"]);
    let config = world.config(r#","removed":"trashed""#);
    world.delete_with(&config, KEY).unwrap();
    assert_eq!(world.list("data/"), []);
    assert!(world.drive.state().files().any(|file| file.trashed && KEY.ends_with(&file.name)));
    assert_eq!(codes(&world.check_with(&config)), [""; 0]);
}

#[test]
fn a_vault_in_the_trash_is_not_begun_anew() {
    let world = World::new();
    world.repository();
    world.drive.state().file_mut(&world.folder).unwrap().trashed = true;
    for error in [world.put(KEY, b"pack").unwrap_err(), world.initialize().unwrap_err()] {
        assert_eq!(error.kind, ErrorKind::Conflict, "{error}");
        assert!(error.hint.unwrap().contains("restore it in Drive"));
    }
}

#[test]
fn initialize_takes_only_an_empty_folder() {
    let world = World::new();
    world.initialized();
    world.put("keys/0a", b"key").unwrap();
    let half = world.initialize().unwrap_err();
    assert!(half.message.contains("holds part of a vault"), "{half}");
    world.put("config", b"config").unwrap();
    let there = world.initialize().unwrap_err();
    assert!(there.message.ends_with("already holds a vault"), "{there}");
    assert_eq!(there.kind, ErrorKind::Conflict);

    let foreign = World::new();
    foreign.drive.state().add_file(&foreign.folder, "holiday.jpg", b"x");
    let refused = foreign.initialize().unwrap_err();
    assert!(refused.message.ends_with("it holds holiday.jpg"), "{refused}");
    assert_eq!(foreign.drive.state().children(&foreign.folder).len(), 1);
}

#[test]
fn check_finds_what_is_wrong_and_leaves_nothing() {
    let world = World::new();
    assert_eq!(codes(&world.check()), ["not-initialized"]);
    world.repository();
    let before = world.drive.state().files().count();
    assert_eq!(codes(&world.check()), [""; 0]);
    assert_eq!(world.drive.state().files().count(), before);

    let usage = world.drive.state().usage();
    world.drive.state().quota = Some(usage + (5 << 20));
    assert_eq!(codes(&world.check()), ["little-space"]);
    world.drive.state().quota = Some(usage);
    let findings = world.check();
    assert_eq!(codes(&findings), ["no-space", "not-writable"]);
    assert!(findings.iter().all(|finding| finding.severity == Severity::Error));
    world.drive.state().quota = None;

    // Somebody throws the vault's first file away.
    let config = world.drive.state().at(&world.folder, "config")[0].id.clone();
    world.drive.state().file_mut(&config).unwrap().trashed = true;
    assert_eq!(codes(&world.check()), ["half-initialized", "objects-in-trash"]);
    world.drive.state().file_mut(&config).unwrap().trashed = false;

    // Another vault was made in it at the same time.
    world.drive.state().add_file(&world.folder, "config", b"other");
    assert_eq!(codes(&world.check()), ["duplicate-config"]);
}

#[test]
fn a_folder_that_is_none_is_told() {
    let world = World::new();
    let file = world.drive.state().add_file("root", "vault", b"");
    for (id, kind, part) in [
        ("1nowhere", ErrorKind::NotFound, "not shared"),
        (&file, ErrorKind::Config, "of a file"),
    ] {
        let error = world.check_folder(id).unwrap_err();
        assert_eq!((error.kind, error.setting.as_deref()), (kind, Some("folder")), "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
}

#[test]
fn keys_outside_the_layout_are_refused() {
    let world = World::new();
    world.initialized();
    for key in ["../outside", "other", "data/abcd", ""] {
        assert_eq!(world.put(key, b"").unwrap_err().kind, ErrorKind::Internal, "{key:?}");
    }
}
