//! Batch normalisation.

use rappel_tensor::{
    BatchMoments, Init, Param, Running, Scope, Tensor, batch_norm, batch_norm_training,
};

use crate::forward::Forward;

/// `(x - mean) / sqrt(variance + eps) * weight + bias`, channel by channel, PyTorch's `torch.nn.BatchNorm2d`; inputs
/// are `[batch, channels, ..]`.
///
/// A pass that trains takes mean and variance of its batch (a micro-batch, where a step has several) and moves the
/// running statistics, which other passes take: after the step, when
/// [`Params::refresh`](rappel_tensor::Params::refresh) is called, as runs do. Averages of the weights leave them as
/// they are: those of the weights that were trained.
///
/// Parameters: `weight` (ones at first) and `bias` (zeros), `[channels]` each. Not trained: `running_mean`,
/// `running_var` and `num_batches_tracked`.
///
/// ```
/// use rappel_nn::{BatchNorm2d, Forward};
/// use rappel_tensor::{Key, Params, Tensor};
/// let mut params = Params::new(0);
/// let norm = BatchNorm2d::new(&mut params.scope("bn"), 1, 1e-5, 0.1);
/// let x = Tensor::from_slice(&[1.0_f32, 3.0], [1, 1, 1, 2]);
/// norm.forward(&x, &Forward::training(Key::new(0)));
/// params.refresh()?;
/// let mean = params.get("bn.running_mean").unwrap().tensor();
/// assert_eq!(mean.to_vec::<f32>(), [0.2]);
/// # Ok::<(), rappel_tensor::ParamsError>(())
/// ```
#[derive(Debug, Clone)]
pub struct BatchNorm2d {
    weight: Param,
    bias: Param,
    running_mean: Running,
    running_var: Running,
    num_batches_tracked: Running,
    eps: f64,
    momentum: f64,
}

impl BatchNorm2d {
    /// A layer over `channels`; `eps` is 1e-5 in PyTorch, and `momentum`, the share of a batch in the running statistics,
    /// 0.1.
    #[track_caller]
    pub fn new(scope: &mut Scope<'_>, channels: usize, eps: f64, momentum: f64) -> Self {
        Self {
            weight: scope.add("weight", [channels], Init::ONES),
            bias: scope.add("bias", [channels], Init::ZEROS),
            running_mean: scope.running("running_mean", [channels], Init::ZEROS),
            running_var: scope.running("running_var", [channels], Init::ONES),
            num_batches_tracked: scope.running("num_batches_tracked", (), Init::ZEROS),
            eps,
            momentum,
        }
    }

    /// `[batch, channels, ..]` to the same shape.
    #[track_caller]
    pub fn forward(&self, x: &Tensor, forward: &Forward) -> Tensor {
        let (weight, bias) = (self.weight.tensor(), self.bias.tensor());
        if !forward.train {
            let (mean, variance) = (self.running_mean.tensor(), self.running_var.tensor());
            return batch_norm(x, &mean, &variance, Some(&weight), Some(&bias), self.eps);
        }
        let (y, moments) = batch_norm_training(x, Some(&weight), Some(&bias), self.eps);
        self.follow(&moments, forward);
        y
    }

    /// Moves the running statistics; their variance is that of the numbers' source, divided by one less.
    fn follow(&self, BatchMoments { mean, variance, count }: &BatchMoments, forward: &Forward) {
        let (pass, share) = (forward.key, self.momentum);
        let correction = *count as f64 / count.saturating_sub(1).max(1) as f64;
        let part = |values: &[f64], factor: f64| -> Vec<f64> {
            values.iter().map(|value| value * factor).collect()
        };
        self.running_mean.moves(pass, 1.0 - share, &part(mean, share));
        self.running_var.moves(pass, 1.0 - share, &part(variance, share * correction));
        self.num_batches_tracked.moves(pass, 1.0, &[1.0]);
    }
}

#[cfg(test)]
mod tests {
    use rappel_tensor::{Key, Params};

    use super::*;

    #[test]
    fn micro_batches_follow_one_another_and_a_pass_counts_once() {
        let mut params = Params::new(0);
        let norm = BatchNorm2d::new(&mut params.scope("bn"), 1, 1e-5, 0.5);
        let pass = |key: u64, values: [f32; 2]| {
            let x = Tensor::from_slice(&values, [2, 1, 1, 1]);
            norm.forward(&x, &Forward::training(Key::new(key)));
        };
        pass(1, [0.0, 4.0]);
        pass(1, [0.0, 4.0]);
        pass(2, [6.0, 6.0]);
        params.refresh().unwrap();
        let value = |name: &str| params.get(name).unwrap().tensor().to_vec::<f32>()[0];
        assert_eq!(value("bn.running_mean"), 0.5 * (0.5 * 2.0) + 0.5 * 6.0);
        assert_eq!(value("bn.running_var"), 0.5 * (0.5 + 0.5 * 8.0));
        assert_eq!(value("bn.num_batches_tracked"), 2.0);
        let evaluated =
            norm.forward(&Tensor::from_slice(&[3.5_f32], [1, 1]), &Forward::evaluation());
        assert_eq!(evaluated.item(), 0.0);
    }
}
