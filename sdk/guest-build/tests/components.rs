//! Every plugin of the workspace becomes a component that asks for nothing but the plugin ABI and the parts of WASI that do no harm.
#![expect(clippy::unwrap_used, reason = "tests")]

use std::path::Path;

use bulkhead_guest_build::GuestBuild;
use wasmparser::{Parser, Payload};

/// All first-party plugins, the tests' own and the examples.
const PACKAGES: &[&str] = &[
    "bulkhead-plugin-local",
    "bulkhead-plugin-postgres",
    "http-source",
    "misbehaving-sink",
    "misbehaving-source",
];

/// What a plugin may import. The host links the rest of WASI empty or not at all.
const ALLOWED: &[&str] = &[
    "bulkhead:plugin/",
    "wasi:cli/",
    "wasi:clocks/",
    "wasi:filesystem/",
    "wasi:io/",
    "wasi:random/",
];

fn names(component: &Path, exports: bool) -> Vec<String> {
    let bytes = std::fs::read(component).unwrap();
    let mut names = Vec::new();
    let mut depth = 0;
    for payload in Parser::new(0).parse_all(&bytes) {
        match payload.unwrap() {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) if depth > 0 => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 && !exports => {
                names.extend(section.into_iter().map(|import| import.unwrap().name.name.to_owned()));
            }
            Payload::ComponentExportSection(section) if depth == 0 && exports => {
                names.extend(section.into_iter().map(|export| export.unwrap().name.name.to_owned()));
            }
            _ => {}
        }
    }
    names
}

#[test]
fn components_import_nothing_but_the_abi_and_harmless_wasi() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let built = GuestBuild::new(workspace, PACKAGES).build().unwrap();
    assert_eq!(built.components.len(), PACKAGES.len());
    for component in built.components {
        let imports = names(&component, false);
        assert!(
            imports.iter().any(|name| name.starts_with("bulkhead:plugin/directory@")),
            "{component:?}: {imports:?}"
        );
        for name in imports {
            assert!(
                ALLOWED.iter().any(|allowed| name.starts_with(allowed)),
                "{component:?} imports {name}"
            );
        }
        let exports = names(&component, true);
        let kinds = ["bulkhead:plugin/source@0.1.0", "bulkhead:plugin/sink@0.1.0"];
        assert_eq!(
            exports.iter().filter(|name| kinds.contains(&name.as_str())).count(),
            1,
            "{component:?}: {exports:?}"
        );
        assert_eq!(exports.len(), 1, "{component:?}: {exports:?}");
    }
}
