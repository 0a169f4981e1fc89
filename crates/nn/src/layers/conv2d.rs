//! Convolutions of images.

use rappel_tensor::{Conv2dOptions, Init, Param, Scope, Tensor, conv2d};

/// Convolves images, PyTorch's `torch.nn.Conv2d`: `[batch, inputs, height, width]` to `[batch, outputs, ..]`.
///
/// Parameters: `weight` `[outputs, inputs / groups, kernel height, kernel width]` and `bias` `[outputs]`.
///
/// ```
/// use rappel_nn::Conv2d;
/// use rappel_tensor::{Conv2dOptions, DType, Params, Tensor};
/// let mut params = Params::new(0);
/// let options = Conv2dOptions { stride: [2, 2], padding: [1, 1], ..Conv2dOptions::default() };
/// let conv = Conv2d::new(&mut params.scope("conv"), [3, 8], [3, 3], options);
/// let y = conv.forward(&Tensor::ones([5, 3, 32, 32], DType::F32));
/// assert_eq!(*y.shape(), [5, 8, 16, 16]);
/// assert_eq!(params.names(), ["conv.weight", "conv.bias"]);
/// ```
#[derive(Debug, Clone)]
pub struct Conv2d {
    weight: Param,
    bias: Option<Param>,
    options: Conv2dOptions,
}

impl Conv2d {
    /// A convolution with bias, from `[inputs, outputs]`, `[height, width]` of the kernel; weight and bias begin uniform
    /// in `+-1 / sqrt(fan_in)`, the numbers that a result is made of, as in PyTorch.
    ///
    /// # Panics
    /// Where the channels are not divisible by the groups, a size is zero, or the scope's names are taken.
    #[track_caller]
    pub fn new(
        scope: &mut Scope<'_>,
        channels: [usize; 2],
        kernel: [usize; 2],
        options: Conv2dOptions,
    ) -> Self {
        let fan_in = channels[0] / options.groups.max(1) * kernel[0] * kernel[1];
        assert!(
            fan_in > 0,
            "Conv2d: {channels:?}, {kernel:?} and {options:?} have nothing to read"
        );
        let init = Init::Uniform { bound: 1.0 / (fan_in as f64).sqrt() };
        Self::from_init(scope, channels, kernel, options, init, Some(init))
    }

    /// A convolution whose weight, and bias where it has one, begin as told.
    #[track_caller]
    pub fn from_init(
        scope: &mut Scope<'_>,
        [inputs, outputs]: [usize; 2],
        [height, width]: [usize; 2],
        options: Conv2dOptions,
        weight: Init,
        bias: Option<Init>,
    ) -> Self {
        let groups = options.groups;
        assert!(
            groups > 0 && inputs.is_multiple_of(groups) && outputs.is_multiple_of(groups),
            "Conv2d: {inputs} to {outputs} channels in {groups} groups"
        );
        let weight = scope.add("weight", [outputs, inputs / groups, height, width], weight);
        let bias = bias.map(|init| scope.add("bias", [outputs], init));
        Self { weight, bias, options }
    }

    /// `[batch, inputs, height, width]` to `[batch, outputs, ..]`.
    #[track_caller]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let bias = self.bias.as_ref().map(Param::tensor);
        conv2d(x, &self.weight.tensor(), bias.as_ref(), &self.options)
    }

    /// `[outputs, inputs / groups, kernel height, kernel width]`.
    pub fn weight(&self) -> &Param {
        &self.weight
    }

    /// How the kernel moves.
    pub fn options(&self) -> &Conv2dOptions {
        &self.options
    }
}
