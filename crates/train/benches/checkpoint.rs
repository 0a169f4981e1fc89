//! How long a checkpoint of 1.5 GB takes, against a plain write of as many bytes.
//!
//! `cargo bench -p rappel-train --bench checkpoint [-- DIR]`: DIR is on the disk that is measured.

#[path = "../tests/common/wide.rs"]
mod wide;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rappel_telemetry::{Event, Moment, Sink, TelemetryError};
use rappel_train::Observer;

/// Parameters; GPT-2's smallest has as many.
const NUMBERS: usize = 124 << 20;
const ROUNDS: u64 = 5;
/// AdamW keeps two numbers for each parameter.
const BYTES: usize = 3 * 4 * NUMBERS;
const PIECE: usize = 4 << 20;

struct Watch<'a> {
    folder: &'a Path,
    start: Instant,
    times: Vec<[f64; 3]>,
}

impl Sink for Watch<'_> {
    fn log(&mut self, _: Moment, event: &Event) -> Result<(), TelemetryError> {
        match event {
            Event::Step(_) => self.start = Instant::now(),
            Event::Saved(_) => {
                let saved = self.start.elapsed().as_secs_f64();
                let [past, through] = [true, false].map(|past| self.plain(past));
                println!(
                    "saved in {saved:.2} s; plain {past:.2} s, through the cache {through:.2} s"
                );
                self.times.push([saved, past, through]);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Observer for Watch<'_> {}

impl Watch<'_> {
    /// Seconds that as many bytes take without any other work, past the page cache or through it.
    fn plain(&self, past: bool) -> f64 {
        let piece: Vec<u8> = (0..PIECE).map(|i| (i * 31 % 251) as u8).collect();
        let path = self.folder.join("plain");
        let start = Instant::now();
        let write =
            |out: &mut dyn Write| (0..BYTES / PIECE).try_for_each(|_| out.write_all(&piece));
        if past {
            rappel_files::create(&path, write).expect("a file");
        } else {
            write(&mut File::create(&path).expect("a file")).expect("room");
        }
        File::open(&path).and_then(|file| file.sync_all()).expect("synced");
        let took = start.elapsed().as_secs_f64();
        std::fs::remove_file(&path).expect("it was there");
        took
    }
}

fn main() {
    let given = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let folder = given.map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = folder.join(format!("rappel-checkpoint-{}", std::process::id()));
    std::fs::create_dir(&folder).expect("a folder");
    let mut watch = Watch { folder: &folder, start: Instant::now(), times: Vec::new() };
    wide::train(&folder.join("run"), NUMBERS, ROUNDS, &mut watch);
    let median = |which: usize| {
        let mut times: Vec<f64> = watch.times.iter().map(|times| times[which]).collect();
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    let [saved, past, through] = [0, 1, 2].map(median);
    println!(
        "median: saved {saved:.2} s, {:.2} x plain, {:.2} x through the cache",
        saved / past,
        saved / through
    );
    std::fs::remove_dir_all(&folder).expect("it was there");
}
