//! Residual networks.

use rappel_config::{OptionSet, Options, Words};
use rappel_nn::{Activation, BatchNorm2d, Conv2d, Forward, Linear};
use rappel_regularize::Noise;
use rappel_tensor::{
    Conv2dOptions, Init, Params, Pool2dOptions, Scope, Tensor, adaptive_avg_pool2d, max_pool2d,
};
use serde_json::{Map, Value};

use super::{ImageEntry, ImageModel, ImageModelConfig, ImageShape, Sizes, configure, sizes_fault};
use crate::ActivationName;

pub(super) const ENTRY: ImageEntry = ImageEntry {
    name: "resnet",
    summary: "residual blocks of convolutions with batch normalization",
    reference: "He et al., https://arxiv.org/abs/1512.03385; transformers ResNetForImageClassification",
    fields: ResNetConfig::FIELDS,
    build: configure::<ResNetConfig>,
};

/// What a block is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
enum LayerType {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1 to a quarter of the channels, 3x3, and 1x1 back.
    Bottleneck,
}

/// Options under the names of Hugging Face's `ResNetConfig`; by default ResNet-50. ResNet-18 is `basic` with
/// `hidden_sizes = [64, 128, 256, 512]` and `depths = [2, 2, 2, 2]`.
#[derive(Debug, Options)]
struct ResNetConfig {
    /// channels of the first convolution
    #[option(default = 64, range = 1..)]
    embedding_size: usize,
    /// channels of each stage
    #[option(default = [256, 512, 1024, 2048], range = 1.., aka("channels"))]
    hidden_sizes: Vec<usize>,
    /// blocks of each stage
    #[option(default = [3, 4, 6, 3], range = 1..)]
    depths: Vec<usize>,
    /// what a block is made of
    #[option(default = LayerType::Bottleneck)]
    layer_type: LayerType,
    /// the function after each convolution and each sum
    #[option(default = ActivationName::Relu, aka("activation"))]
    hidden_act: ActivationName,
    /// whether the first stage halves the image, too
    #[option(default = false)]
    downsample_in_first_stage: bool,
    /// whether it is a bottleneck's first convolution that halves the image, not its second
    #[option(default = false)]
    downsample_in_bottleneck: bool,
}

impl ResNetConfig {
    /// Inputs, outputs and stride of each block, stage by stage.
    fn blocks(&self) -> Vec<Vec<([usize; 2], usize)>> {
        let mut inputs = self.embedding_size;
        let stages = self.hidden_sizes.iter().zip(&self.depths).enumerate();
        let stages = stages.map(|(stage, (&outputs, &depth))| {
            let first = if stage > 0 || self.downsample_in_first_stage { 2 } else { 1 };
            let blocks = (0..depth).map(|block| {
                let channels = [std::mem::replace(&mut inputs, outputs), outputs];
                (channels, if block == 0 { first } else { 1 })
            });
            blocks.collect()
        });
        stages.collect()
    }

    /// Kernel, channels and stride of the convolutions of a block.
    fn convolutions(
        &self,
        [inputs, outputs]: [usize; 2],
        stride: usize,
    ) -> Vec<(usize, [usize; 2], usize)> {
        let narrow = outputs / 4;
        let (first, second) = if self.downsample_in_bottleneck { (stride, 1) } else { (1, stride) };
        match self.layer_type {
            LayerType::Basic => vec![(3, [inputs, outputs], stride), (3, [outputs, outputs], 1)],
            LayerType::Bottleneck => vec![
                (1, [inputs, narrow], first),
                (3, [narrow, narrow], second),
                (1, [narrow, outputs], 1),
            ],
        }
    }
}

impl ImageModelConfig for ResNetConfig {
    fn class(&self) -> Option<&'static str> {
        Some("ResNetForImageClassification")
    }

    fn fault(&self, _: ImageShape) -> Option<(&'static str, String)> {
        let uneven = self.hidden_sizes.iter().find(|size| *size % 4 != 0);
        let uneven = uneven.filter(|_| self.layer_type == LayerType::Bottleneck).map(|size| {
            ("hidden_sizes", format!("{size} is not divisible by 4, as bottlenecks need"))
        });
        sizes_fault("hidden_sizes", &self.hidden_sizes, &self.depths).or(uneven)
    }

    fn build(&self, params: &mut Params, images: ImageShape) -> Box<dyn ImageModel> {
        let mut scope = params.scope("resnet");
        let stem = Layer::new(
            &mut scope.scope("embedder.embedder"),
            (7, [images.channels, self.embedding_size], 2),
        );
        let mut blocks = Vec::new();
        for (s, stage) in self.blocks().into_iter().enumerate() {
            for (l, (channels, stride)) in stage.into_iter().enumerate() {
                let mut scope = scope.scope(&format!("encoder.stages.{s}.layers.{l}"));
                let shortcut = (channels[0] != channels[1] || stride != 1)
                    .then(|| Layer::new(&mut scope.scope("shortcut"), (1, channels, stride)));
                let layers = self.convolutions(channels, stride).into_iter().enumerate();
                let layers = layers
                    .map(|(i, conv)| Layer::new(&mut scope.scope(&format!("layer.{i}")), conv));
                blocks.push(Block { layers: layers.collect(), shortcut });
            }
        }
        let last = self.hidden_sizes.last().copied().unwrap_or(self.embedding_size);
        let classifier = Linear::new(&mut params.scope("classifier.1"), last, images.classes);
        let activation = self.hidden_act.function();
        Box::new(ResNet { stem, blocks, classifier, activation })
    }

    fn numbers(&self, images: ImageShape) -> usize {
        let mut sizes = Sizes::new(images);
        sizes.layer(self.embedding_size, 2, 3);
        sizes.layer(self.embedding_size, 2, 3);
        for (channels, stride) in self.blocks().into_iter().flatten() {
            for (_, [_, outputs], stride) in self.convolutions(channels, stride) {
                sizes.layer(outputs, stride, 3);
            }
            sizes.layer(channels[1], 1, if stride == 1 { 2 } else { 4 });
        }
        sizes.numbers
    }

    fn to_json(&self) -> Map<String, Value> {
        OptionSet::to_json(self)
    }
}

/// A convolution and its normalisation.
#[derive(Debug)]
struct Layer {
    convolution: Conv2d,
    normalization: BatchNorm2d,
}

impl Layer {
    fn new(scope: &mut Scope<'_>, (kernel, channels, stride): (usize, [usize; 2], usize)) -> Self {
        let options = Conv2dOptions {
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            ..Conv2dOptions::default()
        };
        // As transformers: He's initialization by the numbers that one number goes into.
        let fan_out = channels[1] * kernel * kernel;
        let init = Init::Normal { std: (2.0 / fan_out as f64).sqrt() };
        let mut part = scope.scope("convolution");
        let convolution = Conv2d::from_init(&mut part, channels, [kernel; 2], options, init, None);
        let mut part = scope.scope("normalization");
        let normalization = BatchNorm2d::new(&mut part, channels[1], 1e-5, 0.1);
        Self { convolution, normalization }
    }

    fn forward(&self, x: &Tensor, forward: &Forward) -> Tensor {
        self.normalization.forward(&self.convolution.forward(x), forward)
    }
}

#[derive(Debug)]
struct Block {
    layers: Vec<Layer>,
    shortcut: Option<Layer>,
}

/// `x + y`, where noise may drop `y`, channels of it or all.
fn add(x: &Tensor, y: Tensor, forward: &Forward) -> Tensor {
    let Noise { channel_dropout, stochastic_depth, .. } = forward.noise;
    if !forward.train || (channel_dropout == 0.0 && stochastic_depth == 0.0) {
        return x + y;
    }
    let [x, y] = [x, &y].map(|t| t.permute(&[0, 2, 3, 1]));
    forward.residual(&x, y).permute(&[0, 3, 1, 2])
}

#[derive(Debug)]
struct ResNet {
    stem: Layer,
    blocks: Vec<Block>,
    classifier: Linear,
    activation: Activation,
}

impl ImageModel for ResNet {
    fn forward(&self, x: &Tensor, forward: &Forward) -> Tensor {
        let x = self.activation.forward(&self.stem.forward(x, &forward.layer("stem")));
        let pool = Pool2dOptions { stride: [2, 2], padding: [1, 1], ..Pool2dOptions::new([3, 3]) };
        let mut x = max_pool2d(&x, &pool);
        for (b, block) in self.blocks.iter().enumerate() {
            let forward = forward.block(b, self.blocks.len());
            let mut y = x.clone();
            for (i, layer) in block.layers.iter().enumerate() {
                y = layer.forward(&y, &forward.number(i));
                if i + 1 < block.layers.len() {
                    y = self.activation.forward(&y);
                }
            }
            let shortcut = block.shortcut.as_ref();
            x = shortcut.map_or(x.clone(), |layer| layer.forward(&x, &forward.layer("shortcut")));
            x = self.activation.forward(&add(&x, y, &forward));
        }
        let means = adaptive_avg_pool2d(&x, [1, 1]);
        self.classifier.forward(&means.reshape([means.size(0), means.size(1)]))
    }

    fn has_residuals(&self) -> bool {
        true
    }
}
