//! What an outer cargo leaves in the environment of a build script or test must not reach the inner one: it is about another target, with other flags.

use std::process::Command;

/// Variables beginning with `CARGO_` that say where cargo finds things, and so hold for the inner one too. All others describe the outer build.
const KEPT: &[&str] = &[
    "CARGO_HOME",
    "CARGO_HTTP_",
    "CARGO_MAKEFLAGS",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_REGISTRY_",
    "CARGO_SOURCE_",
    "CARGO_TERM_",
];

/// What cargo sets for build scripts beside `CARGO_…`, and compiler settings that a user makes for the host.
const REMOVED: &[&str] = &[
    "DEBUG",
    "HOST",
    "NUM_JOBS",
    "OPT_LEVEL",
    "OUT_DIR",
    "PROFILE",
    "RUSTC",
    "RUSTC_BOOTSTRAP",
    "RUSTC_LINKER",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTDOCFLAGS",
    "RUSTFLAGS",
    "TARGET",
];

/// Whether the inner cargo may see the variable.
fn is_kept(name: &str) -> bool {
    if name.starts_with("CARGO_") {
        return KEPT.iter().any(|kept| name.starts_with(kept));
    }
    name != "CARGO" && !name.starts_with("DEP_") && !REMOVED.contains(&name)
}

/// Takes the outer cargo's variables out of `command`'s environment.
pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| !is_kept(name)) {
            command.env_remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outer_builds_flags_do_not_reach_the_inner_one() {
        for name in [
            "RUSTFLAGS",
            "CARGO_ENCODED_RUSTFLAGS",
            "RUSTC_WRAPPER",
            "CARGO_TARGET_DIR",
            "CARGO_BUILD_TARGET",
            "TARGET",
            "CARGO",
            "DEP_Z_ROOT",
        ] {
            assert!(!is_kept(name), "{name}");
        }
    }

    #[test]
    fn registries_and_the_users_own_environment_stay() {
        for name in [
            "PATH",
            "HOME",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
            "CARGO_REGISTRIES_INHOUSE_INDEX",
            "HTTPS_PROXY",
            "RUSTUP_HOME",
        ] {
            assert!(is_kept(name), "{name}");
        }
    }
}
