//! Plain convolutional networks.

use rappel_config::{OptionSet, Options, Words};
use rappel_nn::{Activation, BatchNorm2d, Conv2d, Dropout, Forward, GroupNorm, Linear};
use rappel_tensor::{
    Conv2dOptions, Init, Params, Pool2dOptions, Scope, Tensor, adaptive_avg_pool2d, avg_pool2d,
    max_pool2d,
};
use serde_json::{Map, Value};

use super::{ImageEntry, ImageModel, ImageModelConfig, ImageShape, Sizes, configure};
use crate::ActivationName;

pub(super) const ENTRY: ImageEntry = ImageEntry {
    name: "cnn",
    summary: "stages of convolutions, each made smaller by a pool, then linear maps",
    reference: "LeCun et al., 1998, https://doi.org/10.1109/5.726791",
    fields: CnnConfig::FIELDS,
    build: configure::<CnnConfig>,
};

/// What normalises after a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
enum Norm {
    /// Nothing; convolutions have biases.
    None,
    /// Batch normalisation.
    Batch,
    /// Group normalisation, in groups of 8 channels, or one where they are not divisible by 8.
    Group,
}

/// What makes images smaller after a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
enum Pool {
    /// The largest of 2x2.
    Max,
    /// The mean of 2x2.
    Avg,
}

/// What the linear maps read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
enum Head {
    /// The mean of each channel.
    Mean,
    /// Every number of the last stage.
    Flatten,
}

#[derive(Debug, Options)]
struct CnnConfig {
    /// channels of each stage; after each the image is half as high and wide
    #[option(default = [32, 64], range = 1.., aka("hidden_sizes", "filters"))]
    channels: Vec<usize>,
    /// convolutions of a stage
    #[option(default = 2, range = 1..=64, aka("depth", "convs_per_stage"))]
    convolutions: usize,
    /// height and width of a convolution's kernel; odd
    #[option(default = 3, range = 1..=63)]
    kernel_size: usize,
    /// what normalises after each convolution
    #[option(default = Norm::Batch, aka("normalization"))]
    norm: Norm,
    /// the function after each convolution and each linear map but the last
    #[option(default = ActivationName::Relu, aka("hidden_act"))]
    activation: ActivationName,
    /// what makes images smaller after a stage
    #[option(default = Pool::Max, aka("pooling"))]
    pool: Pool,
    /// what the linear maps read
    #[option(default = Head::Mean)]
    head: Head,
    /// widths of the linear maps before the last
    #[option(default = [], range = 1.., aka("linear_sizes"))]
    linear: Vec<usize>,
    /// probability of dropping a number before each linear map
    #[option(default = 0.0, range = 0.0..1.0, aka("dropout_rate"))]
    dropout: f64,
}

impl CnnConfig {
    /// Height and width after the last stage.
    fn last(&self, images: ImageShape) -> [usize; 2] {
        images.size.map(|size| self.channels.iter().fold(size, |size, _| size / 2))
    }
}

impl ImageModelConfig for CnnConfig {
    fn class(&self) -> Option<&'static str> {
        None
    }

    fn fault(&self, images: ImageShape) -> Option<(&'static str, String)> {
        if self.kernel_size.is_multiple_of(2) {
            let reason = format!("{} is even; give an odd size", self.kernel_size);
            return Some(("kernel_size", reason));
        }
        if self.channels.is_empty() {
            return Some(("channels", "is an empty list; give the channels of each stage".into()));
        }
        self.last(images).contains(&0).then(|| {
            let [height, width] = images.size;
            let reason = format!(
                "{} stages make images of {height}x{width} smaller than a pixel; give fewer",
                self.channels.len()
            );
            ("channels", reason)
        })
    }

    fn build(&self, params: &mut Params, images: ImageShape) -> Box<dyn ImageModel> {
        let mut scope = params.scope("");
        let mut inputs = images.channels;
        let mut stages = Vec::new();
        for (s, &channels) in self.channels.iter().enumerate() {
            let mut stage = Vec::new();
            for c in 0..self.convolutions {
                let mut scope = scope.scope(&format!("stages.{s}.{c}"));
                stage.push(Layer::new(&mut scope, [inputs, channels], self));
                inputs = channels;
            }
            stages.push(stage);
        }
        let [height, width] = self.last(images);
        let read = if self.head == Head::Mean { inputs } else { inputs * height * width };
        let sizes = [&[read], &self.linear[..], &[images.classes]].concat();
        let linear = sizes.windows(2).enumerate().map(|(i, pair)| {
            Linear::new(&mut scope.scope(&format!("linear.{i}")), pair[0], pair[1])
        });
        let activation = self.activation.function();
        let linear = linear.collect();
        let dropout = Dropout::new(self.dropout);
        Box::new(Cnn { stages, linear, activation, pool: self.pool, head: self.head, dropout })
    }

    fn numbers(&self, images: ImageShape) -> usize {
        let mut sizes = Sizes::new(images);
        let copies = if self.norm == Norm::None { 2 } else { 3 };
        for &channels in &self.channels {
            sizes.layer(channels, 1, self.convolutions.saturating_mul(copies));
            sizes.layer(channels, 2, 3);
        }
        self.linear.iter().fold(sizes.numbers, |sum, width| sum.saturating_add(2 * width))
    }

    fn to_json(&self) -> Map<String, Value> {
        OptionSet::to_json(self)
    }
}

/// A convolution with what follows it.
#[derive(Debug)]
struct Layer {
    conv: Conv2d,
    batch_norm: Option<BatchNorm2d>,
    group_norm: Option<GroupNorm>,
}

impl Layer {
    fn new(scope: &mut Scope<'_>, channels: [usize; 2], config: &CnnConfig) -> Self {
        let kernel = [config.kernel_size; 2];
        let padding = [config.kernel_size / 2; 2];
        let options = Conv2dOptions { padding, ..Conv2dOptions::default() };
        // He's initialization, for activations that let half of the numbers through.
        let fan_in = channels[0] * kernel[0] * kernel[1];
        let init = Init::Normal { std: (2.0 / fan_in as f64).sqrt() };
        let bias = (config.norm == Norm::None).then_some(Init::ZEROS);
        let conv =
            Conv2d::from_init(&mut scope.scope("conv"), channels, kernel, options, init, bias);
        let outputs = channels[1];
        let groups = if outputs.is_multiple_of(8) { outputs / 8 } else { 1 };
        let mut scope = scope.scope("norm");
        let batch_norm =
            (config.norm == Norm::Batch).then(|| BatchNorm2d::new(&mut scope, outputs, 1e-5, 0.1));
        let group_norm =
            (config.norm == Norm::Group).then(|| GroupNorm::new(&mut scope, groups, outputs, 1e-5));
        Self { conv, batch_norm, group_norm }
    }

    fn forward(&self, x: &Tensor, forward: &Forward) -> Tensor {
        let y = self.conv.forward(x);
        match (&self.batch_norm, &self.group_norm) {
            (Some(norm), _) => norm.forward(&y, forward),
            (_, Some(norm)) => norm.forward(&y),
            _ => y,
        }
    }
}

#[derive(Debug)]
struct Cnn {
    stages: Vec<Vec<Layer>>,
    linear: Vec<Linear>,
    activation: Activation,
    pool: Pool,
    head: Head,
    dropout: Dropout,
}

impl ImageModel for Cnn {
    fn forward(&self, x: &Tensor, forward: &Forward) -> Tensor {
        let half = Pool2dOptions::new([2, 2]);
        let mut x = x.clone();
        for (s, stage) in self.stages.iter().enumerate() {
            for (c, layer) in stage.iter().enumerate() {
                x = self.activation.forward(&layer.forward(&x, &forward.number(s).number(c)));
            }
            x = match self.pool {
                Pool::Max => max_pool2d(&x, &half),
                Pool::Avg => avg_pool2d(&x, &half),
            };
        }
        if self.head == Head::Mean {
            x = adaptive_avg_pool2d(&x, [1, 1]);
        }
        let mut x = x.reshape([x.size(0), x.count() / x.size(0)]);
        for (i, layer) in self.linear.iter().enumerate() {
            if i > 0 {
                x = self.activation.forward(&x);
            }
            x = layer.forward(&self.dropout.forward(x, &forward.layer("linear").number(i)));
        }
        x
    }

    fn has_dropout(&self) -> bool {
        true
    }
}
