//! `rappel surface`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use rappel_train::{FUNCTIONS, Function, Path, Surface};

use crate::draw::{self, Anchor, Axes, Axis, BLACK, Color, GREY, Grid, PALETTE, Picture};
use crate::names::{self, Names};
use crate::output::print;

/// Draw the paths of optimizers down a function of two variables, over its contours
///
/// Contours are evenly spaced in the logarithm of the height over the lowest point; crosses mark the
/// minima. The learning rate of each optimizer is tuned unless it is given: the one that ends lowest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel surface --function rosenbrock --optimizer sgd,adam,lbfgs --out rosenbrock.svg
  rappel surface --function quadratic --optimizer sgd,sgd:momentum=0.9 --steps 50 --out valley.png
  rappel surface --function himmelblau --optimizer adam --lr 0.1 --start 0,-1 --out himmelblau.svg
  rappel list functions")]
pub struct Args {
    /// The function; see `rappel list functions`
    #[arg(long, value_name = "NAME", hide_possible_values = true, value_parser = Names(names::functions))]
    function: String,
    /// The optimizers: names from `rappel list optimizers`, each with options as in sgd:momentum=0.9
    #[arg(long, value_name = "NAME[,NAME...]", hide_possible_values = true, value_parser = Names(names::optimizers))]
    optimizer: String,
    /// Steps of each path
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    steps: u64,
    /// The learning rate of all optimizers. Default: tuned for each
    #[arg(long, value_name = "LR")]
    lr: Option<f64>,
    /// Where the paths begin. Default: the function's customary start
    #[arg(long, value_name = "X,Y", allow_hyphen_values = true, value_parser = point)]
    start: Option<[f64; 2]>,
    /// The picture: its name ends in .svg or .png
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

fn point(text: &str) -> Result<[f64; 2], String> {
    let numbers = text.split(',').map(|number| number.trim().parse::<f64>());
    match numbers.collect::<Result<Vec<_>, _>>() {
        Ok(numbers) if numbers.len() == 2 && numbers.iter().all(|n| n.is_finite()) => {
            Ok([numbers[0], numbers[1]])
        }
        _ => Err("expected two numbers, such as -1.2,1".to_owned()),
    }
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    draw::kind(&args.out)?;
    let entry = FUNCTIONS.lookup(&args.function)?;
    let start = args.start.unwrap_or(entry.build.start);
    if !entry.build.values(&[start])[0].is_finite() {
        bail!(
            "--start {},{}: the function is not finite there; choose another",
            start[0],
            start[1]
        );
    }
    let surface = Surface { function: entry.build, start, steps: args.steps };
    let path = |name: &str| Ok((name.to_owned(), surface.path(name, args.lr)?));
    let paths = names(&args.optimizer).into_iter().map(path);
    let paths = paths.collect::<anyhow::Result<Vec<_>>>()?;
    let least = entry.build.least().map(|least| format!(", least value {}", number(least)));
    let title = format!(
        "{}, {} steps from ({}, {}){}",
        entry.name,
        args.steps,
        start[0],
        start[1],
        least.unwrap_or_default()
    );
    draw::save(&picture(&surface, &title, entry.summary, &paths), &args.out)?;
    let line = |(name, path): &(String, Path)| format!("{name}: {}\n", told(path).join(", "));
    print(&paths.iter().map(line).collect::<String>())?;
    Ok(ExitCode::SUCCESS)
}

/// What commas part, but for those within brackets.
fn names(list: &str) -> Vec<&str> {
    let mut depth = 0;
    let parts = list.split(|letter| {
        depth += i32::from(letter == '[') - i32::from(letter == ']');
        depth == 0 && letter == ','
    });
    parts.map(str::trim).collect()
}

/// The learning rate, where the path ended, and whether it was cut short.
fn told(path: &Path) -> Vec<String> {
    let (at, value) = (path.points[path.points.len() - 1], path.values[path.values.len() - 1]);
    let lr = path.lr.map(|lr| format!("lr {}", number(lr)));
    let place = format!("f({}, {}) = {}", number(at[0]), number(at[1]), number(value));
    let diverged = path.diverged.then(|| format!("diverged after {} steps", path.points.len() - 1));
    lr.into_iter().chain([place]).chain(diverged).collect()
}

/// Three digits.
fn number(value: f64) -> String {
    let short: f64 = format!("{value:.2e}").parse().unwrap_or(value);
    if short == 0.0 || (1e-3..1e5).contains(&short.abs()) {
        short.to_string()
    } else {
        format!("{short:e}")
    }
}

/// Width of the frame, and room for the legend beside it.
const FRAME: f64 = 560.0;
const LEGEND: f64 = 270.0;
const LEFT: f64 = 60.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 46.0;

/// Points of the grid along the frame's width.
const FINE: usize = 281;
/// How many contours there are.
const LEVELS: usize = 20;

fn picture(surface: &Surface, title: &str, summary: &str, paths: &[(String, Path)]) -> Picture {
    let [x, y] = surface.function.view;
    let height = (FRAME * (y[1] - y[0]) / (x[1] - x[0])).clamp(280.0, FRAME).round();
    let width = LEFT + FRAME + LEGEND;
    let mut picture = Picture::new(width as usize, (TOP + height + BOTTOM) as usize);
    let axis = |[from, to]: [f64; 2]| Axis { name: String::new(), from, to, log: false };
    let (x, y) = (axis(x), axis(y));
    let axes = Axes { x, y, at: [LEFT, TOP], size: [FRAME, height] };
    picture.text([LEFT, 16.0], title, BLACK, Anchor::Start);
    picture.text([LEFT, 34.0], summary, GREY, Anchor::Start);
    axes.draw(&mut picture, "");
    picture.text([LEFT + FRAME / 2.0, TOP + height + 32.0], "x", BLACK, Anchor::Middle);
    picture.text([16.0, TOP + height / 2.0], "y", BLACK, Anchor::Middle);
    contours(&mut picture, &axes, surface.function);
    for (i, (_, path)) in paths.iter().enumerate() {
        trace(&mut picture, &axes, path, color(i));
    }
    for minimum in surface.function.minima {
        cross(&mut picture, axes.place(minimum[0], minimum[1]));
    }
    let [start_x, start_y] = axes.place(surface.start[0], surface.start[1]);
    if inside(&axes, [start_x, start_y]) {
        picture.dot([start_x, start_y], 4.5, BLACK);
    }
    let minima = !surface.function.minima.is_empty();
    legend(&mut picture, [LEFT + FRAME + 18.0, TOP + 10.0], minima, paths);
    picture
}

fn color(i: usize) -> Color {
    PALETTE[(i + 1) % PALETTE.len()]
}

/// Lines of equal height, the darker the lower.
fn contours(picture: &mut Picture, axes: &Axes, function: Function) {
    let rows = (FINE as f64 * axes.size[1] / axes.size[0]) as usize;
    let mut grid = Grid { view: function.view, size: [FINE, rows], values: Vec::new() };
    let points: Vec<[f64; 2]> = (0..FINE * rows).map(|i| grid.point(i)).collect();
    grid.values = function.values(&points);
    let lowest = grid.values.iter().copied().fold(f64::INFINITY, f64::min);
    let lowest = function.least().map_or(lowest, |least| least.min(lowest));
    let mut heights: Vec<f64> = grid.values.iter().map(|value| value - lowest).collect();
    heights.sort_by(f64::total_cmp);
    // Not from the very lowest: a small part of the picture would take most lines.
    let (low, high) = (heights[heights.len() / 100].max(1e-9), heights[heights.len() - 1]);
    for level in 0..LEVELS {
        let part = level as f64 / LEVELS as f64;
        let lines = grid.contour(lowest + low * (high / low).powf(part));
        let shade = [50.0, 90.0, 140.0].map(|dark| (dark + (225.0 - dark) * part) as u8);
        for line in lines {
            let places: Vec<_> = line.iter().map(|[x, y]| axes.place(*x, *y)).collect();
            picture.line(simplified(&places), shade, 0.9);
        }
    }
}

/// The fewest points whose line stays near the given one, by Ramer, Douglas and Peucker.
fn simplified(places: &[[f64; 2]]) -> Vec<[f64; 2]> {
    let [first, .., last] = places else { return places.to_vec() };
    let (along, length) = ([last[0] - first[0], last[1] - first[1]], distance(*first, *last));
    let away = |place: &[f64; 2]| {
        let to = [place[0] - first[0], place[1] - first[1]];
        // Of a closed line the farthest point from its ends.
        if length == 0.0 {
            distance(*place, *first)
        } else {
            (along[0] * to[1] - along[1] * to[0]).abs() / length
        }
    };
    let inner = (1..places.len() - 1).map(|i| (i, away(&places[i])));
    match inner.max_by(|a, b| a.1.total_cmp(&b.1)) {
        Some((i, far)) if far > NEAR => {
            let mut line = simplified(&places[..=i]);
            line.pop();
            line.extend(simplified(&places[i..]));
            line
        }
        _ => vec![*first, *last],
    }
}

/// In pixels.
const NEAR: f64 = 0.25;

fn distance(a: [f64; 2], b: [f64; 2]) -> f64 {
    (a[0] - b[0]).hypot(a[1] - b[1])
}

fn cross(picture: &mut Picture, [x, y]: [f64; 2]) {
    for (width, color) in [(5.0, [255; 3]), (2.0, BLACK)] {
        picture.line(vec![[x - 5.0, y - 5.0], [x + 5.0, y + 5.0]], color, width);
        picture.line(vec![[x - 5.0, y + 5.0], [x + 5.0, y - 5.0]], color, width);
    }
}

/// Paths of at most so many points have them marked.
const FEW: usize = 61;

/// A path as far as it is in the frame, on white so that contours do not hide it.
fn trace(picture: &mut Picture, axes: &Axes, path: &Path, color: Color) {
    let places: Vec<[f64; 2]> = path.points.iter().map(|[x, y]| axes.place(*x, *y)).collect();
    let lines = clipped(axes, &places);
    for line in &lines {
        picture.line(line.clone(), [255; 3], 4.5);
    }
    for line in lines {
        picture.line(line, color, 2.0);
    }
    let shown = places.iter().filter(|place| inside(axes, **place));
    if places.len() <= FEW {
        shown.for_each(|place| picture.dot(*place, 2.6, color));
    }
    if let Some(end) = places.last().filter(|place| inside(axes, **place)) {
        picture.dot(*end, 7.0, [255; 3]);
        picture.dot(*end, 5.5, color);
    }
}

fn inside(axes: &Axes, place: [f64; 2]) -> bool {
    (0..2).all(|i| (axes.at[i]..=axes.at[i] + axes.size[i]).contains(&place[i]))
}

/// The parts of a line within the frame.
fn clipped(axes: &Axes, places: &[[f64; 2]]) -> Vec<Vec<[f64; 2]>> {
    let mut lines: Vec<Vec<[f64; 2]>> = Vec::new();
    for ends in places.windows(2) {
        let Some([from, to]) = within(axes, ends[0], ends[1]) else { continue };
        match lines.last_mut() {
            Some(line) if line.last() == Some(&from) => line.push(to),
            _ => lines.push(vec![from, to]),
        }
    }
    lines
}

/// The part of a piece of line within the frame, by Liang and Barsky.
fn within(axes: &Axes, from: [f64; 2], to: [f64; 2]) -> Option<[[f64; 2]; 2]> {
    let (mut enter, mut leave) = (0.0_f64, 1.0_f64);
    for i in 0..2 {
        let along = to[i] - from[i];
        let (low, high) = (axes.at[i] - from[i], axes.at[i] + axes.size[i] - from[i]);
        if along == 0.0 {
            if low > 0.0 || high < 0.0 {
                return None;
            }
            continue;
        }
        let (first, second) = (low / along, high / along);
        enter = enter.max(first.min(second));
        leave = leave.min(first.max(second));
    }
    let at = |part: f64| {
        if part == 0.0 {
            from
        } else if part == 1.0 {
            to
        } else {
            [from[0] + part * (to[0] - from[0]), from[1] + part * (to[1] - from[1])]
        }
    };
    (enter <= leave).then(|| [at(enter), at(leave)])
}

fn legend(picture: &mut Picture, [x, mut y]: [f64; 2], has_minima: bool, paths: &[(String, Path)]) {
    picture.dot([x + 8.0, y], 4.5, BLACK);
    picture.text([x + 24.0, y], "start", BLACK, Anchor::Start);
    if has_minima {
        y += 20.0;
        cross(picture, [x + 8.0, y]);
        picture.text([x + 24.0, y], "minimum", BLACK, Anchor::Start);
    }
    y += 28.0;
    for (i, (name, path)) in paths.iter().enumerate() {
        picture.line(vec![[x, y], [x + 16.0, y]], color(i), 2.5);
        picture.dot([x + 8.0, y], 4.0, color(i));
        picture.text([x + 24.0, y], name.as_str(), color(i), Anchor::Start);
        for line in told(path) {
            y += 16.0;
            picture.text([x + 24.0, y], line, GREY, Anchor::Start);
        }
        y += 26.0;
    }
}
