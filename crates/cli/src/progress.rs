//! The progress bar: a sink that draws on a terminal, and writes plain lines elsewhere, on standard error.

use std::cell::Cell;
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rappel_telemetry::{Event, Moment, Sink, Started, Step, TelemetryError, Values};
use rappel_train::Observer;

use crate::escape::{escaped, one_line};
use crate::output::{Lossy, say};
use crate::profiler::Profiler;
use crate::signals::Signals;

/// How often plain lines show steps.
const LINES_EVERY: Duration = Duration::from_secs(2);

/// Of a bar before the first step and from then on.
const READY: &str = "{wide_bar} step {pos}/{len}  {msg}";
const GOING: &str = "{wide_bar} step {pos}/{len}  {msg}  {eta} left";
/// Of a file that comes from elsewhere.
const DOWNLOAD: &str = "{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {msg}";
/// Of what takes time and has no steps.
const STAGE: &str = "{spinner} {msg}  {elapsed}";
/// How often that is drawn again, so that it is seen to live.
const TICK: Duration = Duration::from_millis(250);

/// Watches a run, and asks it to stop when a signal came; or what else takes long.
pub struct Progress<'a> {
    signals: Option<&'a Signals>,
    show: Show,
    profiler: Option<Profiler>,
    /// Whether a console sink writes lines of steps and validations itself.
    console: Cell<bool>,
    since: Instant,
    prepared: Duration,
    forces: bool,
}

enum Show {
    Bar { bar: ProgressBar, ready: bool },
    Lines { last: Option<Instant> },
}

impl<'a> Progress<'a> {
    /// A bar if standard error is a terminal that can draw one, lines otherwise;
    /// nothing where `quiet`.
    pub fn new(signals: &'a Signals, profile: bool, quiet: bool) -> Self {
        let profiler = profile.then(Profiler::new);
        Self { signals: Some(signals), profiler, ..Self::outside_a_run(quiet) }
    }

    /// The same for what is no run: a signal ends the program.
    pub fn outside_a_run(quiet: bool) -> Self {
        if quiet {
            return Self::with(Show::Bar { bar: ProgressBar::hidden(), ready: false });
        }
        Self::on(ProgressDrawTarget::stderr())
    }

    fn on(target: ProgressDrawTarget) -> Self {
        Self::with(if target.is_hidden() {
            Show::Lines { last: None }
        } else {
            let bar = ProgressBar::with_draw_target(None, target);
            bar.set_style(style(STAGE));
            Show::Bar { bar, ready: false }
        })
    }

    fn with(show: Show) -> Self {
        Self {
            signals: None,
            show,
            profiler: None,
            console: Cell::default(),
            since: Instant::now(),
            prepared: Duration::ZERO,
            forces: false,
        }
    }

    /// The same, for a run that begins even where memory may not suffice.
    pub fn forcing(self, forces: bool) -> Self {
        Self { forces, ..self }
    }

    /// How long it took until the run was ready for its first step.
    pub fn prepared(&self) -> Duration {
        self.prepared
    }

    /// Leaves the terminal to others.
    pub fn finish(&mut self) {
        if let Show::Bar { bar, .. } = &self.show {
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
        let text = escaped(text);
        match &self.show {
            Show::Bar { bar, .. } => bar.println(text),
            Show::Lines { .. } => say(text),
        }
    }
}

impl Sink for Progress<'_> {
    fn log(&mut self, at: Moment, event: &Event) -> Result<(), TelemetryError> {
        match event {
            Event::Stage(what) => self.stage(what),
            Event::Download { file, bytes, total } => self.download(file, *bytes, *total),
            Event::Note(text) => self.line(&format!("note: {}", one_line(text))),
            Event::Started(started) => self.started(at.step, started),
            Event::Step(step) => self.step(at.step, step),
            Event::Validation(values) => self.validated(at.step, values),
            Event::Saved(path) => self.saved(at.step, path),
            _ => {}
        }
        Ok(())
    }
}

impl Observer for Progress<'_> {
    fn forces(&self) -> bool {
        self.forces
    }

    fn should_stop(&self) -> bool {
        self.signals.is_some_and(Signals::came)
    }

    /// Above the bar, if there is one.
    fn console(&self) -> Box<dyn Write + Send> {
        self.console.set(true);
        match &self.show {
            Show::Lines { .. } => Box::new(Lossy),
            Show::Bar { bar, .. } => Box::new(AboveBar { bar: bar.clone(), line: Vec::new() }),
        }
    }
}

impl Progress<'_> {
    fn stage(&mut self, what: &str) {
        match &mut self.show {
            Show::Bar { bar, ready } => {
                *ready = false;
                bar.set_style(style(STAGE));
                bar.reset_elapsed();
                bar.set_message(one_line(what).into_owned());
                bar.enable_steady_tick(TICK);
            }
            Show::Lines { .. } => self.line(what),
        }
    }

    fn download(&mut self, file: &str, bytes: u64, total: u64) {
        match &mut self.show {
            Show::Bar { bar, .. } => {
                // One bar a file.
                if bar.length() != Some(total) || bar.message() != file {
                    bar.disable_steady_tick();
                    bar.set_length(total);
                    bar.set_style(style(DOWNLOAD));
                    bar.set_message(one_line(file).into_owned());
                    bar.reset();
                }
                bar.set_position(bytes);
                if bytes == total {
                    // What follows may take long, too, and is another thing.
                    bar.set_style(style(STAGE));
                    bar.unset_length();
                }
            }
            Show::Lines { last } => {
                if bytes == total || last.is_none_or(|last| last.elapsed() >= LINES_EVERY) {
                    *last = Some(Instant::now());
                    let (bytes, total) = (HumanBytes(bytes), HumanBytes(total));
                    self.line(&format!("downloading {}  {bytes} of {total}", one_line(file)));
                }
            }
        }
    }

    fn started(&mut self, step: u64, started: &Started) {
        self.prepared = self.since.elapsed();
        let Started { dir, steps, parameters, data, bf16_kernel, .. } = started;
        let from = if step > 0 { format!(", from step {step}") } else { String::new() };
        self.line(&format!("run         {}{from}", one_line(&dir.display().to_string())));
        self.line(&format!("data        {data}"));
        self.line(&format!("parameters  {parameters}"));
        if let Some(kernel) = bf16_kernel {
            self.line(&format!(
                "products    of bfloat16 numbers; RAPPEL_BF16={kernel} gives the same bits"
            ));
        }
        self.line(&format!("prepared    in {:.1} s", self.prepared.as_secs_f64()));
        if let Show::Bar { bar, ready } = &mut self.show {
            *ready = true;
            bar.disable_steady_tick();
            // Before the style: what is drawn in between would show 0 steps.
            bar.set_length(*steps);
            bar.set_position(step);
            bar.set_message("");
            bar.set_style(style(READY));
            bar.reset_eta();
            bar.tick();
        }
        self.restart_profiler();
    }

    fn step(&mut self, done: u64, step: &Step) {
        if let Some(profiler) = &mut self.profiler {
            profiler.count();
        }
        let (steps, text) = (step.steps, numbers(step));
        match &mut self.show {
            Show::Bar { bar, ready } => {
                // The time that is left is known from the first step on.
                if std::mem::take(ready) {
                    bar.set_style(style(GOING));
                }
                bar.set_message(text);
                bar.set_position(done);
            }
            Show::Lines { last } => {
                let due = last.is_none_or(|last| last.elapsed() >= LINES_EVERY);
                if !self.console.get() && (due || done == steps) {
                    *last = Some(Instant::now());
                    say(format_args!("step {done}/{steps}  {text}"));
                }
            }
        }
    }

    fn validated(&mut self, step: u64, values: Values) {
        if !self.console.get() {
            let value = |(name, value): &(&str, f64)| format!("  {name} {value:.4}");
            let values: String = values.iter().map(value).collect();
            self.line(&format!("step {step}  validation{values}"));
        }
        self.restart_profiler();
    }

    fn saved(&mut self, step: u64, path: &Path) {
        if let Show::Lines { .. } = self.show {
            self.line(&format!("step {step}  saved {}", one_line(&path.display().to_string())));
        }
        self.restart_profiler();
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;

    /// A terminal that keeps all that was ever drawn.
    #[derive(Debug, Clone, Default)]
    struct Drawn(Arc<Mutex<String>>);

    impl TermLike for Drawn {
        fn width(&self) -> u16 {
            100
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(&format!("{text}\n"))
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().unwrap().push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            self.write_str("\n")
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn drawn(watch: impl FnOnce(&mut Progress)) -> String {
        let terminal = Drawn::default();
        let mut progress = Progress::on(ProgressDrawTarget::term_like(Box::new(terminal.clone())));
        watch(&mut progress);
        progress.finish();
        terminal.0.lock().unwrap().clone()
    }

    fn started(progress: &mut Progress) {
        let started = Started {
            dir: Path::new("runs/a\u{1b}[2J\n"),
            steps: 24,
            parameters: 3,
            data: "9 tokens",
            bf16_kernel: None,
            metrics: &["loss"],
        };
        progress.log(Moment::now(0), &Event::Started(started)).unwrap();
    }

    #[test]
    fn the_first_frame_tells_the_steps_and_no_time_that_nobody_knows() {
        let text = drawn(|progress| {
            progress.log(Moment::now(0), &Event::Stage("reading the corpus")).unwrap();
            std::thread::sleep(2 * TICK);
            started(progress);
        });
        assert!(text.contains("reading the corpus") && text.contains("step 0/24"), "{text}");
        assert!(!text.contains("0/0") && !text.contains("left"), "{text}");
        assert!(
            text.contains(r"run         runs/a\u{1b}[2J\n") && text.contains("prepared    in 0."),
            "{text}"
        );
    }

    #[test]
    fn a_download_is_a_bar_of_bytes() {
        let text = drawn(|progress| {
            for bytes in [0, 3 << 20, 4 << 20] {
                let event = Event::Download { file: "model.safetensors", bytes, total: 4 << 20 };
                progress.log(Moment::now(0), &event).unwrap();
                std::thread::sleep(TICK);
            }
            progress.log(Moment::now(0), &Event::Stage("loading the model")).unwrap();
        });
        let shown = ["3.00 MiB/4.00 MiB", "model.safetensors", "loading the model"];
        assert!(shown.iter().all(|part| text.contains(part)), "{text}");
    }

    #[test]
    fn a_console_sink_tells_of_validations_alone() {
        let text = |with_sink: bool| {
            drawn(|progress| {
                started(progress);
                let mut sink = with_sink.then(|| progress.console());
                sink.as_mut().map(|sink| sink.write_all(b"step 5  validation/loss 1.5\n"));
                progress.log(Moment::now(5), &Event::Validation(&[("loss", 1.5)])).unwrap();
            })
        };
        assert_eq!(text(true).matches("step 5  validation").count(), 1);
        assert_eq!(text(false).matches("step 5  validation  loss 1.5000").count(), 1);
    }
}
