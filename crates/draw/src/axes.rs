//! Axes: from numbers to places in a picture, with a frame, ticks and curves.

use crate::picture::{Anchor, BLACK, Color, FAINT, GREY, Picture};

/// One axis: what it spans, and whether by its logarithm.
#[derive(Debug, Clone)]
pub struct Axis {
    /// What is written at its end.
    pub name: String,
    /// Where it begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// Whether by the logarithm.
    pub log: bool,
}

impl Axis {
    /// An axis that holds all finite of the values; of a logarithm's, those above 0.
    pub fn around(name: &str, log: bool, values: impl IntoIterator<Item = f64>) -> Self {
        let fits = |value: &f64| value.is_finite() && (!log || *value > 0.0);
        let (mut from, mut to) = (f64::INFINITY, f64::NEG_INFINITY);
        for value in values.into_iter().filter(fits) {
            (from, to) = (from.min(value), to.max(value));
        }
        if from > to {
            (from, to) = if log { (0.1, 1.0) } else { (0.0, 1.0) };
        } else if from == to {
            // A constant lies in the middle.
            let around = if from == 0.0 { 1.0 } else { from.abs() * 0.5 };
            (from, to) = if log { (from / 2.0, to * 2.0) } else { (from - around, to + around) };
        }
        Self { name: name.to_owned(), from, to, log }
    }

    /// 0 where the axis begins, 1 where it ends.
    fn part(&self, value: f64) -> f64 {
        let scale = |value: f64| if self.log { value.ln() } else { value };
        (scale(value) - scale(self.from)) / (scale(self.to) - scale(self.from))
    }

    /// Round numbers along the axis.
    fn ticks(&self) -> Vec<f64> {
        if self.log && self.to / self.from >= 10.0 {
            let decades = self.from.log10().ceil() as i32..=self.to.log10().floor() as i32;
            return decades.map(|power| 10_f64.powi(power)).collect();
        }
        let wide = self.to - self.from;
        let rough = 10_f64.powf((wide / 5.0).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * rough);
        let step = steps.into_iter().find(|step| wide / step <= 6.0).unwrap_or(wide);
        let first = (self.from / step - 1e-9).ceil() as i64;
        let last = (self.to / step + 1e-9).floor() as i64;
        (first..=last).map(|count| count as f64 * step).collect()
    }
}

/// A number as a tick's label: short, and with an exponent where it is very small or large.
fn label(value: f64) -> String {
    let short: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    if short == 0.0 || (1e-3..1e5).contains(&short.abs()) {
        short.to_string()
    } else {
        format!("{short:e}")
    }
}

/// Two axes and where they lie in a picture.
#[derive(Debug, Clone)]
pub struct Axes {
    /// To the right.
    pub x: Axis,
    /// Upwards.
    pub y: Axis,
    /// Left upper corner of the frame.
    pub at: [f64; 2],
    /// Width and height of the frame.
    pub size: [f64; 2],
}

impl Axes {
    /// The place of a pair of numbers.
    pub fn place(&self, x: f64, y: f64) -> [f64; 2] {
        let [left, top] = self.at;
        let [width, height] = self.size;
        [left + self.x.part(x) * width, top + (1.0 - self.y.part(y)) * height]
    }

    /// The frame with its ticks and names, and a title above it.
    pub fn draw(&self, picture: &mut Picture, title: &str) {
        let ([left, top], [width, height]) = (self.at, self.size);
        let (right, bottom) = (left + width, top + height);
        for tick in self.x.ticks() {
            let x = self.place(tick, self.y.from)[0];
            picture.line(vec![[x, top], [x, bottom]], FAINT, 1.0);
            picture.text([x, bottom + 12.0], label(tick), GREY, Anchor::Middle);
        }
        for tick in self.y.ticks() {
            let y = self.place(self.x.from, tick)[1];
            picture.line(vec![[left, y], [right, y]], FAINT, 1.0);
            picture.text([left - 6.0, y], label(tick), GREY, Anchor::End);
        }
        let frame = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]];
        picture.line(frame.to_vec(), GREY, 1.0);
        picture.text([left, top - 10.0], title, BLACK, Anchor::Start);
        picture.text([right, bottom + 26.0], &*self.x.name, BLACK, Anchor::End);
        picture.text([right, top - 10.0], &*self.y.name, BLACK, Anchor::End);
    }
}

/// Points to be joined.
#[derive(Debug, Clone)]
pub struct Curve {
    /// What a legend calls it; none where it is empty.
    pub name: String,
    /// The points.
    pub points: Vec<[f64; 2]>,
    /// Their color.
    pub color: Color,
}

/// Where [`plot`] leaves room: left, above, right, below.
const MARGINS: [f64; 4] = [86.0, 30.0, 20.0, 46.0];

/// Points of a curve of at most so many are marked.
const FEW: usize = 60;

/// Curves with axes, a frame and a legend, in the part of a picture from `top` with this height.
pub fn plot(
    picture: &mut Picture,
    [top, height]: [f64; 2],
    title: &str,
    [x, y]: [Axis; 2],
    curves: &[Curve],
) -> Axes {
    let [left, above, right, below] = MARGINS;
    let size = [picture.width as f64 - left - right, height - above - below];
    let axes = Axes { x, y, at: [left, top + above], size };
    axes.draw(picture, title);
    for curve in curves {
        let finite = |point: &&[f64; 2]| point.iter().all(|value| value.is_finite());
        let points = curve.points.iter().filter(finite);
        let places: Vec<_> = points.map(|[x, y]| axes.place(*x, *y)).collect();
        for place in places.iter().filter(|_| places.len() <= FEW) {
            picture.dot(*place, 3.0, curve.color);
        }
        picture.line(places, curve.color, 1.8);
    }
    for (row, curve) in curves.iter().filter(|curve| !curve.name.is_empty()).enumerate() {
        let y = axes.at[1] + 12.0 + 15.0 * row as f64;
        let x = axes.at[0] + size[0] - 10.0;
        picture.text([x, y], curve.name.as_str(), curve.color, Anchor::End);
    }
    axes
}

/// The values of the steps from 0 on as a curve's points; of more than `most` steps, the least and the most of
/// each few.
pub fn sampled(steps: u64, most: u64, value: impl Fn(u64) -> f64) -> Vec<[f64; 2]> {
    let few = steps.div_ceil(most).max(1);
    let mut points = Vec::new();
    for begin in (0..steps).step_by(few as usize) {
        let all: Vec<_> =
            (begin..(begin + few).min(steps)).map(|step| [step as f64, value(step)]).collect();
        let least = all.iter().min_by(|a, b| a[1].total_cmp(&b[1]));
        let most = all.iter().max_by(|a, b| a[1].total_cmp(&b[1]));
        let (Some(&least), Some(&most)) = (least, most) else { continue };
        points.push(if least[0] < most[0] { least } else { most });
        if few > 1 {
            points.push(if least[0] < most[0] { most } else { least });
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_land_on_their_places() {
        let x = Axis::around("x", false, [0.0, 10.0, f64::NAN]);
        let y = Axis::around("y", true, [1e-4, 1.0, 0.0]);
        let axes = Axes { x, y, at: [100.0, 50.0], size: [200.0, 80.0] };
        assert_eq!(axes.place(0.0, 1e-4), [100.0, 130.0]);
        assert_eq!(axes.place(10.0, 1.0), [300.0, 50.0]);
        let [x, y] = axes.place(5.0, 1e-2);
        assert!((x - 200.0).abs() < 1e-9 && (y - 90.0).abs() < 1e-9);
    }

    #[test]
    fn ticks_are_round_and_labels_short() {
        let axis = Axis::around("x", false, [0.0, 0.0007]);
        assert_eq!(
            axis.ticks().into_iter().map(label).collect::<Vec<_>>().join(" "),
            "0 2e-4 4e-4 6e-4"
        );
        let axis = Axis::around("x", true, [2e-4, 3.0]);
        assert_eq!(
            axis.ticks().into_iter().map(label).collect::<Vec<_>>(),
            ["0.001", "0.01", "0.1", "1"]
        );
        for range in [[3.0, 3.0], [0.0, 0.0], [-1e9, 1e9], [1.0, 1.0 + 1e-6]] {
            let count = Axis::around("x", false, range).ticks().len();
            assert!((2..=8).contains(&count), "{range:?}: {count}");
        }
        assert_eq!(
            [0.0, 1e-7, 123456.0, 0.30000000000000004].map(label),
            ["0", "1e-7", "1.235e5", "0.3"]
        );
    }

    #[test]
    fn many_steps_keep_their_extremes() {
        let spike = |step: u64| if step == 777 { 9.0 } else { 0.0 };
        let points = sampled(1000, 100, spike);
        assert!(points.len() <= 200 && points.contains(&[777.0, 9.0]));
        assert_eq!(sampled(3, 100, |step| step as f64), [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]);
        assert_eq!(sampled(0, 100, |_| 0.0).len(), 0);
    }
}
