//! Printing tensors.

use std::fmt;

use crate::dtype::DType;
use crate::shape::Shape;
use crate::tensor::Tensor;

/// Elements beyond this are left out of the text.
const SHOWN: usize = 64;

/// Tensors with more elements than this are printed by the ends of their long dimensions.
const MOST: usize = 1000;

/// Entries printed at each end of a long dimension.
const ENDS: usize = 3;

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor {} {} [", self.dtype(), self.shape())?;
        for (i, x) in self.to_f64_vec().iter().take(SHOWN).enumerate() {
            write!(f, "{}{x}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str(if self.count() > SHOWN { ", ...]" } else { "]" })
    }
}

/// The values in nested brackets, a row a line, as NumPy and PyTorch print them. Floating-point values
/// have four decimals, one where all are whole, or as many as asked for; of more than 1000 values only
/// the ends of long dimensions are shown.
///
/// ```
/// use rappel_tensor::Tensor;
/// let x = Tensor::from_slice(&[1.0_f32, 0.5, -12.25, 4.0], [2, 2]);
/// assert_eq!(x.to_string(), "[[  1.0000,   0.5000],\n [-12.2500,   4.0000]]");
/// assert_eq!(format!("{x:.2}"), "[[  1.00,   0.50],\n [-12.25,   4.00]]");
/// ```
impl fmt::Display for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.detach();
        let shown = if self.count() > MOST { all.ends() } else { all };
        let values = shown.to_f64_vec();
        let texts = texts(&values, self.dtype(), f.precision());
        let width = texts.iter().map(String::len).max().unwrap_or(0);
        let texts: Vec<String> = texts.into_iter().map(|text| format!("{text:>width$}")).collect();
        f.write_str(&nested(&texts, &shown.shape(), &self.shape(), 0))
    }
}

impl Tensor {
    /// The tensor without the middle of its long dimensions.
    fn ends(&self) -> Self {
        (0..self.rank()).fold(self.clone(), |tensor, axis| {
            let size = tensor.size(axis);
            if size <= 2 * ENDS {
                return tensor;
            }
            let ends = [0, size - ENDS].map(|start| tensor.narrow(axis, start, ENDS));
            crate::ops::concat(&[&ends[0], &ends[1]], axis)
        })
    }
}

/// Each value in the notation that suits all of them.
fn texts(values: &[f64], dtype: DType, precision: Option<usize>) -> Vec<String> {
    if !dtype.is_float() {
        return values.iter().map(f64::to_string).collect();
    }
    let sizes = || values.iter().map(|x| x.abs()).filter(|x| x.is_finite() && *x > 0.0);
    let (least, most) = (sizes().fold(f64::MAX, f64::min), sizes().fold(0.0, f64::max));
    let text = |x: &f64| match precision {
        Some(decimals) => format!("{x:.decimals$}"),
        None if most >= 1e8 || least < 1e-4 => format!("{x:.4e}"),
        None if sizes().all(|x| x.fract() == 0.0) => format!("{x:.1}"),
        None => format!("{x:.4}"),
    };
    values.iter().map(text).collect()
}

/// Brackets around the texts of a dimension and those within; `...` where `full` has more than `shown`.
fn nested(texts: &[String], shown: &[usize], full: &Shape, axis: usize) -> String {
    let Some((&size, inner)) = shown.split_first() else { return texts.concat() };
    let part = inner.iter().product::<usize>();
    let mut parts: Vec<String> = (0..size)
        .map(|i| nested(&texts[i * part..(i + 1) * part], inner, full, axis + 1))
        .collect();
    if full[axis] > size {
        parts.insert(ENDS, "...".to_owned());
    }
    let between = match inner.len() {
        0 => ", ".to_owned(),
        deep => format!(",{}{}", "\n".repeat(deep), " ".repeat(axis + 1)),
    };
    format!("[{}]", parts.join(&between))
}
