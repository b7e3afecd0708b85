//! Which compiler makes components here, and what to install where none does.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{TARGET, c, path_with};

/// Where Debian's `cargo-web` and `rustc-web` are.
const DEBIAN_BIN: &str = "/usr/bin";
/// Where Debian's `rust-web-src` is.
const DEBIAN_LIBRARY: &str = "/usr/lib/rustlib/src/rust/library";
/// Where Debian's `wasi-libc` is.
const DEBIAN_LIBC: &str = "/usr/lib/wasm32-wasi";
/// Debian's packages that bring Rust for components, in the order in which `apt-get` is told them.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// On for every plugin: memchr at 1.21 of native speed instead of 0.07 (measured).
const SIMD: &str = "-Ctarget-feature=+simd128";
/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// A toolchain that makes components.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Toolchain {
    /// The toolchain in use has the target's standard library: rustup's `target add`, or a distribution's equivalent.
    Target {
        /// Its folder.
        sysroot: PathBuf,
    },
    /// Debian's compiler, which builds the standard library from source; linkers from the toolchain in use.
    Debian {
        /// Folder with `wasm-component-ld` and `gcc-ld/wasm-ld`.
        linkers: PathBuf,
    },
}

/// A command that makes components possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remedy {
    /// The command with its arguments.
    pub command: Vec<String>,
    /// Whether root must run it.
    pub needs_root: bool,
}

impl fmt::Display for Remedy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.command.join(" "))?;
        formatter.write_str(if self.needs_root { "   (as root)" } else { "" })
    }
}

/// Something that makes components is not here. Any one of the remedies changes that, the first being the best.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingToolchain {
    /// What there is none of: "Rust toolchain", "C compiler".
    pub what: &'static str,
    /// What to run.
    pub remedies: Vec<Remedy>,
}

impl fmt::Display for MissingToolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "no {} here compiles plugins for {TARGET}; run one of", self.what)?;
        self.remedies.iter().try_for_each(|remedy| write!(formatter, "\n    {remedy}"))
    }
}

impl std::error::Error for MissingToolchain {}

impl fmt::Display for Toolchain {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Target { sysroot } => write!(formatter, "the {TARGET} target of {}", sysroot.display()),
            Self::Debian { .. } => write!(formatter, "Debian's rustc-web, with the standard library built from rust-web-src"),
        }
    }
}

impl Toolchain {
    /// Finds one: the target of the toolchain in use, else Debian's packages.
    ///
    /// # Errors
    /// [`MissingToolchain`] with the commands that install one.
    pub fn find() -> Result<Self, MissingToolchain> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let sysroot = sysroot(Path::new(&rustc));
        let find = |sysroot: &PathBuf| Self::in_sysroot(sysroot).or_else(|| Self::debian(sysroot, Path::new("/")));
        sysroot.as_ref().and_then(find).ok_or_else(MissingToolchain::rust)
    }

    /// The target's standard library in `sysroot`.
    fn in_sysroot(sysroot: &Path) -> Option<Self> {
        let libraries = sysroot.join("lib/rustlib").join(TARGET).join("lib");
        let is_std = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("libstd-");
        let found = std::fs::read_dir(libraries).ok()?.filter_map(Result::ok).any(is_std);
        found.then(|| Self::Target {
            sysroot: sysroot.to_owned(),
        })
    }

    /// Debian's packages below `root`, with the linkers of the toolchain in `sysroot`.
    fn debian(sysroot: &Path, root: &Path) -> Option<Self> {
        let needed = [
            "usr/bin/cargo",
            "usr/bin/rustc",
            "usr/lib/rustlib/src/rust/library/std/Cargo.toml",
            "usr/lib/wasm32-wasi/libc.a",
        ];
        let hosts = std::fs::read_dir(sysroot.join("lib/rustlib")).ok()?.filter_map(Result::ok);
        let linkers = hosts
            .map(|host| host.path().join("bin"))
            .find(|bin| bin.join("wasm-component-ld").is_file())?;
        needed
            .iter()
            .all(|file| root.join(file).exists())
            .then_some(Self::Debian { linkers })
    }

    /// The cargo to run.
    pub(crate) fn cargo(&self) -> PathBuf {
        match self {
            Self::Target { sysroot } => match sysroot.join("bin/cargo") {
                own if own.is_file() => own,
                _ => std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()).into(),
            },
            Self::Debian { .. } => Path::new(DEBIAN_BIN).join("cargo"),
        }
    }

    /// What `cargo build` is told beside the usual.
    pub(crate) fn build_arguments(&self) -> &'static [&'static str] {
        match self {
            Self::Target { .. } => &[],
            Self::Debian { .. } => &["-Zbuild-std=std,panic_abort"],
        }
    }

    /// The standard library's own workspace, where it is built from source. `cargo fetch -Zbuild-std` leaves its dependencies out.
    pub(crate) fn library_manifest(&self) -> Option<PathBuf> {
        match self {
            Self::Target { .. } => None,
            Self::Debian { .. } => Some(PathBuf::from(DEBIAN_LIBRARY).join("Cargo.toml")),
        }
    }

    /// Sets the environment that this toolchain needs.
    pub(crate) fn prepare(&self, command: &mut Command) {
        match self {
            Self::Target { sysroot } => {
                command.env("RUSTC", sysroot.join("bin/rustc")).env("CARGO_ENCODED_RUSTFLAGS", SIMD);
            }
            Self::Debian { linkers } => {
                let flags = [SIMD, "-Clink-self-contained=no", "-L", DEBIAN_LIBC].join(FLAG_SEPARATOR);
                command
                    .env("RUSTC_BOOTSTRAP", "1") // -Zbuild-std on a stable compiler
                    .env("RUSTC", Path::new(DEBIAN_BIN).join("rustc"))
                    .env("CARGO_TARGET_WASM32_WASIP2_LINKER", linkers.join("wasm-component-ld"))
                    .env("CARGO_ENCODED_RUSTFLAGS", flags)
                    .env("PATH", path_with(&linkers.join("gcc-ld")))
                    .env_remove("LD_LIBRARY_PATH") // the outer toolchain's libraries
                    .env_remove("RUSTUP_TOOLCHAIN");
            }
        }
    }
}

impl MissingToolchain {
    fn rust() -> Self {
        let rustup = Remedy {
            command: words(&["rustup", "target", "add", TARGET]),
            needs_root: false,
        };
        Self {
            what: "Rust toolchain",
            remedies: vec![rustup, install(&[&DEBIAN_PACKAGES[..], &c::DEBIAN_PACKAGES].concat())],
        }
    }

    pub(crate) fn c() -> Self {
        Self {
            what: "C compiler",
            remedies: vec![install(&c::DEBIAN_PACKAGES)],
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn install(packages: &[&str]) -> Remedy {
    Remedy {
        command: words(&[&["apt-get", "install", "--yes", "--no-install-recommends"], packages].concat()),
        needs_root: true,
    }
}

/// The folder of the toolchain that `rustc` belongs to.
fn sysroot(rustc: &Path) -> Option<PathBuf> {
    let output = Command::new(rustc)
        .args(["--print", "sysroot"])
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim_end()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use std::fs;

    use super::*;

    fn touch(root: &Path, file: &str) {
        fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
        fs::write(root.join(file), "").unwrap();
    }

    #[test]
    fn the_target_of_the_toolchain_in_use_comes_first() {
        let sysroot = tempfile::tempdir().unwrap();
        assert_eq!(Toolchain::in_sysroot(sysroot.path()), None);
        touch(sysroot.path(), "lib/rustlib/wasm32-wasip2/lib/libstd-0123.rlib");
        assert_eq!(
            Toolchain::in_sysroot(sysroot.path()),
            Some(Toolchain::Target {
                sysroot: sysroot.path().to_owned()
            })
        );
    }

    #[test]
    fn debians_packages_count_only_when_all_are_there() {
        let (sysroot, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        touch(sysroot.path(), "lib/rustlib/x86_64-unknown-linux-gnu/bin/wasm-component-ld");
        for file in [
            "usr/bin/cargo",
            "usr/bin/rustc",
            "usr/lib/rustlib/src/rust/library/std/Cargo.toml",
            "usr/lib/wasm32-wasi/libc.a",
        ] {
            assert_eq!(Toolchain::debian(sysroot.path(), root.path()), None);
            touch(root.path(), file);
        }
        let linkers = sysroot.path().join("lib/rustlib/x86_64-unknown-linux-gnu/bin");
        assert_eq!(Toolchain::debian(sysroot.path(), root.path()), Some(Toolchain::Debian { linkers }));
    }

    #[test]
    fn a_missing_toolchain_says_what_to_run() {
        let expected = "no Rust toolchain here compiles plugins for wasm32-wasip2; run one of\n    \
                        rustup target add wasm32-wasip2\n    \
                        apt-get install --yes --no-install-recommends rustc-web cargo-web rust-web-src clang-22 wasi-libc   (as root)";
        assert_eq!(MissingToolchain::rust().to_string(), expected);
        let expected = "no C compiler here compiles plugins for wasm32-wasip2; run one of\n    \
                        apt-get install --yes --no-install-recommends clang-22 wasi-libc   (as root)";
        assert_eq!(MissingToolchain::c().to_string(), expected);
    }
}
