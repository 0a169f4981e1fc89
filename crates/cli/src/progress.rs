//! What is shown while a run goes: a bar on a terminal, plain lines elsewhere, on standard error.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use rappel_train::{Metric, Note, Observer, Started, Step, Validation};

use crate::profiler::Profiler;
use crate::signals::Signals;

/// How often plain lines tell of steps.
const LINES_EVERY: Duration = Duration::from_secs(2);

/// Watches a run, and asks it to stop when a signal came.
pub struct Progress<'a> {
    signals: &'a Signals,
    show: Show,
    profiler: Option<Profiler>,
}

enum Show {
    Bar(ProgressBar),
    Lines { last: Option<Instant> },
}

impl<'a> Progress<'a> {
    /// A bar if standard error is a terminal, lines otherwise.
    pub fn new(signals: &'a Signals, profile: bool) -> Self {
        let show = if io::stderr().is_terminal() {
            Show::Bar(ProgressBar::no_length())
        } else {
            Show::Lines { last: None }
        };
        Self { signals, show, profiler: profile.then(Profiler::new) }
    }

    /// Where a console sink writes: above the bar, if there is one.
    pub fn console(&self) -> Box<dyn Fn() -> Box<dyn Write + Send>> {
        match &self.show {
            Show::Lines { .. } => Box::new(|| Box::new(io::stderr())),
            Show::Bar(bar) => {
                let bar = bar.clone();
                Box::new(move || Box::new(AboveBar { bar: bar.clone(), line: Vec::new() }))
            }
        }
    }

    /// Leaves the terminal to others.
    pub fn finish(&mut self) {
        if let Show::Bar(bar) = &self.show {
            bar.finish_and_clear();
        }
    }

    /// Where the time of the steps went, if that was asked for.
    pub fn profile(&self) -> Option<String> {
        self.profiler.as_ref().map(Profiler::table)
    }

    /// Forgets the time since the last step: it was spent on something else.
    fn restart_profiler(&mut self) {
        if let Some(profiler) = &mut self.profiler {
            profiler.begin();
        }
    }

    fn line(&self, text: &str) {
        match &self.show {
            Show::Bar(bar) => bar.println(text),
            Show::Lines { .. } => eprintln!("{text}"),
        }
    }
}

impl Observer for Progress<'_> {
    fn stage(&mut self, what: &str) {
        match &self.show {
            Show::Bar(bar) => {
                bar.set_style(style("{spinner} {msg}"));
                bar.set_message(what.to_owned());
                bar.tick();
            }
            Show::Lines { .. } => eprintln!("{what}"),
        }
    }

    fn started(&mut self, start: &Started) {
        let Started { dir, step, steps, parameters, data } = start;
        let from = if *step > 0 { format!(", from step {step}") } else { String::new() };
        self.line(&format!("run         {}{from}", dir.display()));
        self.line(&format!("data        {data}"));
        self.line(&format!("parameters  {parameters}"));
        if let Show::Bar(bar) = &self.show {
            bar.set_style(style("{wide_bar} step {pos}/{len}  {msg}  {eta} left"));
            bar.set_message("");
            bar.set_length(*steps);
            bar.set_position(*step);
            bar.reset_eta();
        }
        self.restart_profiler();
    }

    fn step(&mut self, step: &Step) {
        if let Some(profiler) = &mut self.profiler {
            profiler.count();
        }
        let Step { step: done, steps, .. } = *step;
        let text = numbers(step);
        match &mut self.show {
            Show::Bar(bar) => {
                bar.set_message(text);
                bar.set_position(done);
            }
            Show::Lines { last } => {
                let due = last.is_none_or(|last| last.elapsed() >= LINES_EVERY);
                if due || done == steps {
                    *last = Some(Instant::now());
                    eprintln!("step {done}/{steps}  {text}");
                }
            }
        }
    }

    fn evaluated(&mut self, found: &Validation, metrics: &[Metric]) {
        let value = |(metric, value): (&Metric, &f64)| format!("  {} {value:.4}", metric.name);
        let values: String = metrics.iter().zip(&found.values).map(value).collect();
        self.line(&format!("step {}  validation{values}", found.step));
        self.restart_profiler();
    }

    fn saved(&mut self, step: u64, path: &Path) {
        if let Show::Lines { .. } = self.show {
            eprintln!("step {step}  saved {}", path.display());
        }
        self.restart_profiler();
    }

    fn note(&mut self, note: Note) {
        self.line(&format!("note: {note}"));
    }

    fn should_stop(&self) -> bool {
        self.signals.came()
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

fn numbers(step: &Step) -> String {
    let Step { loss, lr, unit, units_per_second, .. } = step;
    format!("loss {loss:.4}  lr {lr:.2e}  {units_per_second:.0} {unit}/s")
}

/// Puts whole lines above the bar.
struct AboveBar {
    bar: ProgressBar,
    line: Vec<u8>,
}

impl Write for AboveBar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.line.drain(..=end).collect();
            self.bar.println(String::from_utf8_lossy(&line[..end]));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
