//! Where the time of a run's steps goes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rappel_tensor::profile::{Peak, Row, machine_peak, start, take};

/// Sums what the operations of training steps did; validation and checkpoints are left out, and so
/// is the first step, in which memory is still being taken from the system.
pub struct Profiler {
    rows: BTreeMap<&'static str, Row>,
    since: Instant,
    spent: Duration,
    steps: u64,
    warm: bool,
}

impl Profiler {
    pub fn new() -> Self {
        let (rows, since, spent) = (BTreeMap::new(), Instant::now(), Duration::ZERO);
        Self { rows, since, spent, steps: 0, warm: false }
    }

    /// A step is about to begin.
    pub fn begin(&mut self) {
        self.since = Instant::now();
        start();
    }

    /// A step is done, and the next is about to begin.
    pub fn count(&mut self) {
        let (spent, rows) = (self.since.elapsed(), take());
        if self.warm {
            self.spent += spent;
            self.steps += 1;
            for row in &rows {
                self.add(row);
            }
        }
        self.warm = true;
        self.begin();
    }

    fn add(&mut self, row: &Row) {
        let Row { name, calls, seconds, flops, bytes, parallel } = *row;
        let zero = Row { name, calls: 0, seconds: 0.0, flops: 0.0, bytes: 0.0, parallel: 0.0 };
        let sum = self.rows.entry(name).or_insert(zero);
        sum.calls += calls;
        sum.seconds += seconds;
        sum.flops += flops;
        sum.bytes += bytes;
        sum.parallel += parallel;
    }

    /// The table of all steps counted, after measuring the machine's best; stops counting.
    pub fn table(&self) -> String {
        drop(take());
        let mut rows: Vec<Row> = self.rows.values().cloned().collect();
        rows.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        profile_table(&rows, self.steps, self.spent.as_secs_f64(), &machine_peak())
    }
}

/// A line an operation: calls and milliseconds of one step, the share of the step's time, and what
/// it reached of the machine's best. What no operation counts is the rest. Last, what ran on one thread while
/// the others had nothing to do.
fn profile_table(rows: &[Row], steps: u64, seconds: f64, peak: &Peak) -> String {
    let per_step = |total: f64| total / steps.max(1) as f64;
    let head = format!(
        "{:24} {:>8} {:>9} {:>6} {:>9} {:>7} {:>8} {:>7}\n",
        "operation, of one step", "calls", "ms", "time", "GFLOP/s", "of best", "GB/s", "of best"
    );
    let operation = |row: &Row| {
        let [flops, bytes] = [row.flops, row.bytes].map(|work| rate(work, row.seconds));
        format!(
            "{:24} {:>8.0} {:>9.2} {:>6} {:>9} {:>7} {:>8} {:>7}\n",
            row.name,
            per_step(row.calls as f64),
            1e3 * per_step(row.seconds),
            share(row.seconds, seconds),
            giga(flops),
            share(flops, peak.flops),
            giga(bytes),
            share(bytes, peak.bytes),
        )
    };
    let operations: String = rows.iter().map(operation).collect();
    let alone = seconds - rows.iter().map(|row| row.parallel).sum::<f64>();
    let line = |name: &str, total: f64| {
        let (ms, share) = (1e3 * per_step(total), share(total, seconds));
        format!("{name:24} {:>8} {ms:>9.2} {share:>6}\n", "")
    };
    let rest = (seconds - rows.iter().map(|row| row.seconds).sum::<f64>()).max(0.0);
    let [flops, bytes] = [peak.flops, peak.bytes].map(giga);
    let best = format!("the machine's best       {flops:>35} {:>7} {bytes:>8}\n", "");
    [
        head,
        operations,
        line("rest", rest),
        line(&format!("whole, mean of {steps}"), seconds),
        line("of these on one thread", alone),
        best,
    ]
    .concat()
}

fn rate(work: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { work / seconds } else { 0.0 }
}

fn share(part: f64, whole: f64) -> String {
    if part > 0.0 && whole > 0.0 { format!("{:.0} %", 100.0 * part / whole) } else { "-".into() }
}

fn giga(rate: f64) -> String {
    if rate > 0.0 { format!("{:.1}", rate / 1e9) } else { "-".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_and_of_the_best() {
        let rows = [
            Row { name: "matmul", calls: 24, seconds: 0.5, flops: 25e9, bytes: 1e9, parallel: 0.4 },
            Row {
                name: "gather",
                calls: 4,
                seconds: 0.25,
                flops: 0.0,
                bytes: 2.5e9,
                parallel: 0.2,
            },
        ];
        let peak = Peak { flops: 100e9, bytes: 20e9 };
        let expected = "\
operation, of one step      calls        ms   time   GFLOP/s of best     GB/s of best
matmul                         12    250.00   50 %      50.0    50 %      2.0    10 %
gather                          2    125.00   25 %         -       -     10.0    50 %
rest                                 125.00   25 %
whole, mean of 2                     500.00  100 %
of these on one thread               200.00   40 %
the machine's best                                     100.0             20.0
";
        assert_eq!(profile_table(&rows, 2, 1.0, &peak), expected);
    }
}
