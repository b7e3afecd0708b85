//! Fuzzing without a nightly compiler: [`mutate`] changes inputs from real servers at random and hands them to a reader, so many times.
//!
//! A reader passes if it neither panics nor hangs whatever it gets; what it answers is the test's business. The changes are the same in each run.
//! `BULKHEAD_MUTATIONS` says how many inputs are made of each seed, for a run that looks further; a failure writes its input to a file.

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

/// Hands the seeds to `read`, and then `count` changed copies for each of them.
///
/// # Panics
/// When `read` does, after telling which input it was.
pub fn mutate(name: &str, seeds: &[Vec<u8>], count: u64, mut read: impl FnMut(&[u8])) {
    let asked = std::env::var("BULKHEAD_MUTATIONS").ok().and_then(|text| text.parse().ok());
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let copies = seeds.len() as u64 * asked.unwrap_or(count);
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
        change(&mut input, seeds, random);
    }
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let length = input.len();
    let at = random.index(length + 1);
    let to = at + random.index((length - at).min(64) + 1);
    match random.below(8) {
        0 => flip(input, at, random),
        1 | 2 => overwrite(input, at, random),
        3 => input.truncate(at),
        4 => drop(input.drain(at..to)),
        5 => {
            let part = input[at..to].to_vec();
            input.splice(at..at, part);
        }
        6 => {
            let other = random.pick(seeds).cloned().unwrap_or_default();
            let from = random.index(other.len() + 1);
            let part = other[from..].iter().take(64).copied();
            input.splice(at..to, part.collect::<Vec<_>>());
        }
        _ => input[at..to].iter_mut().for_each(|byte| *byte = random.next().to_le_bytes()[0]),
    }
}

fn flip(input: &mut [u8], at: usize, random: &mut Random) {
    if let Some(byte) = input.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

/// Puts an odd number of 1, 2, 4 or 8 bytes somewhere, either end first.
fn overwrite(input: &mut [u8], at: usize, random: &mut Random) {
    let size = 1 << random.below(4);
    let number = ODD[random.index(ODD.len())];
    let number = if random.below(4) == 0 {
        number.wrapping_add(random.below(5)).wrapping_sub(2)
    } else {
        number
    };
    let bytes = if random.below(2) == 0 {
        number.to_le_bytes().to_vec()
    } else {
        number.to_be_bytes()[8 - size..].to_vec()
    };
    for (place, byte) in input.iter_mut().skip(at).zip(&bytes[..size]) {
        *place = *byte;
    }
}

/// Marsaglia's xorshift: quick, and good enough to find a place.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn index(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or(0)
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let index = self.index(from.len());
        from.get(index)
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
