//! What a component imports and exports, checked before anything of it runs.

use crate::{LoadError, PluginKind};

/// The version of bulkhead that has an ABI: they count together.
const ABI: (u64, u64, u64) = (0, 1, 0);
const PACKAGE: &str = "bulkhead:plugin/";

/// Interfaces of WASI 0.2 that every plugin has.
const WASI: [&str; 20] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stderr",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stderr",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// Interfaces of the ABI that both kinds may import.
const SHARED: [&str; 8] = ["types", "log", "progress", "digest", "secrets", "endpoint", "http", "directory"];
const SOURCE_ONLY: [&str; 4] = ["metadata", "entries", "snapshot", "parts"];
const SINK_ONLY: [&str; 1] = ["content"];

/// Splits "namespace:package/interface@1.2.3".
fn split(name: &str) -> (&str, Option<(u64, u64, u64)>) {
    let Some((interface, version)) = name.split_once('@') else {
        return (name, None);
    };
    let release = version.split(['-', '+']).next().unwrap_or_default();
    let mut numbers = release.split('.').map(|number| number.parse().ok());
    let mut next = || numbers.next().flatten();
    let version = match (next(), next(), next()) {
        (Some(major), Some(minor), Some(patch)) => Some((major, minor, patch)),
        _ => None,
    };
    (interface, version)
}

/// Source or sink, by the exports.
pub(crate) fn kind<'a>(exports: impl Iterator<Item = &'a str>) -> Result<PluginKind, LoadError> {
    let (mut source, mut sink) = (false, false);
    for export in exports {
        let (interface, version) = split(export);
        match interface.strip_prefix(PACKAGE) {
            Some("source") => source = true,
            Some("sink") => sink = true,
            _ => continue,
        }
        check_version(export, version)?;
    }
    match (source, sink) {
        (true, false) => Ok(PluginKind::Source),
        (false, true) => Ok(PluginKind::Sink),
        (true, true) => Err(LoadError::Exports("both")),
        (false, false) => Err(LoadError::Exports("neither")),
    }
}

/// Whether every import is one that a plugin of this kind may have.
pub(crate) fn check<'a>(kind: PluginKind, imports: impl Iterator<Item = &'a str>) -> Result<(), LoadError> {
    for import in imports {
        let (interface, version) = split(import);
        let unknown = || LoadError::UnknownImport(import.to_owned());
        if let Some(name) = interface.strip_prefix(PACKAGE) {
            check_version(import, version)?;
            let of_kind: &[&str] = match kind {
                PluginKind::Source => &SOURCE_ONLY,
                PluginKind::Sink => &SINK_ONLY,
            };
            if !SHARED.contains(&name) && !of_kind.contains(&name) {
                return Err(unknown());
            }
        } else if !WASI.contains(&interface) || !matches!(version, Some((0, 2, _))) {
            return Err(unknown());
        }
    }
    Ok(())
}

fn check_version(name: &str, version: Option<(u64, u64, u64)>) -> Result<(), LoadError> {
    match version {
        Some(ABI) => Ok(()),
        Some(newer) if newer > ABI => {
            let needs = format!("{}.{}.{}", newer.0, newer.1, newer.2);
            Err(LoadError::NewerAbi {
                needs,
                import: name.to_owned(),
            })
        }
        _ => Err(LoadError::UnknownImport(name.to_owned())),
    }
}

/// The capability interface that an import names, if it is one that has to be granted.
pub(crate) fn capability(import: &str) -> Option<&str> {
    let (interface, _) = split(import);
    let name = interface.strip_prefix(PACKAGE)?;
    matches!(name, "endpoint" | "http" | "directory" | "secrets").then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_abi_and_the_harmless_part_of_wasi_are_known() {
        let check = |import: &str| check(PluginKind::Source, std::iter::once(import)).map_err(|error| error.to_string());
        for good in [
            "bulkhead:plugin/endpoint@0.1.0",
            "wasi:io/streams@0.2.12",
            "wasi:clocks/wall-clock@0.2.0",
        ] {
            assert_eq!(check(good), Ok(()));
        }
        for bad in [
            "wasi:sockets/tcp@0.2.0",
            "wasi:http/outgoing-handler@0.2.0",
            "wasi:clocks/wall-clock@0.3.0",
            "wasi:io/streams",
            "bulkhead:plugin/content@0.1.0",
            "bulkhead:plugin/endpoint",
            "bulkhead:plugin/shell@0.1.0",
            "env",
        ] {
            assert!(check(bad).is_err_and(|message| message.contains(&format!("`{bad}`"))), "{bad}");
        }
        assert!(check("bulkhead:plugin/endpoint@0.2.0").is_err_and(|message| message.contains("needs bulkhead ≥ 0.2.0")));
    }

    #[test]
    fn a_plugin_is_exactly_one_kind() {
        let (source, sink) = ("bulkhead:plugin/source@0.1.0", "bulkhead:plugin/sink@0.1.0");
        assert!(matches!(kind([source].into_iter()), Ok(PluginKind::Source)));
        assert!(matches!(kind(["other", sink].into_iter()), Ok(PluginKind::Sink)));
        assert!(matches!(kind([source, sink].into_iter()), Err(LoadError::Exports("both"))));
        assert!(matches!(kind(["other"].into_iter()), Err(LoadError::Exports("neither"))));
        assert!(matches!(
            kind(["bulkhead:plugin/source@1.0.0"].into_iter()),
            Err(LoadError::NewerAbi { .. })
        ));
    }
}
