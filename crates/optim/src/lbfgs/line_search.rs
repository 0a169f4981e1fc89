//! How far to go along a direction: the strong Wolfe conditions, by cubic interpolation.

use std::sync::Arc;

use crate::kernels::Halt;
use crate::kernels::vector::Vector;

/// A place on the line through the parameters along the direction.
#[derive(Clone)]
pub(super) struct Point<A> {
    /// How far along the direction.
    pub t: f64,
    /// The loss; infinite where it is not a number, as is then `slope` NaN.
    pub loss: f64,
    /// The loss's derivative along the direction.
    pub slope: f64,
    /// The gradient.
    pub grad: Arc<Vector<A>>,
}

impl<A> Point<A> {
    fn is_finite(&self) -> bool {
        self.loss.is_finite() && self.slope.is_finite()
    }
}

/// The share of the first slope by which the loss must at least fall (Armijo).
const DECREASE: f64 = 1e-4;
/// The share of the first slope that may at most be left (curvature).
const CURVATURE: f64 = 0.9;

/// When a search ends without having met the conditions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Interpolations, not counting the first point.
    pub trials: usize,
    /// Width of the bracket, times the direction's largest element.
    pub width: f64,
    /// The direction's largest element.
    pub largest: f64,
}

/// The point to go to, and how many points were tried.
///
/// First the step grows from `first` until a minimum lies between two points, then the bracket is
/// narrowed. It is `torch.optim.LBFGS`'s search, but that a point whose loss is not a number counts as
/// infinitely high, and the bracket is halved towards what is known.
pub(super) fn strong_wolfe<A: Clone>(
    start: &Point<A>,
    first: f64,
    limits: Limits,
    trial: &mut dyn FnMut(f64) -> Result<Point<A>, Halt>,
) -> Result<(Point<A>, usize), Halt> {
    let fails = |point: &Point<A>| point.loss > start.loss + DECREASE * point.t * start.slope;
    let flat = |point: &Point<A>| point.slope.abs() <= -CURVATURE * start.slope;
    let mut previous = start.clone();
    let mut new = trial(first)?;
    let mut tried = 0;
    while tried < limits.trials {
        if fails(&new) || (tried > 1 && new.loss >= previous.loss) {
            break;
        }
        if flat(&new) {
            return Ok((new, tried + 1));
        }
        if new.slope >= 0.0 {
            break;
        }
        let bounds = (new.t + 0.01 * (new.t - previous.t), new.t * 10.0);
        let t = cubic_minimum(&previous, &new, bounds);
        previous = std::mem::replace(&mut new, trial(t)?);
        tried += 1;
    }
    if tried == limits.trials {
        previous = start.clone();
    }
    let mut bracket = Bracket::new(previous, new);
    while tried < limits.trials && bracket.width() * limits.largest >= limits.width {
        let t = bracket.next();
        if bracket.has(t) {
            // No number lies between: what is known is all there is.
            break;
        }
        let new = trial(t)?;
        tried += 1;
        if fails(&new) || new.loss >= bracket.low().loss {
            bracket.replace_high(new);
        } else {
            let done = flat(&new);
            bracket.replace_low(new, done);
            if done {
                break;
            }
        }
    }
    Ok((bracket.into_low(), tried + 1))
}

/// Two points with a minimum between them.
struct Bracket<A> {
    points: [Point<A>; 2],
    /// Which of them has the lower loss.
    low: usize,
    /// Whether the last step stayed close to an end.
    stuck: bool,
}

impl<A: Clone> Bracket<A> {
    fn new(a: Point<A>, b: Point<A>) -> Self {
        let low = usize::from(a.loss > b.loss);
        Self { points: [a, b], low, stuck: false }
    }

    fn low(&self) -> &Point<A> {
        &self.points[self.low]
    }

    fn into_low(self) -> Point<A> {
        let [a, b] = self.points;
        if self.low == 0 { a } else { b }
    }

    fn ends(&self) -> (f64, f64) {
        let [a, b] = [self.points[0].t, self.points[1].t];
        (a.min(b), a.max(b))
    }

    fn width(&self) -> f64 {
        let (from, to) = self.ends();
        to - from
    }

    fn has(&self, t: f64) -> bool {
        self.points.iter().any(|point| point.t == t)
    }

    /// The next point to try: the cubic's minimum, moved inwards where that lies at an end, or close
    /// to one for the second time.
    fn next(&mut self) -> f64 {
        let (from, to) = self.ends();
        let t = cubic_minimum(&self.points[0], &self.points[1], (from, to));
        let margin = 0.1 * (to - from);
        let close = (to - t).min(t - from) < margin;
        let moved = close && (self.stuck || t >= to || t <= from);
        self.stuck = close && !moved;
        match moved {
            false => t,
            true if (t - to).abs() < (t - from).abs() => to - margin,
            true => from + margin,
        }
    }

    fn replace_high(&mut self, new: Point<A>) {
        self.points[1 - self.low] = new;
        self.low = usize::from(self.points[0].loss > self.points[1].loss);
    }

    /// Where the minimum lies on the other side of `new`, the old low end becomes the high one.
    fn replace_low(&mut self, new: Point<A>, done: bool) {
        let (low, high) = (self.low, 1 - self.low);
        if !done && new.slope * (self.points[high].t - self.points[low].t) >= 0.0 {
            self.points[high] = self.points[low].clone();
        }
        self.points[low] = new;
    }
}

/// Where the cubic through two points with their slopes is least within `bounds`; their middle where
/// it has no minimum or the points are not numbers.
fn cubic_minimum<A>(a: &Point<A>, b: &Point<A>, bounds: (f64, f64)) -> f64 {
    let (from, to) = bounds;
    let middle = f64::midpoint(from, to);
    if !(a.is_finite() && b.is_finite()) {
        return middle;
    }
    let d1 = a.slope + b.slope - 3.0 * (a.loss - b.loss) / (a.t - b.t);
    let square = d1 * d1 - a.slope * b.slope;
    // No number where the cubic falls all the way.
    let d2 = square.sqrt();
    let t = if a.t <= b.t {
        b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2.0 * d2))
    } else {
        a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2.0 * d2))
    };
    if t.is_nan() { middle } else { t.max(from).min(to) }
}
