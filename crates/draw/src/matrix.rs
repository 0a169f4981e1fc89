//! Confusion matrices.

use crate::picture::{Anchor, BLACK, Color, GREY, PALETTE, Picture, WHITE};

/// The smallest and the largest side of a cell, and the width that all share.
const SIDES: [f64; 2] = [2.0, 64.0];
const WIDTH: f64 = 520.0;

/// Sides of a cell from which on there is room for its count, and for names beside it.
const COUNTED: f64 = 30.0;
const NAMED: f64 = 14.0;

/// Letters of a name; longer ones are cut.
const LETTERS: usize = 18;
/// Width of a letter, in pixels.
const LETTER: f64 = 7.0;

/// A picture of `counts[actual][predicted]`, whose cells are the darker, the larger their share of their row
/// is. Columns that have no room for the names of classes are numbered, and so are the rows then.
///
/// # Panics
/// If the counts are not those of all pairs of classes.
pub fn confusion_matrix(title: &str, classes: &[String], counts: &[Vec<usize>]) -> Picture {
    let n = classes.len();
    assert!(counts.len() == n && counts.iter().all(|row| row.len() == n), "{n} classes");
    let side = (WIDTH / n as f64).clamp(SIDES[0], SIDES[1]).floor();
    let [rows, columns] = names(classes, side);
    let left = 30.0 + LETTER * longest(&rows) as f64;
    let (top, wide) = (52.0, side * n as f64);
    let right = (left + wide).max(left + LETTER * SUBTITLE.len() as f64);
    let mut picture = Picture::new((right + 20.0) as usize, (top + wide + 30.0) as usize);
    picture.text([left, 14.0], title, BLACK, Anchor::Start);
    picture.text([left, 34.0], SUBTITLE, GREY, Anchor::Start);
    for (row, counts) in counts.iter().enumerate() {
        let all = counts.iter().sum::<usize>().max(1) as f64;
        for (column, count) in counts.iter().enumerate() {
            let at = [left + side * column as f64, top + side * row as f64];
            let share = *count as f64 / all;
            picture.rect(at, [side; 2], shade(share));
            if side >= COUNTED {
                let color = if share > 0.5 { WHITE } else { BLACK };
                let middle = at.map(|from| from + side / 2.0);
                picture.text(middle, short(*count), color, Anchor::Middle);
            }
        }
    }
    let frame = [[0.0, 0.0], [wide, 0.0], [wide, wide], [0.0, wide], [0.0, 0.0]];
    picture.line(frame.map(|[x, y]| [left + x, top + y]).to_vec(), GREY, 1.0);
    let middle = |place: usize| side * (place as f64 + 0.5);
    for (place, name) in rows.iter().enumerate() {
        picture.text([left - 6.0, top + middle(place)], &**name, BLACK, Anchor::End);
    }
    for (place, name) in columns.iter().enumerate() {
        picture.text([left + middle(place), top + wide + 12.0], &**name, BLACK, Anchor::Middle);
    }
    picture
}

const SUBTITLE: &str = "rows: actual, columns: predicted";

/// The labels of rows and of columns; none where cells are too small.
fn names(classes: &[String], side: f64) -> [Vec<String>; 2] {
    if side < NAMED {
        return [Vec::new(), Vec::new()];
    }
    let cut = |name: &String| match name.char_indices().nth(LETTERS) {
        Some((end, _)) => format!("{}..", &name[..end]),
        None => name.clone(),
    };
    let names: Vec<String> = classes.iter().map(cut).collect();
    if LETTER * longest(&names) as f64 <= side - 2.0 {
        return [names.clone(), names];
    }
    let numbered = names.iter().enumerate().map(|(at, name)| format!("{name} {}", at + 1));
    [numbered.collect(), (1..=names.len()).map(|number| number.to_string()).collect()]
}

fn longest(names: &[String]) -> usize {
    names.iter().map(|name| name.chars().count()).max().unwrap_or(0)
}

/// From white to the palette's blue.
fn shade(share: f64) -> Color {
    let blend = |(from, to): (u8, u8)| {
        (f64::from(from) + (f64::from(to) - f64::from(from)) * share).round() as u8
    };
    let [from, to] = [WHITE, PALETTE[0]];
    [0, 1, 2].map(|at| blend((from[at], to[at])))
}

/// A count of at most four letters.
fn short(count: usize) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..1_000_000 => format!("{}k", count / 1000),
        1_000_000..1_000_000_000 => format!("{}M", count / 1_000_000),
        _ => format!("{}G", count / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::picture::Shape;

    fn text(shape: &Shape) -> Option<&str> {
        match shape {
            Shape::Text { text, .. } => Some(text),
            _ => None,
        }
    }

    fn texts(picture: &Picture) -> Vec<&str> {
        picture.shapes.iter().filter_map(text).collect()
    }

    #[test]
    fn counts_and_names_are_written_where_there_is_room() {
        let names =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let picture =
            confusion_matrix("c", &names(&["cat", "dog"]), &[vec![12_345, 0], vec![3, 1]]);
        assert_eq!(texts(&picture)[2..], ["12k", "0", "3", "1", "cat", "dog", "cat", "dog"],);
        let long = names(&["a name that has no room", "b"]);
        let picture = confusion_matrix("c", &long, &[vec![1, 0], vec![0, 1]]);
        assert_eq!(texts(&picture)[6..], ["a name that has no.. 1", "b 2", "1", "2"]);
        let many: Vec<String> = (0..100).map(|class| class.to_string()).collect();
        let picture = confusion_matrix("c", &many, &vec![vec![1; 100]; 100]);
        assert_eq!(texts(&picture).len(), 2);
    }

    #[test]
    fn a_cell_is_the_darker_the_larger_its_share_of_the_row_is() {
        assert_eq!([shade(0.0), shade(1.0)], [WHITE, PALETTE[0]]);
        assert!(shade(0.5)[0] < WHITE[0] && shade(0.5)[0] > PALETTE[0][0]);
    }
}
