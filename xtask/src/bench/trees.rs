//! What is backed up: trees that are the same on every machine, and change in the same way.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bulkhead_test_support::mutation::Random;

use crate::console::size as shown;
use crate::error::{Error, Result};
use crate::process;

/// A kind of tree.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Kind {
    /// Files of 0 to 20 KiB of text, 500 to a folder.
    Small,
    /// One file, half of it text and half of it noise, in stretches of 1 MiB.
    Large,
    /// Source code: text that repeats itself, files of 0 to 60 KiB in nested folders.
    Source,
    /// Files of 16 MiB, as dumps of databases are: half of each text and half of it noise, in stretches of 1 MiB.
    Dumps,
}

/// Size of each of the dumps.
const DUMP: u64 = 16 << 20;

/// Words of the texts.
const WORDS: &str = "the of backup file snapshot and a to vault in is that chunk for it was on are as with his they at be this have from or one had by word but not \
    what all were we when your can said there use an each which she do how their if will up other about out many then them these so some her would make like \
    fn let mut struct impl return match self pub crate use async await move where trait enum const static";

impl Kind {
    pub(super) fn default_mebibytes(self) -> u64 {
        match self {
            Self::Small => 1000,
            Self::Large => 10 << 10,
            Self::Source => 1 << 10,
            Self::Dumps => 2 << 10,
        }
    }

    pub(super) fn describe(self, size: u64) -> String {
        let kind = match self {
            Self::Small => "small files of text",
            Self::Large => "one file, half text, half noise",
            Self::Source => "source code",
            Self::Dumps => "files of 16 MiB, half text, half noise",
        };
        format!("{}, {kind}", shown(size))
    }

    pub(super) fn remark(self) -> &'static str {
        match self {
            Self::Large => "Changed are 16 KiB in each 100 MiB of the file, each time elsewhere.",
            Self::Dumps => "Changed is one file in a hundred, in its middle.",
            Self::Small | Self::Source => {
                "Each change is what a release does: one file in a hundred has a new line in its middle, one in two hundred is gone, and as many are new; a \
                 folder has another name."
            }
        }
    }

    /// Makes a tree of about `size` bytes.
    pub(super) fn make(self, tree: &Path, size: u64) -> Result<()> {
        let mut random = Random::new(0x5EED);
        let words = words();
        match self {
            Self::Large => large(&tree.join("large"), size, &words, &mut random),
            Self::Small => many(tree, size, 20 << 10, 500, &words, &mut random),
            Self::Source => many(tree, size, 60 << 10, 40, &words, &mut random),
            Self::Dumps => (0..size.div_ceil(DUMP)).try_for_each(|number| {
                let length = DUMP.min(size - number * DUMP);
                large(&tree.join(format!("dump-{number:03}")), length, &words, &mut random)
            }),
        }
    }

    /// Changes it a little, each `version` elsewhere.
    pub(super) fn change(self, tree: &Path, size: u64, version: u64) -> Result<()> {
        match self {
            Self::Large => {
                let places = (version << 20..size).step_by(100 << 20);
                places
                    .into_iter()
                    .try_for_each(|place| overwrite(&tree.join("large"), place, &[b'~'; 16 << 10]))
            }
            Self::Dumps => files(tree)?
                .iter()
                .skip(version as usize)
                .step_by(100)
                .try_for_each(|path| overwrite(path, DUMP / 2, b"a change")),
            Self::Small | Self::Source => edit(tree, version),
        }
    }
}

fn overwrite(path: &Path, place: u64, bytes: &[u8]) -> Result<()> {
    let failed = || Error::io("cannot change the tree");
    let file = File::options().write(true).open(path).map_err(failed())?;
    file.write_all_at(bytes, place).map_err(failed())
}

/// What a release of a source tree does: of a hundred files one gets a line in its middle, and of two hundred one goes and one comes; a folder has
/// another name.
fn edit(tree: &Path, version: u64) -> Result<()> {
    let failed = || Error::io("cannot change the tree");
    let files = files(tree)?;
    for path in files.iter().skip(version as usize).step_by(100) {
        let mut content = fs::read(path).map_err(failed())?;
        let middle = content.len() / 2;
        content.splice(middle..middle, format!("\nlet version = {version};\n").into_bytes());
        fs::write(path, content).map_err(failed())?;
    }
    for path in files.iter().skip(50 + version as usize).step_by(200) {
        let new = path.with_extension(format!("version-{version}"));
        fs::write(new, format!("new in version {version}: {}\n", path.display())).map_err(failed())?;
        fs::remove_file(path).map_err(failed())?;
    }
    let Some(folder) = files.last().and_then(|file| file.parent()) else {
        return Ok(());
    };
    fs::rename(folder, folder.with_extension(format!("version-{version}"))).map_err(failed())
}

/// What texts are made of.
pub(super) fn words() -> Vec<&'static str> {
    WORDS.split_whitespace().collect()
}

/// Lines of at least `length` bytes.
pub(super) fn text(length: u64, words: &[&str], random: &mut Random) -> String {
    let mut text = String::new();
    while (text.len() as u64) < length {
        text.push_str(random.pick(words).copied().unwrap_or_default());
        text.push(if random.below(12) == 0 { '\n' } else { ' ' });
    }
    text
}

fn many(tree: &Path, size: u64, largest: u64, in_a_folder: u64, words: &[&str], random: &mut Random) -> Result<()> {
    let failed = || Error::io("cannot make the tree");
    let (mut made, mut number) = (0, 0_u64);
    while made < size {
        let (group, folder) = (number / in_a_folder / 50, number / in_a_folder);
        let folder = tree.join(format!("group-{group}/folder-{folder}"));
        if number.is_multiple_of(in_a_folder) {
            fs::create_dir_all(&folder).map_err(failed())?;
        }
        let content = text(random.below(largest), words, random);
        fs::write(folder.join(format!("file-{number}.txt")), &content).map_err(failed())?;
        (made, number) = (made + content.len() as u64, number + 1);
    }
    Ok(())
}

fn large(path: &Path, size: u64, words: &[&str], random: &mut Random) -> Result<()> {
    let failed = || Error::io("cannot make the large file");
    let mut file = BufWriter::new(File::create(path).map_err(failed())?);
    let phrases = text(4 << 20, words, random);
    for stretch in 0..size >> 20 {
        let part: Vec<u8> = if stretch % 2 == 0 {
            let begin = random.below(3 << 20) as usize;
            // Numbered, so that no two stretches are the same.
            let mut part = phrases.as_bytes()[begin..begin + (1 << 20)].to_vec();
            part.chunks_mut(4096)
                .for_each(|page| page[..8].copy_from_slice(&random.below(u64::MAX).to_le_bytes()));
            part
        } else {
            (0..1 << 17).flat_map(|_| random.below(u64::MAX).to_le_bytes()).collect()
        };
        file.write_all(&part).map_err(failed())?;
    }
    file.flush().map_err(failed())
}

/// All files, in order.
fn files(tree: &Path) -> Result<Vec<PathBuf>> {
    let failed = || Error::io("cannot list the tree");
    let (mut files, mut folders) = (Vec::new(), vec![tree.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).map_err(failed())? {
            let path = entry.map_err(failed())?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    Ok(files)
}

/// Whether two trees are the same, as `diff` sees it.
pub(super) fn same(expected: &Path, found: &Path) -> Result<()> {
    process::run(Command::new("diff").arg("--recursive").arg("--brief").arg(expected).arg(found))
}
