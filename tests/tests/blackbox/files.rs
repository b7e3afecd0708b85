//! Trees of files into a vault and back, through the sandbox; plain restic and `diff` are the witnesses.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use bulkhead_test_support::{Bulkhead, Outcome, Tree, restic::Restic, run};
use rustix::fs::XattrFlags;

use crate::disk::Disk;
use crate::restoring::{assert_same, details, grow, is_root};

/// An installation with a vault, and a pipeline `home` of the tree `home`.
struct Desk(Bulkhead);

impl Desk {
    fn open(config: &str) -> Self {
        let desk = Self(Bulkhead::new().unwrap());
        desk.configure(config);
        fill(&desk.0.scratch().folder("home").unwrap());
        desk.succeed(&["init", "main"]);
        desk
    }

    fn configure(&self, config: &str) {
        let text = format!(
            "[pipeline.home]\nplugin = \"files\"\nvault = \"main\"\nconfig = {config}\ndirectory.home = {{ path = \"home\", access = \"read-only\" }}\n"
        );
        self.0.configure(&text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        self.0.run(arguments).unwrap()
    }

    fn succeed(&self, arguments: &[&str]) -> String {
        let outcome = self.run(arguments);
        assert_eq!(outcome.code, Some(0), "{arguments:?}\n{}{}", outcome.stdout, outcome.stderr);
        outcome.stdout
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.scratch().join(path)
    }
}

fn fill(root: &Path) {
    for folder in 0..20 {
        let folder = root.join(format!("folder {folder}"));
        std::fs::create_dir(&folder).unwrap();
        for file in 0..50_usize {
            std::fs::write(folder.join(format!("file-{file}")), format!("content {file} ").repeat(file * 20)).unwrap();
        }
    }
    std::fs::write(
        root.join("large"),
        (0..9_u32 << 20)
            .map(|byte| (byte.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect::<Vec<_>>(),
    )
    .unwrap();
    std::fs::hard_link(root.join("large"), root.join("second name")).unwrap();
    symlink("folder 1/file-1", root.join("link")).unwrap();
    std::fs::set_permissions(root.join("folder 3"), std::fs::Permissions::from_mode(0o2750)).unwrap();
}

#[test]
fn a_tree_comes_back_the_same_by_us_and_by_restic() {
    let desk = Desk::open("{}");
    desk.succeed(&["check"]);
    desk.succeed(&["run", "home"]);
    desk.succeed(&["verify", "--read-data"]);
    let before = Tree::of(&desk.path("home")).unwrap();

    desk.succeed(&["restore", "home", "--into", &desk.path("ours").display().to_string()]);
    assert_eq!(Tree::of(&desk.path("ours/home")).unwrap(), before);
    run(Command::new("diff")
        .arg("--recursive")
        .arg(desk.path("home"))
        .arg(desk.path("ours/home")))
    .unwrap();
    let inode = |path: &str| std::fs::metadata(desk.path(path)).unwrap().ino();
    assert_eq!(inode("ours/home/large"), inode("ours/home/second name"));

    let restic = Restic::new(desk.0.vault(), desk.0.vault_password_file()).unwrap();
    restic.restore("latest", &desk.path("theirs")).unwrap();
    assert_eq!(Tree::of(&desk.path("theirs/home")).unwrap(), before);
}

#[test]
fn a_tree_of_all_kinds_comes_back_with_the_attributes_of_each_node() {
    let desk = Desk::open("{}");
    let kinds = desk.path("home/kinds");
    std::fs::create_dir(&kinds).unwrap();
    grow(&kinds);
    drop(UnixListener::bind(kinds.join("socket")).unwrap());
    let special = ["deep/link", "deep/pipe", "deep/null", "socket"];
    for name in special.iter().filter(|_| is_root()) {
        rustix::fs::lsetxattr(kinds.join(name), "trusted.bulkhead", name.as_bytes(), XattrFlags::empty()).unwrap();
    }
    desk.succeed(&["run", "home"]);
    desk.succeed(&["restore", "home", "--into", "ours", "--devices"]);
    assert_same(&desk.path("ours/home"), &desk.path("home"));
    let restic = Restic::new(desk.0.vault(), desk.0.vault_password_file()).unwrap();
    restic.restore("latest", &desk.path("theirs")).unwrap();
    // restic 0.14 brings back neither sockets nor the attributes of links.
    let comparable = |folder: &str| {
        let mut all = details(&desk.path(folder));
        all.retain(|path, _| !["kinds/socket", "kinds/deep/link"].map(Path::new).contains(&path.as_path()));
        all
    };
    assert!(comparable("theirs/home") == comparable("home"), "restic restores something else");
    let again = desk.succeed(&["restore", "home", "--into", "ours", "--devices", "--delta", "--json"]);
    let again: serde_json::Value = serde_json::from_str(&again).unwrap();
    assert_eq!((&again["changes"]["updated"], &again["changes"]["created"]), (&0.into(), &0.into()));
    // A pipe that has lost its access control list is another one.
    rustix::fs::lremovexattr(desk.path("ours/home/kinds/deep/pipe"), "system.posix_acl_access").unwrap();
    desk.succeed(&["restore", "home", "--into", "ours", "--devices", "--delta"]);
    assert_same(&desk.path("ours/home"), &desk.path("home"));
}

#[test]
fn what_has_not_changed_costs_nothing_and_what_is_gone_is_gone() {
    let desk = Desk::open(r#"{ exclude = ["file-4?"] }"#);
    desk.succeed(&["run", "home"]);
    std::fs::write(desk.path("home/folder 7/file-7"), "another content").unwrap();
    std::fs::remove_dir_all(desk.path("home/folder 8")).unwrap();
    let report = desk.succeed(&["run", "home", "--json"]);
    let fact = |name: &str, value: &str| {
        let told = report
            .split_whitespace()
            .collect::<String>()
            .contains(&format!(r#""name":"{name}","value":"{value}""#));
        assert!(told, "{name} is not {value} in {report}");
    };
    // 20 folders of 40 files and two names of a large one, without a folder; one file was written anew.
    fact("files", "762");
    fact("unchanged-files", "761");
    fact("bytes-read", "15");
    desk.succeed(&["verify", "--read-data"]);
    desk.succeed(&["restore", "home", "--into", &desk.path("ours").display().to_string()]);
    let expected = Tree::of(&desk.path("home")).unwrap();
    let restored = Tree::of(&desk.path("ours/home")).unwrap();
    assert_eq!(restored.0.len(), 2 + 1 + 19 * 41);
    assert!(restored.0.iter().all(|(path, node)| expected.0.get(path) == Some(node)));
}

#[test]
fn what_is_mounted_in_a_tree_is_left_out_where_one_file_system_is_wanted() {
    let desk = Desk::open("{}");
    let disk = Disk::new("size=1m");
    let mounted = disk.folder("folder");
    std::fs::write(disk.outside_path().join("folder/inner"), "mounted").unwrap();
    std::fs::create_dir(desk.path("home/mounted")).unwrap();
    std::fs::write(desk.path("home/mounted-file"), "").unwrap();
    disk.bind(&mounted, &desk.path("home/mounted"));
    disk.bind(&mounted.join("inner"), &desk.path("home/mounted-file"));
    let stored = |config: &str| {
        desk.configure(config);
        let run = disk.run(&desk.0, &["run", "home", "--json"]);
        assert_eq!(run.code, Some(0), "{}{}", run.stdout, run.stderr);
        let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
        let findings = report["runs"][0]["findings"].as_array().unwrap().iter();
        let told: Vec<String> = findings.map(|finding| finding["message"].as_str().unwrap().to_owned()).collect();
        let listed = desk.succeed(&["ls", "home"]);
        let listed = listed.lines().filter(|line| line.starts_with("home/mounted"));
        (listed.map(str::to_owned).collect::<Vec<_>>(), told.join("\n"))
    };
    let (names, told) = stored("{ one-file-system = true }");
    assert_eq!(names, ["home/mounted"]);
    assert!(told.ends_with("without what is in them: home/mounted, home/mounted-file"), "{told}");
    assert_eq!(
        stored("{}"),
        (
            ["home/mounted", "home/mounted/inner", "home/mounted-file"]
                .map(str::to_owned)
                .to_vec(),
            String::new()
        )
    );
}

#[test]
fn a_pattern_that_is_none_is_shown_where_it_stands() {
    let desk = Desk::open("{}");
    desk.configure(r#"{ exclude = ["*.tmp", "[a"] }"#);
    let refused = desk.run(&["run", "home"]);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("`[a` is not a pattern") && refused.stderr.contains("^^^^") && !refused.stderr.contains("not set"),
        "{}",
        refused.stderr
    );
}

/// A pipeline of `frozen`, which a command makes of `live` before the run, and another one removes after it.
fn frozen(desk: &Desk, before: &str, after: &str) {
    let live = desk.path("live");
    std::fs::create_dir_all(&live).unwrap();
    std::fs::write(live.join("file"), "as it was").unwrap();
    std::fs::create_dir_all(desk.path("frozen")).unwrap();
    let (live, frozen) = (live.display(), desk.path("frozen").display().to_string());
    let shell = |script: &str| {
        format!(
            r#"["/bin/sh", "-c", "{}"]"#,
            script.replace("LIVE", &live.to_string()).replace("FROZEN", &frozen)
        )
    };
    desk.0
        .configure(&format!(
            "[pipeline.home]\nplugin = \"files\"\nvault = \"main\"\nhooks = {{ before = {}, after = {} }}\n\
             directory.home = {{ path = \"frozen\", access = \"read-only\" }}\n",
            shell(before),
            shell(after)
        ))
        .unwrap();
}

#[test]
fn a_file_system_is_frozen_for_the_run_and_thawed_after_it() {
    let desk = Desk::open("{}");
    frozen(&desk, "cp -a LIVE/. FROZEN && echo $BULKHEAD_PIPELINE > FROZEN/name", "rm FROZEN/*");
    desk.succeed(&["run", "home"]);
    assert_eq!(std::fs::read_dir(desk.path("frozen")).unwrap().count(), 0, "the second command ran");
    assert_eq!(desk.succeed(&["dump", "home", "home/file"]), "as it was");
    assert_eq!(desk.succeed(&["dump", "home", "home/name"]), "home\n");
    assert!(desk.succeed(&["plan"]).contains("/bin/sh -c cp -a"));
}

#[test]
fn a_command_that_fails_before_the_run_fails_it_and_one_after_it_is_told() {
    let desk = Desk::open("{}");
    frozen(&desk, "echo no room for a snapshot >&2; exit 7", "touch FROZEN/cleaned");
    let refused = desk.run(&["run", "home"]);
    assert_eq!(refused.code, Some(6), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("no room for a snapshot") && refused.stderr.contains("hooks.before"),
        "{}",
        refused.stderr
    );
    assert!(
        desk.path("frozen/cleaned").exists(),
        "what failed in the middle is put in order too"
    );

    frozen(&desk, "cp -a LIVE/. FROZEN", "echo still mounted >&2; exit 1");
    let told = desk.run(&["run", "home"]);
    assert_eq!(told.code, Some(14), "{}", told.stderr);
    assert!(
        told.stderr.contains("still mounted") && told.stdout.contains("snapshot"),
        "{}{}",
        told.stdout,
        told.stderr
    );

    desk.0
        .configure("[pipeline.home]\nplugin = \"files\"\nvault = \"main\"\nhooks = { before = [\"lvcreate\"] }\ndirectory.home = { path = \"frozen\", access = \"read-only\" }\n")
        .unwrap();
    let refused = desk.run(&["plan"]);
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("without its whole path"), "{}", refused.stderr);
}

#[test]
fn the_source_is_put_in_order_before_the_copy_to_another_sink() {
    let desk = Desk::open("{}");
    std::fs::create_dir(desk.path("second")).unwrap();
    let second = |text: &str| {
        let text = text.replace(r#"sinks = ["disk"]"#, r#"sinks = ["disk", "second"]"#);
        let sink = "\n[sink.second]\nplugin = \"local\"\ndirectory.root = { path = \"second\", access = \"read-write\" }\n";
        desk.0.write_configuration(&(text + sink)).unwrap();
    };
    let after = format!("ls {} > FROZEN/then", desk.path("second").display());
    frozen(&desk, "cp -a LIVE/. FROZEN", &after);
    second(&std::fs::read_to_string(desk.path("bulkhead.toml")).unwrap());
    desk.succeed(&["run", "home"]);
    assert_eq!(std::fs::read_to_string(desk.path("frozen/then")).unwrap(), "");
    assert_eq!(std::fs::read_dir(desk.path("second/snapshots")).unwrap().count(), 1);
}

#[test]
fn a_command_may_leave_something_running() {
    let desk = Desk::open("{}");
    let begun = std::time::Instant::now();
    frozen(
        &desk,
        "cp -a LIVE/. FROZEN; sleep 300 & echo $! > FROZEN/running",
        "kill $(cat FROZEN/running); rm FROZEN/running",
    );
    desk.succeed(&["run", "home"]);
    frozen(
        &desk,
        "sleep 300 & echo $! > FROZEN/running; echo no room for a snapshot >&2; exit 7",
        "kill $(cat FROZEN/running)",
    );
    let refused = desk.run(&["run", "home"]);
    assert!(refused.stderr.contains("no room for a snapshot"), "{}", refused.stderr);
    assert!(begun.elapsed().as_secs() < 200, "nobody waits for it");
}

#[test]
fn what_the_snapshot_before_has_lost_is_read_again() {
    let desk = Desk::open("{}");
    let packs = || -> std::collections::BTreeSet<std::path::PathBuf> {
        let folders = std::fs::read_dir(desk.path("vault/data")).unwrap();
        let packs = folders.flat_map(|folder| std::fs::read_dir(folder.unwrap().path()).unwrap());
        packs.map(|pack| pack.unwrap().path()).collect()
    };
    desk.succeed(&["run", "home"]);
    let first = packs();
    // What is new of the second snapshot has packs of its own, so that all of it is there but the folders that it shares with the first.
    std::fs::write(desk.path("home/folder 7/file-7"), "another content").unwrap();
    desk.succeed(&["run", "home"]);
    // The content has 9 MiB.
    let lost = first.iter().min_by_key(|pack| std::fs::metadata(pack).unwrap().len()).unwrap();
    std::fs::remove_file(lost).unwrap();
    assert_eq!(desk.run(&["repair", "index", "main", "--yes"]).code, Some(0));
    let report = desk.succeed(&["run", "home", "--json"]);
    assert!(report.contains("parent-damaged"), "{report}");
    desk.succeed(&["restore", "home", "--into", &desk.path("ours").display().to_string()]);
    assert_eq!(Tree::of(&desk.path("ours/home")).unwrap(), Tree::of(&desk.path("home")).unwrap());
}
