//! Matrices in few dimensions: what GaLore and APOLLO keep their state in.

use rappel_config::Words;
use rappel_tensor::{DType, Key, Shape, Tensor};

use super::linalg::singular_vectors;

/// What a gradient `g [rows, cols]` is multiplied by to be smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// `l^T g`, `[rank, cols]`.
    Left,
    /// `g r^T`, `[rows, rank]`.
    Right,
    /// `l^T g r^T`, `[rank, rank]`.
    Both,
}

/// What a projection's matrices are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum ProjectionKind {
    /// The gradient's first singular vectors.
    Svd,
    /// Normal numbers.
    Random,
}

/// Which sides of a gradient are projected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum ProjectionSide {
    /// The right one where there are no fewer rows than columns, else the left one.
    Std,
    /// The other one.
    ReverseStd,
    /// The right one.
    Right,
    /// The left one.
    Left,
    /// Both.
    Full,
}

/// How a matrix of one shape is made smaller.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Projection {
    side: Side,
    rows: usize,
    cols: usize,
    rank: usize,
}

impl Projection {
    /// To the given rank, or the least of `shape`'s dimensions; nothing where it is not a matrix.
    pub fn new(way: ProjectionSide, shape: Shape, rank: usize) -> Option<Self> {
        let &[rows, cols] = &shape[..] else { return None };
        let side = match way {
            ProjectionSide::Left => Side::Left,
            ProjectionSide::Right => Side::Right,
            ProjectionSide::Full => Side::Both,
            _ if (rows >= cols) == (way == ProjectionSide::Std) => Side::Right,
            _ => Side::Left,
        };
        Some(Self { side, rows, cols, rank: rank.min(rows).min(cols) })
    }

    /// The shape of a smaller gradient.
    pub fn small(self) -> Shape {
        match self.side {
            Side::Left => [self.rank, self.cols].into(),
            Side::Right => [self.rows, self.rank].into(),
            Side::Both => [self.rank, self.rank].into(),
        }
    }

    /// Names and shapes of the matrices that it is multiplied by.
    pub fn state(self) -> Vec<(&'static str, Shape)> {
        let left = ("proj_left", [self.rows, self.rank].into());
        let right = ("proj_right", [self.rank, self.cols].into());
        match self.side {
            Side::Left => vec![left],
            Side::Right => vec![right],
            Side::Both => vec![left, right],
        }
    }

    /// The first singular vectors of a gradient.
    pub fn of(self, grad: &Tensor) -> Vec<Tensor> {
        let (left, right) = singular_vectors(grad, self.rank);
        match self.side {
            Side::Left => vec![left],
            Side::Right => vec![right],
            Side::Both => vec![left, right],
        }
    }

    /// Normal numbers of variance `1 / rank`.
    pub fn random(self, dtype: DType, key: Key) -> Vec<Tensor> {
        let scale = (self.rank as f64).sqrt().recip();
        let draw = |(k, (_, shape)): (usize, (_, Shape))| {
            Tensor::randn(shape, dtype, key.with(k as u64)) * scale
        };
        self.state().into_iter().enumerate().map(draw).collect()
    }

    /// A gradient made smaller by `matrices`.
    pub fn down(self, grad: &Tensor, matrices: &[Tensor]) -> Tensor {
        match self.side {
            Side::Left => matrices[0].t().matmul(grad),
            Side::Right => grad.matmul(&matrices[0].t()),
            Side::Both => matrices[0].t().matmul(grad).matmul(&matrices[1].t()),
        }
    }

    /// A smaller step made as large as the parameter.
    pub fn up(self, step: &Tensor, matrices: &[Tensor]) -> Tensor {
        match self.side {
            Side::Left => matrices[0].matmul(step),
            Side::Right => step.matmul(&matrices[0]),
            Side::Both => matrices[0].matmul(step).matmul(&matrices[1]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_projections_keep_norms_on_average() {
        for way in [ProjectionSide::Left, ProjectionSide::Right] {
            let shape: Shape = [200, 300].into();
            let grad = Tensor::randn(shape, DType::F64, Key::new(1));
            let projection = Projection::new(way, shape, 50).unwrap();
            let matrices = projection.random(DType::F64, Key::new(2));
            let small = projection.down(&grad, &matrices);
            assert_eq!(small.shape(), projection.small());
            let ratio = small.square().sum().item() / grad.square().sum().item();
            assert!((ratio - 1.0).abs() < 0.05, "{way:?}: {ratio}");
        }
    }

    #[test]
    fn singular_vectors_keep_what_is_of_low_rank() {
        let factor = |rows, cols, seed| Tensor::randn([rows, cols], DType::F64, Key::new(seed));
        for shape in [[9, 4], [4, 9]] {
            let grad = factor(shape[0], 2, 1).matmul(&factor(2, shape[1], 2));
            for word in ProjectionSide::WORDS {
                let way = ProjectionSide::by_word(word).unwrap();
                let projection = Projection::new(way, shape.into(), 2).unwrap();
                let matrices = projection.of(&grad);
                let again = projection.up(&projection.down(&grad, &matrices), &matrices);
                assert!((again - &grad).abs().max().item() < 1e-12, "{word}");
            }
        }
    }
}
