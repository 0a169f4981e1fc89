//! What an encoder reads.

use rappel_config::Words;
use rappel_tensor::Tensor;

/// Texts of one batch: ids of tokens, padded to the longest, whose padding nothing else sees.
#[derive(Debug, Clone)]
pub struct EncoderTexts {
    /// i64 `[batch, time]`.
    ids: Tensor,
    /// i64 `[batch, time]`, the segment of each token.
    types: Option<Tensor>,
    lengths: Vec<usize>,
    /// u8 `[batch, time]`, 1 for tokens and 0 for padding; nothing where all texts are of one length.
    real: Option<Tensor>,
}

impl EncoderTexts {
    /// Texts of these ids.
    ///
    /// ```
    /// use rappel_model::EncoderTexts;
    /// let texts = EncoderTexts::new(&[vec![1, 5, 2], vec![1, 2]]);
    /// assert_eq!(texts.ids().to_vec::<i64>(), [1, 5, 2, 1, 2, 0]);
    /// assert_eq!(texts.lengths(), [3, 2]);
    /// ```
    ///
    /// # Panics
    /// Without texts, and where one has no tokens.
    #[track_caller]
    pub fn new<T: AsRef<[u32]>>(texts: &[T]) -> Self {
        let lengths: Vec<usize> = texts.iter().map(|text| text.as_ref().len()).collect();
        let time = lengths.iter().copied().max().unwrap_or(0);
        let mut ids = vec![0_i64; texts.len() * time];
        for (row, text) in ids.chunks_exact_mut(time.max(1)).zip(texts) {
            for (to, id) in row.iter_mut().zip(text.as_ref()) {
                *to = i64::from(*id);
            }
        }
        Self::padded(Tensor::from_slice(&ids, [texts.len(), time]), lengths)
    }

    /// Texts of ids i64 `[batch, time]`, of which the first `lengths` of each row count.
    ///
    /// # Panics
    /// Where there is not a length of `1..=time` for each.
    #[track_caller]
    pub fn padded(ids: Tensor, lengths: Vec<usize>) -> Self {
        assert!(ids.rank() == 2 && ids.size(0) > 0, "EncoderTexts: ids are {}", ids.shape());
        let (batch, time) = (ids.size(0), ids.size(1));
        let fit = lengths.len() == batch && lengths.iter().all(|n| (1..=time).contains(n));
        assert!(fit, "EncoderTexts: lengths {lengths:?} of ids {}", ids.shape());
        let is_padded = lengths.iter().any(|n| *n < time);
        let real = is_padded.then(|| {
            let row = |n: &usize| (0..time).map(|i| u8::from(i < *n)).collect::<Vec<_>>();
            Tensor::from_slice(&lengths.iter().flat_map(row).collect::<Vec<_>>(), [batch, time])
        });
        Self { ids, types: None, lengths, real }
    }

    /// The same with the segment of each token, i64 `[batch, time]`; without, all are of segment 0.
    #[must_use]
    pub fn with_types(self, types: Tensor) -> Self {
        Self { types: Some(types), ..self }
    }

    /// The ids, i64 `[batch, time]`.
    pub fn ids(&self) -> &Tensor {
        &self.ids
    }

    /// The segment of each token, where several are given.
    pub fn types(&self) -> Option<&Tensor> {
        self.types.as_ref()
    }

    /// How many tokens each text has.
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// u8 `[batch, time]`, 1 for tokens; nothing where none is padding.
    pub(super) fn real(&self) -> Option<&Tensor> {
        self.real.as_ref()
    }

    /// The mean over each text's tokens of `[batch, time, width]`, `[batch, width]`.
    #[track_caller]
    pub(super) fn mean(&self, states: &Tensor) -> Tensor {
        let Some(real) = &self.real else { return states.mean_axis(1) };
        let (batch, time, dtype) = (states.size(0), states.size(1), states.dtype());
        let sums = (states * real.to_dtype(dtype).reshape([batch, time, 1])).sum_axis(1);
        let lengths: Vec<f64> = self.lengths.iter().map(|n| *n as f64).collect();
        sums / Tensor::from_slice(&lengths, [batch, 1]).to_dtype(dtype)
    }
}

/// The first token's of states `[batch, time, width]`, `[batch, width]`.
#[track_caller]
pub(super) fn first(states: &Tensor) -> Tensor {
    states.narrow(1, 0, 1).squeeze(1)
}

/// How the states of a text's tokens become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// That of the first token.
    Cls,
}

impl Pooling {
    /// Its name, `mean` or `cls`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
        }
    }
}

/// Rows of `[batch, width]` divided by their length, at least 1e-12, as PyTorch's `normalize`.
#[track_caller]
pub fn unit_length(x: &Tensor) -> Tensor {
    let squares = (x * x).sum_to([x.size(0), 1]);
    let smallest = Tensor::scalar(1e-12, squares.dtype()).broadcast_to(squares.shape());
    x / squares.sqrt().maximum(&smallest)
}

#[cfg(test)]
mod tests {
    use rappel_tensor::DType;

    use super::*;

    #[test]
    fn pooling_leaves_padding_out() {
        let texts = EncoderTexts::new(&[&[3, 4, 5][..], &[6]]);
        let states = Tensor::arange(12, DType::F64).reshape([2, 3, 2]);
        assert_eq!(texts.mean(&states).to_vec::<f64>(), [2.0, 3.0, 6.0, 7.0]);
        assert_eq!(first(&states).to_vec::<f64>(), [0.0, 1.0, 6.0, 7.0]);
    }

    #[test]
    fn rows_become_of_unit_length_and_zeros_stay() {
        let x = Tensor::from_slice(&[3.0_f64, -4.0, 0.0, 0.0], [2, 2]);
        assert_eq!(unit_length(&x).to_vec::<f64>(), [0.6, -0.8, 0.0, 0.0]);
    }
}
