//! Matrix products, batched.

#[cfg(test)]
use super::{Operation, Sample};
use crate::kernels::args::Matrices;
use crate::kernels::matmul::{grams, products, products_into};
use crate::precision::matmul_precision;
use crate::shape::Shape;
use crate::tensor::Tensor;

impl Tensor {
    /// The matrix product over the last two dimensions, the others broadcast: `[.., m, k]` times
    /// `[.., k, n]` is `[.., m, n]`. Transposed operands are read where they lie.
    ///
    /// # Panics
    /// Where either has fewer than two dimensions, or sizes do not meet.
    ///
    /// ```
    /// use rappel_tensor::{DType, Tensor};
    /// let a = Tensor::ones([5, 2, 3], DType::F32);
    /// let b = Tensor::ones([4, 3], DType::F32);
    /// assert_eq!(a.matmul(&b.mt()).shape().to_string(), "[5, 2, 4]");
    /// ```
    #[track_caller]
    #[must_use]
    pub fn matmul(&self, other: &Tensor) -> Self {
        let (a, b) = (self.shape(), other.shape());
        assert!(
            a.rank() >= 2 && b.rank() >= 2 && a[a.rank() - 1] == b[b.rank() - 2],
            "matmul: shapes {a} and {b} do not meet"
        );
        assert!(
            self.dtype() == other.dtype(),
            "matmul: operands are {} and {}",
            self.dtype(),
            other.dtype()
        );
        let (m, k, n) = (a[a.rank() - 2], a[a.rank() - 1], b[b.rank() - 1]);
        if b.rank() == 2 {
            // One matrix for the whole batch: its rows are the batch's rows.
            let rows = a.count() / k.max(1);
            let rows = if k == 0 { a[..a.rank() - 1].iter().product() } else { rows };
            let flat = self.reshape([rows, k]);
            let mut shape = a;
            shape[a.rank() - 1] = n;
            return pairwise(&flat, other).reshape(shape);
        }
        let batch_of = |s: &Shape| Shape::new(&s[..s.rank() - 2]);
        let batch = batch_of(&a).broadcast(&batch_of(&b)).unwrap_or_else(|| {
            panic!("matmul: the batches of {a} and {b} do not broadcast together")
        });
        let full = |rows, cols| batch.inserted(batch.rank(), rows).inserted(batch.rank() + 1, cols);
        let count = batch.count();
        let x = self.broadcast_to(full(m, k)).reshape([count, m, k]);
        let y = other.broadcast_to(full(k, n)).reshape([count, k, n]);
        pairwise(&x, &y).reshape(full(m, n))
    }
}

impl Tensor {
    /// The product of each matrix with its own transpose over the last two dimensions, `[.., m, k]` to
    /// `[.., m, m]`: the bits of `x.matmul(&x.transpose(..))` at little more than half the cost where `m` is
    /// large, since the result is symmetric.
    ///
    /// # Panics
    /// Where there are fewer than two dimensions.
    ///
    /// ```
    /// use rappel_tensor::Tensor;
    /// let x = Tensor::from_slice(&[1.0_f32, 2.0, 3.0, 4.0], [2, 2]);
    /// assert_eq!(x.gram().to_vec::<f32>(), [5.0, 11.0, 11.0, 25.0]);
    /// ```
    #[track_caller]
    #[must_use]
    pub fn gram(&self) -> Self {
        let shape = self.shape();
        let rank = shape.rank();
        assert!(rank >= 2, "gram: {shape} is not a matrix, nor several");
        let (m, k, precision) = (shape[rank - 2], shape[rank - 1], matmul_precision());
        let count = shape[..rank - 2].iter().product();
        let x = Matrices::new(&self.detach().reshape([count, m, k]));
        let mut squares = shape;
        squares[rank - 1] = m;
        let dtype = self.dtype();
        grams(&x, precision).reshape(squares).record(&[self], move |grad, sink| {
            let grad = grad.reshape([count, m, m]);
            let both = Matrices::new(&(&grad + &grad.transpose(1, 2)));
            sink.write(0, shape, dtype, |target| products_into(&both, &x, precision, target));
        })
    }
}

/// Products of matrices of rank 2, or of equally many matrices of rank 3.
#[track_caller]
fn pairwise(a: &Tensor, b: &Tensor) -> Tensor {
    let (x, y) = (Matrices::new(a), Matrices::new(b));
    let (sa, sb) = (a.shape(), b.shape());
    let dtype = a.dtype();
    let shape =
        if a.rank() == 2 { [x.rows, y.cols].into() } else { [a.size(0), x.rows, y.cols].into() };
    let (shape, precision): (Shape, _) = (shape, matmul_precision());
    products(&x, &y, precision).reshape(shape).record(&[a, b], move |grad, sink| {
        let g = Matrices::new(&grad);
        sink.write(0, sa, dtype, |target| products_into(&g, &y.t(), precision, target));
        sink.write(1, sb, dtype, |target| products_into(&x.t(), &g, precision, target));
    })
}

#[cfg(test)]
pub(super) const OPERATION: Operation = Operation {
    name: "matmul",
    samples: |draw| {
        let mut size = || draw.size(1, 5);
        let (b, m, k, n) = (size(), size(), size(), size());
        let cases: [(&str, Shape, Shape); 4] = [
            ("2 x 2", [m, k].into(), [k, n].into()),
            ("3 x 2", [b, m, k].into(), [k, n].into()),
            ("3 x 3", [b, m, k].into(), [b, k, n].into()),
            ("broadcast", [b, 1, m, k].into(), [2, k, n].into()),
        ];
        let mut samples = Vec::new();
        for (what, a, b) in cases {
            let inputs = vec![draw.normal(a), draw.normal(b)];
            samples.push(Sample::new(what, inputs, |x| x[0].matmul(&x[1])));
        }
        let inputs = vec![draw.normal([k, m]), draw.normal([n, k])];
        samples.push(Sample::new("transposed", inputs, |x| x[0].mt().matmul(&x[1].mt())));
        let square = vec![draw.normal([b, m, k])];
        samples.push(Sample::new("gram", square, |x| x[0].gram()));
        samples
    },
};

#[cfg(test)]
mod tests {
    use crate::{DType, Key, MatmulPrecision, Tensor, with_matmul_precision};

    #[test]
    fn a_gram_has_the_bits_of_the_product() {
        for (shape, dtype) in [
            ([2, 5, 7], DType::F64),
            ([1, 600, 33], DType::F32),
            ([9, 513, 40], DType::F32),
            ([1, 530, 70], DType::BF16),
        ] {
            for precision in [MatmulPrecision::Highest, MatmulPrecision::Medium] {
                let x = Tensor::randn(shape, dtype, Key::new(3));
                let (gram, product) = with_matmul_precision(precision, || {
                    (x.gram().to_f64_vec(), x.matmul(&x.transpose(1, 2)).to_f64_vec())
                });
                assert!(gram == product, "{shape:?} {dtype} {precision}");
            }
        }
    }
}
