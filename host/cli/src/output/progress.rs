//! Shows how far an operation is: a bar with rate and time left on a terminal, a line every few seconds elsewhere.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bulkhead_pipeline::{Progress, ProgressView};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::task::JoinHandle;

use super::{Output, bytes, duration, rate};

const REDRAW: Duration = Duration::from_millis(100);
const LINE_EVERY: Duration = Duration::from_secs(5);
/// The rate is that of the last seconds: long enough to be calm, short enough to be true.
const WINDOW: Duration = Duration::from_secs(5);

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    None,
    Bar,
    Lines,
}

/// Shows progress until it is dropped.
pub(crate) struct ProgressDisplay {
    task: Option<JoinHandle<()>>,
    bar: Option<ProgressBar>,
}

impl ProgressDisplay {
    /// Shows `progress` under the name `title`.
    pub(crate) fn start(output: &Output, title: &str, progress: &Progress) -> Self {
        let (output, title, progress) = (output.clone(), title.to_owned(), progress.clone());
        match output.progress_style() {
            Kind::None => Self { task: None, bar: None },
            Kind::Lines => Self {
                task: Some(tokio::spawn(print_lines(output, title, progress))),
                bar: None,
            },
            Kind::Bar => {
                let bar = output.bars().add(ProgressBar::new_spinner());
                let task = tokio::spawn(draw(bar.clone(), title, progress));
                Self {
                    task: Some(task),
                    bar: Some(bar),
                }
            }
        }
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

async fn print_lines(output: Output, title: String, progress: Progress) {
    let mut meter = Meter::default();
    let mut last_line = Instant::now();
    let mut last_text = String::new();
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let view = progress.view();
        meter.add(&view);
        if last_line.elapsed() >= LINE_EVERY && !view.phase.is_empty() {
            last_line = Instant::now();
            let text = describe(&view, &meter);
            // A log in which nothing happens needs no line for it.
            if text != last_text {
                output.note(&format!("{title}: {text}"));
            }
            last_text = text;
        }
    }
}

async fn draw(bar: ProgressBar, title: String, progress: Progress) {
    let spinner = ProgressStyle::with_template("{spinner:.cyan} {msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
    let filling = ProgressStyle::with_template("{spinner:.cyan} [{bar:28.cyan/dim}] {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─");
    let mut meter = Meter::default();
    loop {
        let view = progress.view();
        meter.add(&view);
        match view.total {
            Some(total) => {
                bar.set_style(filling.clone());
                bar.set_length(total);
                bar.set_position(view.done.min(total));
            }
            None => bar.set_style(spinner.clone()),
        }
        bar.set_message(format!("{title}: {}", describe(&view, &meter)));
        bar.tick();
        tokio::time::sleep(REDRAW).await;
    }
}

fn describe(view: &ProgressView, meter: &Meter) -> String {
    let mut parts = vec![view.phase.clone()];
    match view.total {
        Some(total) => parts.push(format!(
            "{} of {} ({} %)",
            bytes(view.done.min(total)),
            bytes(total),
            percent(view.done, total)
        )),
        None if view.done > 0 => parts.push(bytes(view.done)),
        None => {}
    }
    if let Some(rate_now) = meter.rate().filter(|rate| *rate >= 1.0) {
        parts.push(rate(rate_now));
        if let Some(total) = view.total.filter(|total| *total > view.done) {
            parts.push(format!("{} left", duration(time_left(total - view.done, rate_now))));
        }
    }
    if let Some(added) = view.added.filter(|added| *added > 0) {
        parts.push(format!("{} new", bytes(added)));
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" · ")
}

fn percent(done: u64, total: u64) -> u128 {
    u128::from(done.min(total)) * 100 / u128::from(total.max(1))
}

#[expect(clippy::cast_precision_loss, reason = "an estimate")]
fn time_left(bytes: u64, rate: f64) -> Duration {
    Duration::try_from_secs_f64(bytes as f64 / rate).unwrap_or(Duration::MAX)
}

/// Measures the rate over the last seconds.
#[derive(Default)]
struct Meter {
    samples: VecDeque<(Instant, u64)>,
}

impl Meter {
    fn add(&mut self, view: &ProgressView) {
        let now = Instant::now();
        // A new phase counts from zero.
        if self.samples.back().is_some_and(|(_, done)| *done > view.done) {
            self.samples.clear();
        }
        self.samples.push_back((now, view.done));
        while self.samples.len() > 2 && self.samples.front().is_some_and(|(at, _)| now.duration_since(*at) > WINDOW) {
            self.samples.pop_front();
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn rate(&self) -> Option<f64> {
        let ((first, from), (last, to)) = (self.samples.front()?, self.samples.back()?);
        let seconds = last.duration_since(*first).as_secs_f64();
        (seconds > 0.5).then(|| (to - from) as f64 / seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known() {
        let view = ProgressView {
            phase: "copying base/5".into(),
            done: 50 << 20,
            total: Some(200 << 20),
            entries: 3,
            added: Some(1 << 20),
        };
        assert_eq!(
            describe(&view, &Meter::default()),
            "copying base/5 · 50.0 MiB of 200 MiB (25 %) · 1.00 MiB new"
        );
        let start = Instant::now();
        let meter = Meter {
            samples: [(start, 0), (start + Duration::from_secs(5), 50 << 20)].into(),
        };
        assert_eq!(
            describe(&view, &meter),
            "copying base/5 · 50.0 MiB of 200 MiB (25 %) · 10.0 MiB/s · 15s left · 1.00 MiB new"
        );
        let view = ProgressView {
            phase: "opening".into(),
            ..ProgressView::default()
        };
        assert_eq!(describe(&view, &Meter::default()), "opening");
    }
}
