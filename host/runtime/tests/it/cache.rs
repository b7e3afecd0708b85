//! The compile cache: used, never trusted blindly.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bulkhead_runtime::{LoadError, LoadLimits, Runtime, RuntimeError, RuntimeOptions};

use crate::setup::{components, fresh_runtime};

fn reopen(folder: &Path) -> Result<Runtime, RuntimeError> {
    Runtime::new(RuntimeOptions {
        cache: folder.join("cache"),
    })
}

async fn load(runtime: &Runtime) -> Result<(), LoadError> {
    runtime.load_file(&components()[1], None, &LoadLimits::default()).await.map(|_| ())
}

fn only_file(folder: &Path) -> PathBuf {
    let mut files = fs::read_dir(folder.join("cache")).unwrap().map(|entry| entry.unwrap().path());
    let file = files.next().unwrap();
    assert_eq!(files.next(), None, "nothing temporary is left");
    file
}

fn modified(path: &Path) -> std::time::SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[tokio::test]
async fn a_component_is_compiled_once() {
    let (runtime, folder) = fresh_runtime();
    load(&runtime).await.unwrap();
    let file = only_file(folder.path());
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(
        fs::metadata(folder.path().join("cache")).unwrap().permissions().mode() & 0o777,
        0o700
    );
    let compiled = modified(&file);
    load(&reopen(folder.path()).unwrap()).await.unwrap();
    assert_eq!(modified(&file), compiled);
}

#[tokio::test]
async fn a_damaged_file_is_compiled_anew() {
    let (runtime, folder) = fresh_runtime();
    load(&runtime).await.unwrap();
    let file = only_file(folder.path());
    let good = fs::read(&file).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for damage in [&flipped[..], &good[..good.len() / 3], b""] {
        fs::write(&file, damage).unwrap();
        load(&reopen(folder.path()).unwrap()).await.unwrap();
        assert_eq!(fs::read(&file).unwrap().len(), good.len());
    }
}

#[tokio::test]
async fn what_others_could_have_written_is_refused() {
    let (runtime, folder) = fresh_runtime();
    load(&runtime).await.unwrap();
    let file = only_file(folder.path());
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    let error = load(&reopen(folder.path()).unwrap()).await.unwrap_err();
    assert!(matches!(error, LoadError::Cache(RuntimeError::ForeignCache { .. })), "{error}");

    let target = folder.path().join("target");
    fs::rename(&file, &target).unwrap();
    std::os::unix::fs::symlink(&target, &file).unwrap();
    assert!(load(&reopen(folder.path()).unwrap()).await.is_err(), "a link is not followed");
    fs::remove_file(&file).unwrap();

    fs::set_permissions(folder.path().join("cache"), Permissions::from_mode(0o777)).unwrap();
    let error = reopen(folder.path()).err().unwrap();
    assert!(error.to_string().contains("is writable by others (mode 0777)"), "{error}");
}

#[tokio::test]
async fn a_file_of_another_user_is_refused() {
    let (runtime, folder) = fresh_runtime();
    load(&runtime).await.unwrap();
    let file = only_file(folder.path());
    // Only root can give a file away; anybody else cannot have this attack made by the test.
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(65534), None).unwrap();
        let error = load(&reopen(folder.path()).unwrap()).await.unwrap_err();
        assert!(error.to_string().contains("belongs to user 65534"), "{error}");
    }
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_costs_time_only() {
    let (runtime, folder) = fresh_runtime();
    fs::remove_dir(folder.path().join("cache")).unwrap();
    load(&runtime).await.unwrap();
}

#[tokio::test]
async fn a_cache_that_cannot_be_read_costs_time_only() {
    let (runtime, folder) = fresh_runtime();
    load(&runtime).await.unwrap();
    let file = only_file(folder.path());
    // Opening a folder succeeds, reading it does not: an error of input and output, for root too.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    load(&reopen(folder.path()).unwrap()).await.unwrap();
}
