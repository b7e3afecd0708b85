//! Compiles plugins to WebAssembly components: one entry point, [`GuestBuild::build`], that hides the toolchain.
//!
//! Rust's own way is `rustup target add wasm32-wasip2`. A build host that cannot download from static.rust-lang.org has Debian's packages instead,
//! which bring the compiler's library as source; [`Toolchain`] finds what is there and says which it is. The callers are build scripts (the embedded
//! plugins), `cargo xtask` and tests, so the environment that an outer cargo sets is kept from the inner one.

mod c;
mod environment;
mod toolchain;

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

pub use c::CCompiler;
pub use toolchain::{MissingToolchain, Remedy, Toolchain};

/// The compilation target of every plugin.
pub const TARGET: &str = "wasm32-wasip2";

/// The profile of the workspace's `Cargo.toml` that plugins are compiled with.
pub const PROFILE: &str = "guest";

/// Which plugins to build. All in one run of cargo, so that they share what they stand on.
#[derive(Debug, Clone)]
pub struct GuestBuild {
    /// Folder of the `Cargo.toml` of their workspace, which has a profile `guest`.
    pub workspace: PathBuf,
    /// Packages of that workspace with `crate-type = ["cdylib"]`.
    pub packages: Vec<String>,
    /// Where cargo keeps its artefacts. Never the folder of a cargo that is at work at the same time: the two would wait for each other.
    pub target_dir: PathBuf,
    /// Only errors on stderr.
    pub quiet: bool,
}

/// The components that were built.
#[derive(Debug)]
pub struct Built {
    /// What built them.
    pub toolchain: Toolchain,
    /// Their files, in the order of [`GuestBuild::packages`].
    pub components: Vec<PathBuf>,
}

/// Why there are no components.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// No toolchain can compile for WebAssembly here.
    #[error(transparent)]
    Toolchain(#[from] MissingToolchain),
    /// Cargo did not start.
    #[error("{program} cannot be started")]
    Start {
        /// Its path.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Cargo failed; its own messages are on stderr.
    #[error("{toolchain} could not build {packages} ({status})")]
    Compile {
        /// What was asked for.
        packages: String,
        /// What built.
        toolchain: Box<Toolchain>,
        /// How cargo ended.
        status: ExitStatus,
    },
    /// Cargo could not download; its own messages are on stderr.
    #[error("cargo could not download what the plugins are built from ({status})")]
    Fetch {
        /// How cargo ended.
        status: ExitStatus,
    },
    /// Cargo succeeded, but made no component: the package is no `cdylib`.
    #[error("cargo built {package}, but there is no {}; its Cargo.toml needs `crate-type = [\"cdylib\"]` under [lib]", path.display())]
    NoComponent {
        /// The package.
        package: String,
        /// Where its component was expected.
        path: PathBuf,
    },
}

/// What compiles plugins here: the Rust toolchain, and the compiler for the C in some of them.
///
/// # Errors
/// [`MissingToolchain`] with the commands that install what there is none of.
pub fn find() -> Result<(Toolchain, CCompiler), MissingToolchain> {
    Ok((Toolchain::find()?, CCompiler::find().ok_or_else(MissingToolchain::c)?))
}

impl GuestBuild {
    /// A build of `packages` in the workspace at `workspace`, into its `target/guest`.
    #[must_use]
    pub fn new(workspace: impl Into<PathBuf>, packages: &[&str]) -> Self {
        let workspace = workspace.into();
        let target_dir = workspace.join("target/guest");
        Self {
            workspace,
            packages: packages.iter().map(|name| (*name).to_owned()).collect(),
            target_dir,
            quiet: false,
        }
    }

    /// Downloads all that [`GuestBuild::build`] needs, so that it works offline afterwards (`CARGO_NET_OFFLINE=true`): the plugins' dependencies, and
    /// those of the standard library where that is built from source.
    ///
    /// # Errors
    /// [`BuildError::Toolchain`], [`BuildError::Start`], and [`BuildError::Fetch`].
    pub fn fetch(&self) -> Result<(), BuildError> {
        let toolchain = Toolchain::find()?;
        fetch(&toolchain, &self.workspace.join("Cargo.toml"), &[])?;
        // Its lock file is not ours to update.
        toolchain
            .library_manifest()
            .map_or(Ok(()), |manifest| fetch(&toolchain, &manifest, &["--locked"]))
    }

    /// Builds what has changed and returns all components. Half a second where nothing has; cargo's messages go to stderr.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn build(&self) -> Result<Built, BuildError> {
        let (toolchain, c) = find()?;
        let mut command = self.command(&toolchain);
        c.prepare(&mut command);
        let status = command.status().map_err(|source| BuildError::Start {
            program: command.get_program().into(),
            source,
        })?;
        if !status.success() {
            return Err(BuildError::Compile {
                packages: self.packages.join(", "),
                toolchain: Box::new(toolchain),
                status,
            });
        }
        let components = self
            .packages
            .iter()
            .map(|package| self.component(package))
            .collect::<Result<_, _>>()?;
        Ok(Built { toolchain, components })
    }

    /// Cargo with its arguments, in an environment of its own.
    fn command(&self, toolchain: &Toolchain) -> Command {
        let mut command = Command::new(toolchain.cargo());
        environment::clean(&mut command);
        command.args(["build", "--target", TARGET, "--profile", PROFILE]);
        command.arg("--manifest-path").arg(self.workspace.join("Cargo.toml"));
        command.arg("--target-dir").arg(&self.target_dir);
        command.args(self.packages.iter().flat_map(|package| ["--package", package]));
        if self.quiet {
            command.arg("--quiet");
        }
        command.args(toolchain.build_arguments());
        toolchain.prepare(&mut command);
        command
    }

    /// Where cargo puts the component of `package`.
    fn component(&self, package: &str) -> Result<PathBuf, BuildError> {
        let file = format!("{}.wasm", package.replace('-', "_"));
        let path = self.target_dir.join(TARGET).join(PROFILE).join(file);
        if path.is_file() {
            Ok(path)
        } else {
            Err(BuildError::NoComponent {
                package: package.to_owned(),
                path,
            })
        }
    }
}

/// `cargo fetch` for one workspace.
fn fetch(toolchain: &Toolchain, manifest: &Path, arguments: &[&str]) -> Result<(), BuildError> {
    let mut command = Command::new(toolchain.cargo());
    environment::clean(&mut command);
    toolchain.prepare(&mut command);
    command.arg("fetch").args(arguments).arg("--manifest-path").arg(manifest);
    let status = run(&mut command)?;
    if status.success() {
        Ok(())
    } else {
        Err(BuildError::Fetch { status })
    }
}

/// Runs it to its end.
fn run(command: &mut Command) -> Result<ExitStatus, BuildError> {
    command.status().map_err(|source| BuildError::Start {
        program: command.get_program().into(),
        source,
    })
}

/// `PATH` with `folder` in front.
fn path_with(folder: &Path) -> OsString {
    let old = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(folder.to_owned()).chain(std::env::split_paths(&old));
    std::env::join_paths(folders).unwrap_or(old)
}
