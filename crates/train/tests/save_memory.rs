//! Saving takes no copy of what is saved.
#![cfg(target_os = "linux")]

#[path = "common/wide.rs"]
mod wide;

use std::fs;

use rappel_telemetry::{Event, Moment, Sink, TelemetryError};
use rappel_train::Observer;

/// What the process takes between a step and its checkpoint, at most.
#[derive(Default)]
struct Watch {
    before: u64,
    taken: Vec<u64>,
}

/// A line of the process's status, in bytes.
fn status(key: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix(key)).expect("the line");
    let kib: u64 = line.trim_matches([':', ' ', '\t', 'k', 'B']).parse().expect("a number");
    kib << 10
}

impl Sink for Watch {
    fn log(&mut self, _: Moment, event: &Event) -> Result<(), TelemetryError> {
        match event {
            Event::Step(_) => {
                // The peak is counted anew.
                fs::write("/proc/self/clear_refs", "5").expect("the process's own file");
                self.before = status("VmRSS");
            }
            Event::Saved(_) => self.taken.push(status("VmHWM") - self.before),
            _ => {}
        }
        Ok(())
    }
}

impl Observer for Watch {}

#[test]
fn a_checkpoint_takes_no_more_memory_than_its_buffers() {
    const MIB: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let mut watch = Watch::default();
    // 96 MiB of parameters, twice as many of state.
    wide::train(&folder.path().join("run"), 24 << 20, 2, &mut watch);
    assert_eq!(watch.taken.len(), 2);
    let most = watch.taken.iter().max().unwrap();
    assert!(*most < 64 * MIB, "{} MiB were taken", most / MIB);
}
