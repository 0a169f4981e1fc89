//! ConvNeXt.

use rappel_config::{OptionSet, Options, Range};
use rappel_nn::{Activation, Conv2d, Forward, LayerNorm, Linear};
use rappel_tensor::{Conv2dOptions, Init, Param, Params, Scope, Tensor};
use serde_json::{Map, Value};

use super::{ImageEntry, ImageModel, ImageModelConfig, ImageShape, Sizes, configure, sizes_fault};
use crate::ActivationName;

pub(super) const ENTRY: ImageEntry = ImageEntry {
    name: "convnext",
    summary: "residual blocks of a depthwise 7x7 convolution and an MLP, with layer norm",
    reference: "Liu et al., https://arxiv.org/abs/2201.03545; transformers ConvNextForImageClassification",
    fields: ConvNextConfig::FIELDS,
    build: configure::<ConvNextConfig>,
};

/// Options under the names of Hugging Face's `ConvNextConfig`; by default ConvNeXt-T. Its `drop_path_rate` is the
/// regularizer `stochastic_depth`.
#[derive(Debug, Options)]
struct ConvNextConfig {
    /// pixels of a patch that the first convolution makes one of, in height and width
    #[option(default = 4, range = 1..)]
    patch_size: usize,
    /// channels of each stage
    #[option(default = [96, 192, 384, 768], range = 1.., aka("channels"))]
    hidden_sizes: Vec<usize>,
    /// blocks of each stage
    #[option(default = [3, 3, 9, 3], range = 1..)]
    depths: Vec<usize>,
    /// the function between a block's linear maps
    #[option(default = ActivationName::Gelu, aka("activation"))]
    hidden_act: ActivationName,
    /// standard deviation of the weights at first
    #[option(default = 0.02, range = 0.0..)]
    initializer_range: f64,
    /// added to the variance by the norms after the stages and the pool
    #[option(default = 1e-12, range = Range::above(0.0))]
    layer_norm_eps: f64,
    /// what each block's result is multiplied by at first, channel by channel; 0: there is no such scale
    #[option(default = 1e-6, range = 0.0..)]
    layer_scale_init_value: f64,
}

/// Added to the variance by the norms within stages.
const EPS: f64 = 1e-6;

impl ImageModelConfig for ConvNextConfig {
    fn class(&self) -> Option<&'static str> {
        Some("ConvNextForImageClassification")
    }

    fn fault(&self, images: ImageShape) -> Option<(&'static str, String)> {
        let stages = u32::try_from(self.hidden_sizes.len()).unwrap_or(u32::MAX);
        let least = 2_usize
            .checked_pow(stages.saturating_sub(1))
            .and_then(|halves| halves.checked_mul(self.patch_size));
        let [height, width] = images.size;
        let small = least.is_none_or(|least| height.min(width) < least).then(|| {
            let reason = format!(
                "images of {height}x{width} are too small for such patches and stages; give smaller patches or \
                 fewer stages"
            );
            ("patch_size", reason)
        });
        sizes_fault("hidden_sizes", &self.hidden_sizes, &self.depths).or(small)
    }

    fn build(&self, params: &mut Params, images: ImageShape) -> Box<dyn ImageModel> {
        let mut scope = params.scope("convnext");
        let first = self.hidden_sizes[0];
        let mut part = scope.scope("embeddings.patch_embeddings");
        let patches = self.conv(&mut part, [images.channels, first], self.patch_size);
        let patches_norm = LayerNorm::new(&mut scope.scope("embeddings.layernorm"), first, EPS);
        let mut stages: Vec<Stage> = Vec::new();
        for (s, (&width, &depth)) in self.hidden_sizes.iter().zip(&self.depths).enumerate() {
            let mut scope = scope.scope(&format!("encoder.stages.{s}"));
            let smaller = s.checked_sub(1).map(|before| {
                let inputs = self.hidden_sizes[before];
                let norm = LayerNorm::new(&mut scope.scope("downsampling_layer.0"), inputs, EPS);
                let mut part = scope.scope("downsampling_layer.1");
                (norm, self.conv(&mut part, [inputs, width], 2))
            });
            let blocks =
                (0..depth).map(|l| self.block(&mut scope.scope(&format!("layers.{l}")), width));
            stages.push(Stage { smaller, blocks: blocks.collect() });
        }
        let last = self.hidden_sizes[self.hidden_sizes.len() - 1];
        let norm = LayerNorm::new(&mut scope.scope("layernorm"), last, self.layer_norm_eps);
        let init = Init::Normal { std: self.initializer_range };
        let mut scope = params.scope("classifier");
        let classifier = Linear::with_zero_bias(&mut scope, last, images.classes, init, true);
        let activation = self.hidden_act.function();
        Box::new(ConvNext { patches, patches_norm, stages, norm, classifier, activation })
    }

    fn numbers(&self, images: ImageShape) -> usize {
        let mut sizes = Sizes::new(images);
        let stages = self.hidden_sizes.iter().zip(&self.depths).enumerate();
        for (s, (&width, &depth)) in stages {
            sizes.layer(width, if s == 0 { self.patch_size } else { 2 }, 3);
            // The convolution and its copy in another order, the norm, twice four times the width, three more.
            sizes.layer(width, 1, depth.saturating_mul(15));
        }
        sizes.numbers
    }

    fn to_json(&self) -> Map<String, Value> {
        OptionSet::to_json(self)
    }
}

impl ConvNextConfig {
    /// A convolution of patches that do not overlap.
    fn conv(&self, scope: &mut Scope<'_>, channels: [usize; 2], patch: usize) -> Conv2d {
        let options = Conv2dOptions { stride: [patch; 2], ..Conv2dOptions::default() };
        let init = Init::Normal { std: self.initializer_range };
        Conv2d::from_init(scope, channels, [patch; 2], options, init, Some(Init::ZEROS))
    }

    fn block(&self, scope: &mut Scope<'_>, width: usize) -> Block {
        let init = Init::Normal { std: self.initializer_range };
        let options = Conv2dOptions { padding: [3, 3], groups: width, ..Conv2dOptions::default() };
        let scale = self.layer_scale_init_value;
        let bias = Some(Init::ZEROS);
        Block {
            depthwise: Conv2d::from_init(
                &mut scope.scope("dwconv"),
                [width; 2],
                [7, 7],
                options,
                init,
                bias,
            ),
            norm: LayerNorm::new(&mut scope.scope("layernorm"), width, EPS),
            up: Linear::with_zero_bias(&mut scope.scope("pwconv1"), width, 4 * width, init, true),
            down: Linear::with_zero_bias(&mut scope.scope("pwconv2"), 4 * width, width, init, true),
            scale: (scale > 0.0)
                .then(|| scope.add("layer_scale_parameter", [width], Init::Constant(scale))),
        }
    }
}

#[derive(Debug)]
struct Block {
    depthwise: Conv2d,
    norm: LayerNorm,
    up: Linear,
    down: Linear,
    scale: Option<Param>,
}

#[derive(Debug)]
struct Stage {
    /// What comes before the blocks of all stages but the first.
    smaller: Option<(LayerNorm, Conv2d)>,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct ConvNext {
    patches: Conv2d,
    patches_norm: LayerNorm,
    stages: Vec<Stage>,
    norm: LayerNorm,
    classifier: Linear,
    activation: Activation,
}

/// `[batch, channels, height, width]` with the channels last.
fn channels_last(x: &Tensor) -> Tensor {
    x.permute(&[0, 2, 3, 1])
}

/// The way back from [`channels_last`].
fn channels_first(x: &Tensor) -> Tensor {
    x.permute(&[0, 3, 1, 2])
}

impl ImageModel for ConvNext {
    fn forward(&self, x: &Tensor, forward: &Forward) -> Tensor {
        let count: usize = self.stages.iter().map(|stage| stage.blocks.len()).sum();
        // Channels last between blocks: all but the convolutions work on rows of channels.
        let mut x = self.patches_norm.forward(&channels_last(&self.patches.forward(x)));
        let mut number = 0;
        for stage in &self.stages {
            if let Some((norm, conv)) = &stage.smaller {
                x = channels_last(&conv.forward(&channels_first(&norm.forward(&x))));
            }
            for block in &stage.blocks {
                let y = channels_last(&block.depthwise.forward(&channels_first(&x)));
                let y = self.activation.forward(&block.up.forward(&block.norm.forward(&y)));
                let y = block.down.forward(&y);
                let y = block.scale.as_ref().map_or(y.clone(), |scale| &y * &scale.tensor());
                x = forward.block(number, count).residual(&x, y);
                number += 1;
            }
        }
        let (batch, width) = (x.size(0), x.size(3));
        let means = x.reshape([batch, x.count() / (batch * width), width]).mean_axis(1);
        self.classifier.forward(&self.norm.forward(&means))
    }

    fn has_residuals(&self) -> bool {
        true
    }
}
