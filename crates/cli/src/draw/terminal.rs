//! Curves in a terminal, from dots of Braille patterns.

/// Size of a chart in characters; each has two dots by four.
const WIDTH: usize = 64;
const HEIGHT: usize = 10;
const DOTS_WIDE: usize = 2 * WIDTH;
const DOTS_HIGH: usize = 4 * HEIGHT;

/// The bits of a character's dots, by row and column (Unicode, Braille Patterns).
const BITS: [[u32; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];

/// What the values of the steps are, in a line, and a chart of them where they are not all the same.
pub fn draw(steps: u64, value: impl Fn(u64) -> f64) -> String {
    let (mut least, mut most) = ((0, value(0)), (0, value(0)));
    for step in 1..steps {
        let now = value(step);
        if now < least.1 {
            least = (step, now);
        }
        if now > most.1 {
            most = (step, now);
        }
    }
    if least.1 == most.1 {
        return format!("{} at all {steps} steps\n", least.1);
    }
    let told = |(step, value): (u64, f64)| format!("{value} at step {step}");
    let text = format!("at least {}, at most {}\n", told(least), told(most));
    let last = (steps - 1).to_string();
    text + &lines(steps, value, [least.1, most.1], &["step 0".to_owned(), last])
}

/// A chart of as many values, where the ends of the axis below it are called so.
pub fn chart(count: u64, value: impl Fn(u64) -> f64, ends: &[String; 2]) -> String {
    let values = || (0..count).map(&value).filter(|value| value.is_finite());
    let (least, most) = values()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| {
            (least.min(value), most.max(value))
        });
    let around = if least < most { [least, most] } else { [least - 0.5, least + 0.5] };
    lines(count, |i| value(i).clamp(around[0], around[1]), around, ends)
}

/// The lines of a chart with an axis below.
fn lines(
    steps: u64,
    value: impl Fn(u64) -> f64,
    [least, most]: [f64; 2],
    [first, last]: &[String; 2],
) -> String {
    let mut text = String::new();
    for (i, row) in dots(steps, value, least, most).iter().enumerate() {
        let label = match i {
            0 => format!("{most:.3e}"),
            _ if i + 1 == HEIGHT => format!("{least:.3e}"),
            _ => String::new(),
        };
        let row: String = row.iter().filter_map(|bits| char::from_u32(0x2800 + bits)).collect();
        let row = row.trim_end_matches('\u{2800}');
        text += format!("{label:>11} |{row}").trim_end();
        text.push('\n');
    }
    text + &format!("{first:>13}{last:>width$}\n", width = WIDTH - 1)
}

/// The bits of each character, from the top.
fn dots(steps: u64, value: impl Fn(u64) -> f64, least: f64, most: f64) -> Vec<[u32; WIDTH]> {
    let mut rows = vec![[0; WIDTH]; HEIGHT];
    let height = |value: f64| {
        let up = (value - least) / (most - least) * (DOTS_HIGH - 1) as f64;
        DOTS_HIGH - 1 - up.round() as usize
    };
    let mut before = height(value(0));
    for x in 0..DOTS_WIDE {
        let begin = x as u64 * steps / DOTS_WIDE as u64;
        let end = ((x as u64 + 1) * steps / DOTS_WIDE as u64).max(begin + 1);
        // From where the last column ended, so that the line has no gaps.
        let (mut top, mut bottom) = (before, before);
        for step in begin..end {
            before = height(value(step));
            if x == 0 && step == begin {
                (top, bottom) = (before, before);
            }
            (top, bottom) = (top.min(before), bottom.max(before));
        }
        for y in top..=bottom {
            rows[y / 4][x / 2] |= BITS[y % 4][x % 2];
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_falls_from_corner_to_corner() {
        let text = draw(DOTS_WIDE as u64, |step| 1.0 - step as f64 / (DOTS_WIDE - 1) as f64);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "at least 0 at step 127, at most 1 at step 0");
        assert_eq!(lines.len(), HEIGHT + 2);
        assert!(lines[1].starts_with("    1.000e0 |⠉") && lines[1].chars().count() < 24, "{text}");
        assert!(
            lines[HEIGHT].starts_with("    0.000e0 |⠀") && lines[HEIGHT].ends_with('⣄'),
            "{text}"
        );
        assert_eq!(lines[HEIGHT + 1].split_whitespace().last(), Some("127"));
    }

    #[test]
    fn a_jump_is_a_line_without_gaps_and_few_steps_fill_the_width() {
        let rows = dots(2, |step| step as f64, 0.0, 1.0);
        assert!((0..WIDTH).all(|x| rows.iter().any(|row| row[x] != 0)));
        assert!(rows.iter().all(|row| row.iter().any(|bits| *bits != 0)));
    }

    #[test]
    fn a_constant_needs_no_chart() {
        assert_eq!(draw(10, |_| 0.1), "0.1 at all 10 steps\n");
    }
}
