//! Vision transformers.

use rappel_config::{OptionSet, Options, Range};
use rappel_nn::{Activation, Conv2d, Dropout, Forward, LayerNorm, Linear};
use rappel_tensor::{
    AttentionOptions, Conv2dOptions, Init, Interpolation, Param, Params, Scope, Tensor, attention,
    concat, interpolate,
};
use serde_json::{Map, Value};

use super::{ImageEntry, ImageModel, ImageModelConfig, ImageShape, configure};
use crate::ActivationName;

pub(super) const ENTRY: ImageEntry = ImageEntry {
    name: "vit",
    summary: "a transformer encoder of an image's patches",
    reference: "Dosovitskiy et al., https://arxiv.org/abs/2010.11929; transformers ViTForImageClassification",
    fields: VitConfig::FIELDS,
    build: configure::<VitConfig>,
};

/// Options under the names of Hugging Face's `ViTConfig`; by default ViT-B/16.
#[derive(Debug, Options)]
#[options(check = Self::check)]
struct VitConfig {
    /// height and width of a patch, in pixels
    #[option(default = 16, range = 1..)]
    patch_size: usize,
    /// width of the states
    #[option(default = 768, range = 1.., aka("width"))]
    hidden_size: usize,
    /// number of layers
    #[option(default = 12, range = 1..=1024, aka("depth"))]
    num_hidden_layers: usize,
    /// heads of attention; they divide `hidden_size`
    #[option(default = 12, range = 1.., aka("heads"))]
    num_attention_heads: usize,
    /// width within a layer's MLP
    #[option(default = 3072, range = 1.., aka("mlp_dim"))]
    intermediate_size: usize,
    /// the function within a layer's MLP
    #[option(default = ActivationName::Gelu, aka("activation"))]
    hidden_act: ActivationName,
    /// probability of dropping a number of the embeddings, of what attention and the MLP add
    #[option(default = 0.0, range = 0.0..1.0, aka("dropout"))]
    hidden_dropout_prob: f64,
    /// probability of dropping one of attention's weights
    #[option(default = 0.0, range = 0.0..1.0)]
    attention_probs_dropout_prob: f64,
    /// standard deviation of the weights at first
    #[option(default = 0.02, range = 0.0..)]
    initializer_range: f64,
    /// added to the variance by the norms
    #[option(default = 1e-12, range = Range::above(0.0))]
    layer_norm_eps: f64,
    /// biases of queries, keys and values
    #[option(default = true)]
    qkv_bias: bool,
}

impl VitConfig {
    fn check(&self) -> Result<(), rappel_config::InvalidOption> {
        let (width, heads) = (self.hidden_size, self.num_attention_heads);
        if width.is_multiple_of(heads) {
            return Ok(());
        }
        let reason = format!("{heads} heads do not divide a hidden_size of {width}");
        Err(rappel_config::InvalidOption::new("num_attention_heads", reason))
    }

    fn patches(&self, images: ImageShape) -> usize {
        images.size.iter().map(|size| size / self.patch_size).product()
    }

    fn linear(&self, scope: &mut Scope<'_>, name: &str, sizes: [usize; 2], bias: bool) -> Linear {
        let init = Init::Normal { std: self.initializer_range };
        Linear::with_zero_bias(&mut scope.scope(name), sizes[0], sizes[1], init, bias)
    }

    fn layer(&self, scope: &mut Scope<'_>) -> Layer {
        let (width, inner) = (self.hidden_size, self.intermediate_size);
        let norm = |scope: &mut Scope<'_>, name: &str| {
            LayerNorm::new(&mut scope.scope(name), width, self.layer_norm_eps)
        };
        let names = ["query", "key", "value"].map(|name| format!("attention.attention.{name}"));
        Layer {
            qkv: names.map(|name| self.linear(scope, &name, [width; 2], self.qkv_bias)),
            out: self.linear(scope, "attention.output.dense", [width; 2], true),
            up: self.linear(scope, "intermediate.dense", [width, inner], true),
            down: self.linear(scope, "output.dense", [inner, width], true),
            before: norm(scope, "layernorm_before"),
            after: norm(scope, "layernorm_after"),
        }
    }
}

impl ImageModelConfig for VitConfig {
    fn class(&self) -> Option<&'static str> {
        Some("ViTForImageClassification")
    }

    fn fault(&self, images: ImageShape) -> Option<(&'static str, String)> {
        let [height, width] = images.size;
        (self.patches(images) == 0).then(|| {
            let patch = self.patch_size;
            ("patch_size", format!("no patch of {patch} fits images of {height}x{width}"))
        })
    }

    /// Positions of as many patches, between those that there are: transformers' `interpolate_pos_encoding`.
    fn adapted(&self, name: &str, value: &Tensor, images: [ImageShape; 2]) -> Option<Tensor> {
        let grids = images.map(|images| images.size.map(|size| size / self.patch_size));
        if !name.ends_with("position_embeddings") || value.size(1) != 1 + grids[0][0] * grids[0][1]
        {
            return None;
        }
        let [[rows, columns], grid] = grids;
        let (count, width) = (rows * columns, value.size(2));
        let class = value.narrow(1, 0, 1);
        let patches = value.narrow(1, 1, count).reshape([rows, columns, width]);
        let planes = patches.permute(&[2, 0, 1]).reshape([1, width, rows, columns]);
        let planes = interpolate(&planes, grid, Interpolation::Bicubic, false);
        let patches = planes.reshape([width, grid[0] * grid[1]]).t().contiguous();
        Some(concat(&[&class, &patches.reshape([1, grid[0] * grid[1], width])], 1))
    }

    fn build(&self, params: &mut Params, images: ImageShape) -> Box<dyn ImageModel> {
        let (width, patch) = (self.hidden_size, self.patch_size);
        let init = Init::Normal { std: self.initializer_range };
        let mut scope = params.scope("vit");
        let mut embeddings = scope.scope("embeddings");
        let class = embeddings.add("cls_token", [1, 1, width], init);
        let shape = [1, self.patches(images) + 1, width];
        let positions = embeddings.add("position_embeddings", shape, init);
        let options = Conv2dOptions { stride: [patch; 2], ..Conv2dOptions::default() };
        let mut part = embeddings.scope("patch_embeddings.projection");
        let channels = [images.channels, width];
        let bias = Some(Init::ZEROS);
        let patches = Conv2d::from_init(&mut part, channels, [patch; 2], options, init, bias);
        let layers = (0..self.num_hidden_layers)
            .map(|i| self.layer(&mut scope.scope(&format!("encoder.layer.{i}"))))
            .collect();
        let norm = LayerNorm::new(&mut scope.scope("layernorm"), width, self.layer_norm_eps);
        let mut scope = params.scope("");
        let classifier = self.linear(&mut scope, "classifier", [width, images.classes], true);
        Box::new(Vit {
            class,
            positions,
            patches,
            layers,
            norm,
            classifier,
            activation: self.hidden_act.function(),
            dropout: Dropout::new(self.hidden_dropout_prob),
            attention_dropout: Dropout::of_attention(self.attention_probs_dropout_prob),
            heads: self.num_attention_heads,
        })
    }

    fn numbers(&self, images: ImageShape) -> usize {
        let token = self.hidden_size.saturating_mul(9).saturating_add(2 * self.intermediate_size);
        let layers = token.saturating_mul(self.num_hidden_layers);
        layers.saturating_add(4 * self.hidden_size).saturating_mul(self.patches(images) + 1)
    }

    fn to_json(&self) -> Map<String, Value> {
        OptionSet::to_json(self)
    }
}

#[derive(Debug)]
struct Layer {
    qkv: [Linear; 3],
    out: Linear,
    up: Linear,
    down: Linear,
    before: LayerNorm,
    after: LayerNorm,
}

#[derive(Debug)]
struct Vit {
    /// `[1, 1, width]`
    class: Param,
    /// `[1, patches + 1, width]`
    positions: Param,
    patches: Conv2d,
    layers: Vec<Layer>,
    norm: LayerNorm,
    classifier: Linear,
    activation: Activation,
    dropout: Dropout,
    attention_dropout: Dropout,
    heads: usize,
}

impl Vit {
    /// `[batch, tokens, width]` of `[batch, channels, height, width]`.
    fn embed(&self, x: &Tensor, forward: &Forward) -> Tensor {
        let patches = self.patches.forward(x);
        let (batch, width) = (patches.size(0), patches.size(1));
        let count = patches.size(2) * patches.size(3);
        let patches = patches.reshape([batch, width, count]).transpose(1, 2);
        let class = self.class.tensor().broadcast_to([batch, 1, width]);
        let x = concat(&[&class, &patches], 1) + self.positions.tensor();
        self.dropout.forward(x, &forward.layer("embeddings"))
    }

    fn attend(&self, layer: &Layer, x: &Tensor, forward: &Forward) -> Tensor {
        let (batch, time, width) = (x.size(0), x.size(1), x.size(2));
        let [q, k, v] = [0, 1, 2].map(|i| {
            layer.qkv[i].forward(x).reshape([batch, time, self.heads, width / self.heads])
        });
        let dropout = self.attention_dropout.active(&forward.layer("attention"));
        let options = AttentionOptions { dropout, ..AttentionOptions::default() };
        layer.out.forward(&attention(&q, &k, &v, &options).reshape([batch, time, width]))
    }
}

impl ImageModel for Vit {
    fn forward(&self, x: &Tensor, forward: &Forward) -> Tensor {
        let mut x = self.embed(x, forward);
        for (i, layer) in self.layers.iter().enumerate() {
            let forward = forward.block(i, self.layers.len());
            let y = self.attend(layer, &layer.before.forward(&x), &forward);
            let y = self.dropout.forward(y, &forward.layer("attention_output"));
            x = forward.layer("attention").residual(&x, y);
            let y = self.activation.forward(&layer.up.forward(&layer.after.forward(&x)));
            let y = self.dropout.forward(layer.down.forward(&y), &forward.layer("output"));
            x = forward.layer("mlp").residual(&x, y);
        }
        // The norm is of each token, and only the first is read.
        let class = x.narrow(1, 0, 1).reshape([x.size(0), x.size(2)]);
        self.classifier.forward(&self.norm.forward(&class))
    }

    fn has_dropout(&self) -> bool {
        true
    }

    fn has_residuals(&self) -> bool {
        true
    }
}
