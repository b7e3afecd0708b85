//! What is no plugin is refused, and the refusal says why.

use bulkhead_runtime::{LoadError, LoadLimits, PluginDigest, PluginKind};

use crate::setup::{components, fresh_runtime};

async fn refusal(component: &[u8]) -> LoadError {
    fresh_runtime().0.load(component, &LoadLimits::default()).await.err().unwrap()
}

async fn refusal_of_text(text: &str) -> LoadError {
    refusal(&wat::parse_str(text).unwrap()).await
}

/// A component that imports `name` and exports the interface `source`, without anything in it.
fn importing(name: &str) -> String {
    format!(r#"(component (import "{name}" (instance)) (instance $none) (export "bulkhead:plugin/source@0.1.0" (instance $none)))"#)
}

#[tokio::test]
async fn what_is_no_component_is_named_for_what_it_is() {
    assert!(matches!(refusal(b"#!/bin/sh\n").await, LoadError::NotWebAssembly));
    assert!(matches!(refusal(b"").await, LoadError::NotWebAssembly));
    assert!(matches!(refusal_of_text("(module)").await, LoadError::CoreModule));
    let mut damaged = std::fs::read(&components()[0]).unwrap();
    damaged.truncate(damaged.len() / 2);
    assert!(matches!(refusal(&damaged).await, LoadError::Invalid(_)));
}

#[tokio::test]
async fn precompiled_code_is_never_loaded() {
    let (runtime, folder) = fresh_runtime();
    let component = std::fs::read(&components()[1]).unwrap();
    runtime.load(&component, &LoadLimits::default()).await.unwrap();
    let compiled = std::fs::read_dir(folder.path().join("cache"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    assert!(matches!(refusal(&std::fs::read(compiled).unwrap()).await, LoadError::Precompiled));
}

#[tokio::test]
async fn an_import_outside_the_abi_is_named() {
    for name in ["wasi:sockets/tcp@0.2.0", "wasi:http/outgoing-handler@0.2.0", "acme:shell/run@1.0.0"] {
        match refusal_of_text(&importing(name)).await {
            LoadError::UnknownImport(import) => assert_eq!(import, name),
            other => panic!("{other}"),
        }
    }
}

#[tokio::test]
async fn a_newer_abi_asks_for_a_newer_host() {
    let error = refusal_of_text(&importing("bulkhead:plugin/endpoint@0.2.0")).await;
    assert_eq!(
        error.to_string(),
        "the component needs bulkhead ≥ 0.2.0: it was built for `bulkhead:plugin/endpoint@0.2.0`"
    );
    assert!(error.hint().is_some());
}

#[tokio::test]
async fn a_component_that_is_no_plugin_is_refused() {
    assert!(matches!(refusal_of_text("(component)").await, LoadError::Exports("neither")));
}

#[tokio::test]
async fn size_and_digest_are_checked_before_anything_else() {
    let (runtime, _folder) = fresh_runtime();
    let limits = LoadLimits {
        component_size: 1000,
        ..LoadLimits::default()
    };
    let error = runtime.load(&[0; 1001], &limits).await.err().unwrap();
    assert_eq!(error.to_string(), "the component exceeds the limit `component-size` of 1000 B");
    let endless = std::path::Path::new("/dev/zero");
    let error = runtime.load_file(endless, None, &limits).await.err().unwrap();
    assert!(matches!(error, LoadError::Limit { .. }), "{error}");
    let other = PluginDigest::of(b"something else");
    let error = runtime
        .load_file(&components()[0], Some(other), &LoadLimits::default())
        .await
        .err()
        .unwrap();
    assert!(matches!(error, LoadError::Digest { .. }));
}

#[tokio::test]
async fn compiling_has_a_time_limit() {
    let limits = LoadLimits {
        compile_time: std::time::Duration::from_millis(1),
        ..LoadLimits::default()
    };
    let error = fresh_runtime().0.load_file(&components()[0], None, &limits).await.err().unwrap();
    assert_eq!(error.to_string(), "the component exceeds the limit `compile-time` of 1 ms");
}

#[tokio::test]
async fn a_plugin_describes_itself() {
    let plugin = crate::setup::load(0).await;
    assert_eq!(
        (plugin.kind(), plugin.description().name.as_str()),
        (PluginKind::Source, "misbehaving-source")
    );
    assert_eq!(plugin.digest(), PluginDigest::of(&std::fs::read(&components()[0]).unwrap()));
    assert!(plugin.description().config_schema.is_object());
    assert!(plugin.imports().iter().any(|import| import == "bulkhead:plugin/entries@0.1.0"));
}

#[tokio::test]
async fn wasi_of_two_generations_links_in_one_component() {
    // As where a standard library and an adapter inside one component come from different years: only the ABI's types are compared then.
    let import = |version: &str| {
        format!(
            r#"(import "wasi:io/error@{version}" (instance $error{id} (export "error" (type (sub resource)))))
               (alias export $error{id} "error" (type $t{id}))
               (import "wasi:io/streams@{version}" (instance (alias outer 1 $t{id} (type $outer)) (export "error" (type (eq $outer)))))"#,
            id = version.replace('.', "")
        )
    };
    let exports = r#"(instance $none) (export "bulkhead:plugin/source@0.1.0" (instance $none))"#;
    let error = refusal_of_text(&format!("(component {} {} {exports})", import("0.2.4"), import("0.2.12"))).await;
    // The imports are found; what is missing is what the component should export.
    assert!(
        error.to_string().contains("no exported") || error.to_string().contains("`describe`"),
        "{error}"
    );
}
