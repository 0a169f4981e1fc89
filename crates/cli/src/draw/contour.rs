//! Lines of equal height, by marching squares.

use std::collections::HashMap;

/// A function on an evenly spaced grid.
#[derive(Debug, Clone)]
pub struct Grid {
    /// From where to where it goes, in x and in y.
    pub view: [[f64; 2]; 2],
    /// Points in x and in y, at least 2.
    pub size: [usize; 2],
    /// The heights, row after row, the rows by rising y.
    pub values: Vec<f64>,
}

/// An edge between two neighbours of the grid, by their positions.
type Edge = (usize, usize);

impl Grid {
    /// The place of a point of the grid.
    pub fn point(&self, index: usize) -> [f64; 2] {
        let (column, row) = (index % self.size[0], index / self.size[0]);
        let along = |axis: usize, i: usize| {
            let [from, to] = self.view[axis];
            from + (to - from) * i as f64 / (self.size[axis] - 1) as f64
        };
        [along(0, column), along(1, row)]
    }

    /// The lines on which the function has the value `level`, each as points to be joined.
    pub fn contour(&self, level: f64) -> Vec<Vec<[f64; 2]>> {
        let mut next: HashMap<Edge, Vec<Edge>> = HashMap::new();
        let mut order = Vec::new();
        for (a, b) in self.pieces(level) {
            for (from, to) in [(a, b), (b, a)] {
                let neighbours = next.entry(from).or_default();
                if neighbours.is_empty() {
                    order.push(from);
                }
                neighbours.push(to);
            }
        }
        // Open lines from their ends first, then those that close.
        let ends: Vec<Edge> = order.iter().copied().filter(|edge| next[edge].len() == 1).collect();
        let mut lines = Vec::new();
        for start in ends.into_iter().chain(order) {
            let mut line = vec![start];
            let mut at = start;
            while let Some(to) = next.get_mut(&at).and_then(Vec::pop) {
                if let Some(back) = next.get_mut(&to) {
                    back.retain(|edge| *edge != at);
                }
                line.push(to);
                at = to;
            }
            if line.len() > 1 {
                lines.push(line.into_iter().map(|edge| self.crossing(edge, level)).collect());
            }
        }
        lines
    }

    /// The pieces of line within each square of the grid, between the edges that they cross.
    fn pieces(&self, level: f64) -> Vec<(Edge, Edge)> {
        let [columns, rows] = self.size;
        let mut pieces = Vec::new();
        for row in 0..rows - 1 {
            for column in 0..columns - 1 {
                let corner = row * columns + column;
                let corners = [corner, corner + 1, corner + columns + 1, corner + columns];
                let above = corners.map(|corner| self.values[corner] > level);
                let sides = (0..4).filter(|&i| above[i] != above[(i + 1) % 4]);
                let crossed: Vec<Edge> =
                    sides.map(|i| edge(corners[i], corners[(i + 1) % 4])).collect();
                match crossed[..] {
                    [a, b] => pieces.push((a, b)),
                    [a, b, c, d] => {
                        // A saddle: what its middle is like stays together.
                        let middle = corners.iter().map(|&c| self.values[c]).sum::<f64>() / 4.0;
                        if (middle > level) == above[0] {
                            pieces.extend([(a, b), (c, d)]);
                        } else {
                            pieces.extend([(d, a), (b, c)]);
                        }
                    }
                    _ => {}
                }
            }
        }
        pieces
    }

    /// Where the level lies on an edge, the height taken for straight between its ends.
    fn crossing(&self, (a, b): Edge, level: f64) -> [f64; 2] {
        let (low, high) = (self.values[a], self.values[b]);
        let part = ((level - low) / (high - low)).clamp(0.0, 1.0);
        let ([ax, ay], [bx, by]) = (self.point(a), self.point(b));
        [ax + (bx - ax) * part, ay + (by - ay) * part]
    }
}

/// The same edge from both of its sides.
fn edge(a: usize, b: usize) -> Edge {
    (a.min(b), a.max(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(f: impl Fn(f64, f64) -> f64) -> Grid {
        let mut grid = Grid { view: [[-2.0, 2.0]; 2], size: [41, 41], values: Vec::new() };
        grid.values = (0..41 * 41).map(|i| grid.point(i)).map(|[x, y]| f(x, y)).collect();
        grid
    }

    #[test]
    fn a_circle_is_one_closed_line() {
        let lines = grid(|x, y| x * x + y * y).contour(1.69);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].first(), lines[0].last());
        assert!(lines[0].len() > 60);
        for [x, y] in &lines[0] {
            assert!((x.hypot(*y) - 1.3).abs() < 2e-3, "{x} {y}");
        }
    }

    #[test]
    fn a_slope_is_one_open_line_and_a_saddle_two() {
        let lines = grid(|x, _| x).contour(0.33);
        assert_eq!((lines.len(), lines[0].len()), (1, 41));
        assert!(lines[0].iter().all(|[x, _]| (x - 0.33).abs() < 1e-12));
        assert_eq!(grid(|x, y| x * y).contour(0.5).len(), 2);
        assert_eq!(grid(|x, y| x * y).contour(9.0).len(), 0);
    }
}
