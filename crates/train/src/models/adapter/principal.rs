//! Adapters that begin as a part of their weight, which then loses it: PiSSA and OLoRA.

use rappel_tensor::{DType, Key, Params, Tensor, WeightLayout, no_grad};

use super::InitLora;

/// Rounds of subspace iteration, and vectors beside those that are wanted: singular values that are near to the last
/// wanted one separate slowly.
const ROUNDS: usize = 24;
const MORE: usize = 8;

/// Two matrices whose product a weight loses: `a` `[rank, inputs]`, `b` `[outputs, rank]`.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub a: Tensor,
    pub b: Tensor,
}

/// A matrix of columns one after another.
struct Columns {
    rows: usize,
    numbers: Vec<f64>,
}

impl Columns {
    fn of(matrix: &Tensor) -> Self {
        Self { rows: matrix.size(0), numbers: matrix.t().to_vec::<f64>() }
    }

    fn tensor(&self) -> Tensor {
        let columns = self.numbers.len() / self.rows.max(1);
        Tensor::from_slice(&self.numbers, [columns, self.rows]).t().contiguous()
    }

    /// Each column less what lies along those before it, of length 1; twice, so that rounding leaves nothing along.
    fn orthonormal(mut self) -> Self {
        let rows = self.rows;
        for column in 0..self.numbers.len() / rows.max(1) {
            let (before, from) = self.numbers.split_at_mut(column * rows);
            let this = &mut from[..rows];
            for _ in 0..2 {
                for other in before.chunks_exact(rows) {
                    let along: f64 = other.iter().zip(&*this).map(|(a, b)| a * b).sum();
                    this.iter_mut().zip(other).for_each(|(x, other)| *x -= along * other);
                }
            }
            let length = this.iter().map(|x| x * x).sum::<f64>().sqrt();
            let inverse = if length > 0.0 { length.recip() } else { 0.0 };
            for x in this.iter_mut() {
                *x *= inverse;
            }
        }
        self
    }
}

/// Eigenvalues of a symmetric matrix, falling, and its eigenvectors as columns, by Jacobi's rotations.
fn eigen(matrix: &Tensor) -> (Vec<f64>, Tensor) {
    let n = matrix.size(0);
    let mut m = matrix.to_vec::<f64>();
    let mut v = vec![0.0; n * n];
    (0..n).for_each(|i| v[i * n + i] = 1.0);
    for _ in 0..60 {
        let off: f64 = (0..n * n).filter(|at| at / n != at % n).map(|at| m[at] * m[at]).sum();
        let all: f64 = m.iter().map(|x| x * x).sum();
        if off <= 1e-30 * all {
            break;
        }
        for p in 0..n {
            for q in p + 1..n {
                if m[p * n + q] == 0.0 {
                    continue;
                }
                let theta = (m[q * n + q] - m[p * n + p]) / (2.0 * m[p * n + q]);
                let t = theta.signum() / (theta.abs() + theta.hypot(1.0));
                let t = if theta == 0.0 { 1.0 } else { t };
                let c = t.hypot(1.0).recip();
                let s = t * c;
                for k in 0..n {
                    let (a, b) = (m[k * n + p], m[k * n + q]);
                    (m[k * n + p], m[k * n + q]) = (c * a - s * b, s * a + c * b);
                }
                for k in 0..n {
                    let (a, b) = (m[p * n + k], m[q * n + k]);
                    (m[p * n + k], m[q * n + k]) = (c * a - s * b, s * a + c * b);
                    let (a, b) = (v[k * n + p], v[k * n + q]);
                    (v[k * n + p], v[k * n + q]) = (c * a - s * b, s * a + c * b);
                }
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| m[b * n + b].total_cmp(&m[a * n + a]));
    let vectors: Vec<f64> = (0..n * n).map(|at| v[at / n * n + order[at % n]]).collect();
    (order.iter().map(|i| m[i * n + i]).collect(), Tensor::from_slice(&vectors, [n, n]))
}

/// The `rank` largest singular triples of `weight`, shared between both sides: `b a` is its nearest matrix of that rank.
fn largest(weight: &Tensor, rank: usize) -> Pair {
    let (rows, columns) = (weight.size(0), weight.size(1));
    let width = (rank + MORE).min(rows).min(columns);
    let start = Tensor::randn([columns, width], DType::F64, Key::new(0).with_name("pissa"));
    let mut q = Columns::of(&weight.matmul(&start)).orthonormal().tensor();
    for _ in 0..ROUNDS {
        let z = Columns::of(&weight.t().matmul(&q)).orthonormal().tensor();
        q = Columns::of(&weight.matmul(&z)).orthonormal().tensor();
    }
    let small = q.t().matmul(weight);
    let (squares, vectors) = eigen(&small.matmul(&small.t()));
    let u = q.matmul(&vectors).narrow(1, 0, rank);
    let values: Vec<f64> = squares[..rank].iter().map(|x| x.max(0.0).sqrt()).collect();
    let roots = Tensor::from_slice(&values.iter().map(|x| x.sqrt()).collect::<Vec<_>>(), [rank]);
    let inverse = |x: &f64| if *x > 0.0 { x.sqrt().recip() } else { 0.0 };
    let inverses = Tensor::from_slice(&values.iter().map(inverse).collect::<Vec<_>>(), [rank]);
    // Rows of u^T W are singular values times right vectors.
    let a = u.t().matmul(weight) * inverses.unsqueeze(1);
    Pair { a, b: u * roots }
}

/// The first `rank` columns of an orthonormal basis of `weight`'s columns, and what `weight` is in these.
fn basis(weight: &Tensor, rank: usize) -> Pair {
    let first = weight.narrow(1, 0, rank.min(weight.size(1)));
    let b = Columns::of(&first).orthonormal().tensor();
    Pair { a: b.t().matmul(weight), b }
}

/// Gives the adapter of each weight in `params` the part of it that `init` means, takes that from the weight, and returns
/// it by the names of `lora_A` and `lora_B`.
pub(super) fn begin(
    params: &mut Params,
    init: InitLora,
) -> Result<Vec<(String, Tensor)>, rappel_tensor::ParamsError> {
    let mut initial = Vec::new();
    for module in super::adapted_modules(params) {
        let weight = params.get(&format!("{module}.weight")).expect("what is adapted");
        let names = ["A", "B"].map(|part| format!("{module}.lora_{part}.weight"));
        let parts = names.each_ref().map(|name| params.get(name).expect("parts of an adapter"));
        let form = params.low_rank(&format!("{module}.weight")).expect("a form of a low rank");
        let (scale, layout) = (form.scale, form.layout);
        let rank = parts[0].shape()[0];
        let (pair, rest) = no_grad(|| {
            let stored = weight.tensor();
            let wide = stored.to_dtype(DType::F64);
            let wide = if layout == WeightLayout::InOut { wide.t().contiguous() } else { wide };
            let pair = if init == InitLora::Olora {
                basis(&wide, rank)
            } else {
                // The scale is shared between both sides.
                let Pair { a, b } = largest(&wide, rank);
                let share = scale.sqrt().recip();
                Pair { a: a * share, b: b * share }
            };
            // As the parts are stored, so that nothing is lost at first.
            let pair = Pair {
                a: pair.a.to_dtype(parts[0].tensor().dtype()),
                b: pair.b.to_dtype(parts[1].tensor().dtype()),
            };
            let [a, b] = [&pair.a, &pair.b].map(|part| part.to_dtype(DType::F64));
            let rest = wide - b.matmul(&a) * scale;
            let rest = if layout == WeightLayout::InOut { rest.t().contiguous() } else { rest };
            (pair, rest.to_dtype(stored.dtype()))
        });
        params.set(&weight, &rest)?;
        let Pair { a, b } = pair;
        for ((name, part), value) in names.into_iter().zip(&parts).zip([a, b]) {
            params.set(part, &value)?;
            initial.push((name, value));
        }
    }
    Ok(initial)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(pair: &Pair) -> Vec<f64> {
        pair.b.matmul(&pair.a).to_vec::<f64>()
    }

    #[test]
    fn the_nearest_matrix_of_a_rank_is_found_whatever_its_size() {
        for (rows, columns, rank) in [(30, 20, 3), (20, 30, 4), (6, 5, 5), (64, 40, 8)] {
            let key = Key::new(rows as u64);
            let basis_of = |n: usize, key: Key| {
                Columns::of(&Tensor::randn([n, rows.min(columns)], DType::F64, key)).orthonormal()
            };
            let [u, v] = [basis_of(rows, key), basis_of(columns, key.with(1))].map(|x| x.tensor());
            let values: Vec<f64> =
                (0..rows.min(columns)).map(|i| 10.0 * 0.7_f64.powi(i as i32)).collect();
            let values = Tensor::from_slice(&values, [values.len()]);
            let weight = (&u * &values).matmul(&v.t());
            let wanted = (u.narrow(1, 0, rank) * values.narrow(0, 0, rank))
                .matmul(&v.narrow(1, 0, rank).t());
            for (found, wanted) in
                product(&largest(&weight, rank)).iter().zip(wanted.to_vec::<f64>())
            {
                assert!((found - wanted).abs() < 1e-9, "{rows} x {columns}: {found}, not {wanted}");
            }
        }
    }

    #[test]
    fn the_basis_of_the_first_columns_gives_them_back() {
        let weight = Tensor::randn([7, 9], DType::F64, Key::new(1));
        let pair = basis(&weight, 3);
        let found = pair.b.matmul(&pair.a);
        for (found, wanted) in
            found.narrow(1, 0, 3).to_vec::<f64>().iter().zip(weight.narrow(1, 0, 3).to_vec::<f64>())
        {
            assert!((found - wanted).abs() < 1e-12);
        }
    }
}
