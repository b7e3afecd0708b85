//! Samples of both sides, and what they say: [`Report`].

use serde_json::json;

use super::measure::Cost;
use crate::console::{Console, size};

/// Measurements of one thing that one side did.
pub(super) struct Samples {
    /// What was measured ("full backup").
    pub(super) what: &'static str,
    /// Who did it ("bulkhead").
    pub(super) who: &'static str,
    pub(super) costs: Vec<Cost>,
    /// Bytes stored, where something was.
    pub(super) stored_bytes: Vec<u64>,
    /// What only this benchmark measures.
    pub(super) further: Vec<Quantity>,
}

/// Everything that a benchmark found.
pub(super) struct Report {
    pub(super) name: &'static str,
    /// What it ran on, by which versions, with which parameters.
    pub(super) circumstances: Vec<(&'static str, String)>,
    /// Of each thing that was measured, ours come before all others.
    pub(super) samples: Vec<Samples>,
    /// What a reader must know to read the figures rightly.
    pub(super) remarks: Vec<String>,
}

/// One measured quantity of a side, in its own unit.
#[derive(Clone)]
pub(super) struct Quantity {
    pub(super) name: &'static str,
    pub(super) values: Vec<f64>,
    pub(super) show: fn(f64) -> String,
}

/// Bytes as a reader likes them.
pub(super) fn bytes(value: f64) -> String {
    size(value as u64)
}

/// Seconds as a reader likes them.
pub(super) fn seconds(value: f64) -> String {
    if value < 1.0 {
        format!("{:.0} ms", value * 1000.0)
    } else {
        format!("{value:.2} s")
    }
}

impl Samples {
    fn quantities(&self) -> Vec<Quantity> {
        let of = |pick: fn(&Cost) -> f64| self.costs.iter().map(pick).collect::<Vec<_>>();
        let mut quantities = vec![
            Quantity {
                name: "wall",
                values: of(|cost| cost.wall.as_secs_f64()),
                show: seconds,
            },
            Quantity {
                name: "cpu",
                values: of(|cost| cost.cpu.as_secs_f64()),
                show: seconds,
            },
            Quantity {
                name: "peak memory",
                values: of(|cost| cost.memory_bytes as f64),
                show: bytes,
            },
        ];
        if !self.stored_bytes.is_empty() {
            quantities.push(Quantity {
                name: "stored",
                values: self.stored_bytes.iter().map(|bytes| *bytes as f64).collect(),
                show: bytes,
            });
        }
        quantities.extend(self.further.iter().cloned());
        quantities
    }
}

impl Report {
    /// Tables for a reader.
    pub(super) fn print(&self, console: &Console) {
        console.step(&format!("Results of {}", self.name));
        console.figures(&self.circumstances);
        for samples in &self.samples {
            console.note(&format!("\n{}, {} (minimum · median · maximum)", samples.what, samples.who));
            let row = |quantity: &Quantity| {
                let [low, middle, high] = spread(&quantity.values).map(quantity.show);
                (quantity.name, format!("{low} · {middle} · {high}"))
            };
            console.figures(&samples.quantities().iter().map(row).collect::<Vec<_>>());
        }
        for (ours, theirs) in self.pairs() {
            console.note(&format!(
                "\n{}: {} in units of {} (medians; below 1 is less)",
                ours.what, ours.who, theirs.who
            ));
            console.figures(
                &ratios(ours, theirs)
                    .into_iter()
                    .map(|(name, ratio)| (name, format!("{ratio:.2}")))
                    .collect::<Vec<_>>(),
            );
        }
        for remark in &self.remarks {
            console.note(&format!("\n{remark}"));
        }
    }

    /// The same as one JSON document: durations in seconds, sizes in bytes.
    pub(super) fn json(&self) -> String {
        let samples = |samples: &Samples| {
            let quantities = samples.quantities();
            let values: serde_json::Map<_, _> = quantities
                .iter()
                .map(|quantity| (quantity.name.to_owned(), json!(quantity.values)))
                .collect();
            json!({ "what": samples.what, "who": samples.who, "samples": values })
        };
        let ratio = |(ours, theirs): (&Samples, &Samples)| {
            let values: serde_json::Map<_, _> = ratios(ours, theirs)
                .into_iter()
                .map(|(name, ratio)| (name.to_owned(), json!(ratio)))
                .collect();
            json!({ "what": ours.what, "of": ours.who, "to": theirs.who, "medians": values })
        };
        let circumstances: serde_json::Map<_, _> = self
            .circumstances
            .iter()
            .map(|(name, value)| ((*name).to_owned(), json!(value)))
            .collect();
        let document = json!({
            "benchmark": self.name,
            "circumstances": circumstances,
            "results": self.samples.iter().map(samples).collect::<Vec<_>>(),
            "ratios": self.pairs().into_iter().map(ratio).collect::<Vec<_>>(),
            "remarks": self.remarks,
        });
        format!("{document:#}")
    }

    /// Our samples of a thing, which come first, with those of each other side.
    fn pairs(&self) -> Vec<(&Samples, &Samples)> {
        let ours = |theirs: &Samples| self.samples.iter().find(|ours| ours.what == theirs.what);
        let pairs = self.samples.iter().filter_map(|theirs| Some((ours(theirs)?, theirs)));
        pairs.filter(|(ours, theirs)| ours.who != theirs.who).collect()
    }
}

/// Ratios of the medians of quantities that both sides have.
fn ratios(ours: &Samples, theirs: &Samples) -> Vec<(&'static str, f64)> {
    let both = ours.quantities().into_iter().zip(theirs.quantities());
    both.map(|(ours, theirs)| (ours.name, spread(&ours.values)[1] / spread(&theirs.values)[1]))
        .collect()
}

/// Minimum, median and maximum.
fn spread(values: &[f64]) -> [f64; 3] {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let at = |position: usize| sorted.get(position).copied().unwrap_or(f64::NAN);
    let middle = sorted.len() / 2;
    let median = if sorted.len().is_multiple_of(2) && middle > 0 {
        f64::midpoint(at(middle - 1), at(middle))
    } else {
        at(middle)
    };
    [at(0), median, at(sorted.len().saturating_sub(1))]
}

/// The machine and the versions that every result is quoted with.
pub(super) fn machine() -> Vec<(&'static str, String)> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let value = |text: &str, key: &str| {
        let line = text.lines().find(|line| line.starts_with(key));
        line.and_then(|line| line.split_once(':'))
            .map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
    };
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    vec![
        (
            "processor",
            format!("{}, {cores} cores", value(&read("/proc/cpuinfo"), "model name")),
        ),
        ("memory", value(&read("/proc/meminfo"), "MemTotal")),
        ("kernel", read("/proc/sys/kernel/osrelease").trim().to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_of_values_is_between_the_middle_two() {
        assert_eq!(spread(&[4.0, 1.0, 3.0, 2.0]), [1.0, 2.5, 4.0]);
        assert_eq!(spread(&[5.0, 1.0, 3.0]), [1.0, 3.0, 5.0]);
        assert_eq!(spread(&[5.0]), [5.0, 5.0, 5.0]);
    }
}
