//! Fuzzing without a nightly compiler: [`mutate`] changes inputs from real servers at random and hands them to a reader, so many times. A test that
//! compares what becomes of each input does the same step by step, with [`Random::change`].
//!
//! A reader passes if it neither panics nor hangs whatever it gets; what it answers is the test's business. The changes are the same in each run.
//! `BULKHEAD_MUTATIONS` says how many inputs are made of each seed, for a run that looks further; a failure of `mutate` writes its input to a file.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Changes of one input, at most.
const CHANGES: u64 = 6;

/// Numbers that readers stumble over, as lengths and counts above all.
const ODD: [u64; 12] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];

/// How many inputs are made of each seed: `default`, or what was asked for.
#[must_use]
pub fn count(default: u64) -> u64 {
    let asked = std::env::var("BULKHEAD_MUTATIONS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(default)
}

/// Hands the seeds to `read`, and then [`count`] changed copies for each of them.
///
/// # Panics
/// When `read` does, after telling which input it was.
pub fn mutate(name: &str, seeds: &[Vec<u8>], default: u64, mut read: impl FnMut(&[u8])) {
    let mut random = Random::new(0x9E37_79B9_7F4A_7C15);
    let copies = seeds.len() as u64 * count(default);
    let changed = std::iter::repeat_with(|| changed(seeds, &mut random)).take(usize::try_from(copies).unwrap_or(usize::MAX));
    for input in seeds.iter().cloned().chain(changed) {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| read(&input))) {
            report(name, &input);
            resume_unwind(panic);
        }
    }
}

#[expect(clippy::print_stderr, reason = "the test runner shows it with the failure")]
fn report(name: &str, input: &[u8]) {
    let file = std::env::temp_dir().join(format!("bulkhead-mutation-{name}-{}", std::process::id()));
    let written = std::fs::write(&file, input);
    eprintln!("{name}: the input is in {} ({written:?})", file.display());
}

/// A seed with a few changes.
fn changed(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = random.pick(seeds).cloned().unwrap_or_default();
    for _ in 0..=random.below(CHANGES) {
        let other = random.pick(seeds).map_or(&[][..], Vec::as_slice);
        random.change(&mut input, other, &[]);
    }
    input
}

/// Numbers that come at random, and are the same in each run. Marsaglia's xorshift: quick, and good enough to find a place.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// Begins with `seed`, which is not 0.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `bound`; 0 below 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound.max(1)
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }

    /// Bytes that nothing compresses.
    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        let numbers = std::iter::repeat_with(|| self.next().to_le_bytes());
        numbers.take(length.div_ceil(8)).flatten().take(length).collect()
    }

    /// One of them; `None` of none.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = self.index(from.len());
        from.get(index)
    }

    /// A part of `length` bytes, short as a rule; not empty unless `length` is 0.
    pub fn part(&mut self, length: usize) -> Range<usize> {
        let longest = [8, 64, 4096][self.index(3)];
        let start = self.index(length);
        start..(start + 1 + self.index(longest)).min(length)
    }

    /// Changes `input` in one place: bits, numbers, parts that go, come twice or come from `other`, and `words` that mean something to its reader.
    pub fn change(&mut self, input: &mut Vec<u8>, other: &[u8], words: &[&[u8]]) {
        let at = self.index(input.len());
        match self.below(if words.is_empty() { 8 } else { 11 }) {
            0 => self.flip(input, at),
            1 | 2 => self.overwrite(input, at),
            3 => input.truncate(at),
            4 => drop(input.drain(self.part(input.len()))),
            5 => {
                let copy = input[self.part(input.len())].to_vec();
                input.splice(at..at, copy);
            }
            6 => {
                let foreign = other[self.part(other.len())].to_vec();
                input.splice(at..at, foreign);
            }
            7 => {
                let part = self.part(input.len());
                input[part].iter_mut().for_each(|byte| *byte = self.next().to_le_bytes()[7]);
            }
            _ => self.put_word(input, at, words),
        }
    }

    fn flip(&mut self, input: &mut [u8], at: usize) {
        if let Some(byte) = input.get_mut(at) {
            *byte ^= 1 << self.below(8);
        }
    }

    /// Puts an odd number of 1, 2, 4 or 8 bytes somewhere, either end first.
    fn overwrite(&mut self, input: &mut [u8], at: usize) {
        let size = 1 << self.below(4);
        let number = ODD[self.index(ODD.len())];
        let number = if self.below(4) == 0 {
            number.wrapping_add(self.below(5)).wrapping_sub(2)
        } else {
            number
        };
        let bytes = if self.below(2) == 0 {
            number.to_le_bytes().to_vec()
        } else {
            number.to_be_bytes()[8 - size..].to_vec()
        };
        write_over(input, at, &bytes[..size]);
    }

    /// Puts a word in the place of what is there, or between.
    fn put_word(&mut self, input: &mut Vec<u8>, at: usize, words: &[&[u8]]) {
        let word = self.pick(words).copied().unwrap_or_default();
        if self.below(2) == 0 {
            write_over(input, at, word);
        } else {
            input.splice(at..at, word.iter().copied());
        }
    }
}

fn write_over(input: &mut [u8], at: usize, bytes: &[u8]) {
    for (place, byte) in input.iter_mut().skip(at).zip(bytes) {
        *place = *byte;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_come_first_and_then_inputs_unlike_them_and_always_the_same() {
        let seeds = vec![b"one".to_vec(), b"another".to_vec()];
        let inputs = || {
            let mut seen = Vec::new();
            mutate("self", &seeds, 50, |input| seen.push(input.to_vec()));
            seen
        };
        let seen = inputs();
        assert_eq!(seen, inputs());
        assert_eq!(seen[..2], seeds);
        assert!(seen[2..].iter().filter(|input| !seeds.contains(input)).count() > 50);
    }
}
