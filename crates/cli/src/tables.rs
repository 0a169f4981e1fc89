//! Tables for eyes.

use rappel_tensor::profile::{Peak, Row};

/// Where the time went: a line an operation, with its share of the time and what it reached of the
/// machine's best. What no operation counts, such as the optimizer's bookkeeping, is the rest.
pub fn profile_table(rows: &[Row], peak: &Peak, seconds: f64) -> String {
    let mut text = format!(
        "{:24} {:>9} {:>9} {:>6} {:>9} {:>6} {:>8} {:>6}\n",
        "operation", "calls", "seconds", "time", "GFLOP/s", "peak", "GB/s", "peak"
    );
    let share = |part: f64, whole: f64| {
        if part > 0.0 && whole > 0.0 {
            format!("{:.0} %", 100.0 * part / whole)
        } else {
            "-".into()
        }
    };
    let giga = |rate: f64| if rate > 0.0 { format!("{:.1}", rate / 1e9) } else { "-".into() };
    for Row { name, calls, seconds: of_row, flops, bytes } in rows {
        let [flops, bytes] =
            [flops, bytes].map(|work| if *of_row > 0.0 { work / of_row } else { 0.0 });
        text += &format!(
            "{name:24} {calls:>9} {of_row:>9.3} {:>6} {:>9} {:>6} {:>8} {:>6}\n",
            share(*of_row, seconds),
            giga(flops),
            share(flops, peak.flops),
            giga(bytes),
            share(bytes, peak.bytes),
        );
    }
    let counted: f64 = rows.iter().map(|row| row.seconds).sum();
    let rest = (seconds - counted).max(0.0);
    text += &format!("{:24} {:>9} {rest:>9.3} {:>6}\n", "rest", "", share(rest, seconds));
    text += &format!(
        "{:24} {:>9} {seconds:>9.3} {:>6} {:>9} {:>6} {:>8}\n",
        "all; the machine's best",
        "",
        "",
        giga(peak.flops),
        "",
        giga(peak.bytes)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_time_and_of_the_best() {
        let rows = [
            Row { name: "matmul", calls: 12, seconds: 0.5, flops: 25e9, bytes: 1e9 },
            Row { name: "gather", calls: 3, seconds: 0.25, flops: 0.0, bytes: 2.5e9 },
        ];
        let peak = Peak { flops: 100e9, bytes: 20e9 };
        let expected = "\
operation                    calls   seconds   time   GFLOP/s   peak     GB/s   peak
matmul                          12     0.500   50 %      50.0   50 %      2.0   10 %
gather                           3     0.250   25 %         -      -     10.0   50 %
rest                                   0.250   25 %
all; the machine's best                1.000            100.0            20.0
";
        assert_eq!(profile_table(&rows, &peak, 1.0), expected);
    }
}
