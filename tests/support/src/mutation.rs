//! Fuzzing without a nightly compiler: [`mutate`] changes inputs from real servers at random and hands them to a reader, for a bounded time.
//!
//! A reader passes if it neither panics nor hangs whatever it gets; what it answers is the test's business. The time is `BULKHEAD_FUZZ_SECONDS` for
//! each test (3 by default), and a run begins at a random place unless `BULKHEAD_FUZZ_SEED` says where: a failure prints the seed, and writes the input
//! to a file.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Time for each test where nothing else is said.
const SECONDS: u64 = 3;

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

/// Hands changed copies of `seeds` to `read` until the time is over; returns how many there were. The seeds themselves come first, unchanged.
///
/// # Panics
/// When `read` does, after telling which input it was.
pub fn mutate(name: &str, seeds: &[Vec<u8>], mut read: impl FnMut(&[u8])) -> u64 {
    let seed = number_from("BULKHEAD_FUZZ_SEED").unwrap_or_else(clock);
    let end = Instant::now() + Duration::from_secs(number_from("BULKHEAD_FUZZ_SECONDS").unwrap_or(SECONDS));
    let mut random = Random(seed | 1);
    let mut inputs = 0;
    while inputs < seeds.len() as u64 || Instant::now() < end {
        let first = usize::try_from(inputs).ok().and_then(|index| seeds.get(index));
        let input = match first {
            Some(seed) => seed.clone(),
            None => changed(seeds, &mut random),
        };
        inputs += 1;
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| read(&input))) {
            report(name, seed, &input);
            resume_unwind(panic);
        }
    }
    inputs
}

#[expect(clippy::print_stderr, reason = "the test runner shows it with the failure")]
fn report(name: &str, seed: u64, input: &[u8]) {
    let file = std::env::temp_dir().join(format!("bulkhead-mutation-{name}-{seed}"));
    let written = std::fs::write(&file, input);
    eprintln!(
        "{name}: BULKHEAD_FUZZ_SEED={seed}; the input is in {} ({written:?})",
        file.display()
    );
}

fn number_from(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_secs().wrapping_mul(1_000_000_007) ^ u64::from(now.subsec_nanos())
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
    fn seeds_come_first_and_then_inputs_unlike_them() {
        let seeds = vec![b"one".to_vec(), b"another".to_vec()];
        let mut seen = Vec::new();
        let inputs = mutate("self", &seeds, |input| {
            if seen.len() < 100 {
                seen.push(input.to_vec());
            }
        });
        assert!(inputs > 100);
        assert_eq!(seen[..2], seeds);
        assert!(seen[2..].iter().filter(|input| !seeds.contains(input)).count() > 50);
    }
}
