//! The options of LoRA, under peft's names.

use rappel_config::{InvalidOption, Options, Words};
use rappel_tensor::{Init, LowRank, Shape, WeightLayout};
use toml::{Table, Value};

use super::targets::Targets;

/// How the matrices of an adapter begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum InitLora {
    /// The first uniform in +-1 / sqrt(inputs), as peft's `true`; the second zero.
    Default,
    /// The first normal with deviation 1 / r; the second zero.
    Gaussian,
    /// The part of the weight with the largest singular values, which the weight loses (Meng et al., 2024).
    Pissa,
    /// The part of the weight along its first columns, which it loses (Buyukakyuz, 2024).
    Olora,
}

impl InitLora {
    /// Whether the weight loses what the adapter begins as.
    pub(crate) fn takes_part(self) -> bool {
        matches!(self, Self::Pissa | Self::Olora)
    }
}

/// A low-rank adapter (Hu et al., 2021), under peft's names.
#[derive(Debug, Clone, PartialEq, Options)]
#[options(check = Self::check)]
pub struct LoraOptions {
    /// rank of the matrices that are trained
    #[option(default = 8, range = 1.., aka("rank", "lora_r", "lora_rank"))]
    pub r: usize,
    /// what is trained is added lora_alpha / r times
    #[option(default = 8.0, range = 0.0.., aka("alpha"))]
    pub lora_alpha: f64,
    /// probability with which an input of an adapter is dropped
    #[option(default = 0.0, range = 0.0..1.0, aka("dropout"))]
    pub lora_dropout: f64,
    /// the linear layers that are adapted: a list of the ends of their names such as `q_proj`, or a regular expression
    /// that whole names match; all-linear: every one but the head and experts
    #[option(default = Targets::default())]
    #[option(aka("lora_target", "lora_target_modules", "lora_target_linear", "targets"))]
    pub target_modules: Targets,
    /// count lora_alpha / sqrt(r), which keeps its size at high ranks (Kalajdzievski, 2023)
    #[option(default = false)]
    pub use_rslora: bool,
    /// train the norms of rows apart from their directions (Liu et al., 2024)
    #[option(default = false)]
    pub use_dora: bool,
    /// how the matrices begin: by chance and as zeros, or as a part of the weight, by its singular values (pissa) or its
    /// first columns (olora), which is saved as the difference to that, an adapter of twice the rank
    #[option(default = InitLora::Default)]
    pub init_lora_weights: InitLora,
    /// modules that are trained whole and saved with the adapter, such as `lm_head`
    #[option(default, aka("additional_target", "lora_modules_to_save"))]
    pub modules_to_save: Vec<String>,
    /// how many times the optimizer's learning rate is that of the second matrices (Hayou et al., 2024); unset: once
    #[option(range = 1.0..)]
    pub loraplus_lr_ratio: Option<f64>,
    /// an adapter that training continues with: a run, or a folder with adapter_config.json, which then says rank, alpha
    /// and layers
    #[option(changeable, aka("lora_model_dir", "resume_adapter", "adapter"))]
    pub adapter_name_or_path: Option<String>,
    /// other ranks, by the ends of layers' names
    #[option(default)]
    pub rank_pattern: Table,
    /// other values of lora_alpha, by the ends of layers' names
    #[option(default)]
    pub alpha_pattern: Table,
    /// numbers of the layers that are adapted, counted from 0; unset: all
    #[option(aka("lora_layers_to_transform"))]
    pub layers_to_transform: Option<Vec<usize>>,
}

/// Whether a module has this name, or ends in it.
pub(super) fn is_named(module: &str, name: &str) -> bool {
    module.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

/// Whether a parameter is one of a module, or of what is in it.
pub(super) fn is_within(parameter: &str, module: &str) -> bool {
    let mut ends = parameter.match_indices('.');
    ends.any(|(end, _)| is_named(&parameter[..end], module))
}

impl LoraOptions {
    fn check(&self) -> Result<(), InvalidOption> {
        if self.init_lora_weights.takes_part() && self.use_dora {
            let reason = "pissa and olora take a part of the weight away, which use_dora would count the norms of; \
                          leave one of them out";
            return Err(InvalidOption::new("init_lora_weights", reason));
        }
        if matches!(&self.target_modules, Targets::Ends(ends) if ends.is_empty()) {
            let reason = "an empty list; name at least one layer, or give \"all-linear\"";
            return Err(InvalidOption::new("target_modules", reason));
        }
        for (name, rank) in &self.rank_pattern {
            if rank.as_integer().is_none_or(|rank| rank < 1) {
                let reason = format!("`{name}` = {rank}: expected an integer of at least 1");
                return Err(InvalidOption::new("rank_pattern", reason));
            }
        }
        for (name, alpha) in &self.alpha_pattern {
            if number(alpha).is_none_or(|alpha| !(alpha.is_finite() && alpha >= 0.0)) {
                let reason = format!("`{name}` = {alpha}: expected a number of at least 0");
                return Err(InvalidOption::new("alpha_pattern", reason));
            }
        }
        Ok(())
    }

    /// The form of a linear layer's weight, if it has an adapter.
    pub(super) fn form(&self, name: &str, shape: Shape) -> Option<LowRank> {
        let module = name.strip_suffix(".weight")?;
        // What is trained whole needs no adapter.
        let is_whole = self.modules_to_save.iter().any(|whole| is_within(name, whole));
        let is_meant = self.target_modules.has(module) && !is_whole;
        let number_of = |part: &str| part.parse::<usize>().ok();
        let layer = module.split('.').find_map(number_of);
        let in_layer = self
            .layers_to_transform
            .as_ref()
            .is_none_or(|layers| layer.is_some_and(|layer| layers.contains(&layer)));
        (is_meant && in_layer).then(|| self.low_rank(module, shape[1]))
    }

    /// The form of this module's weight.
    pub(super) fn low_rank(&self, module: &str, inputs: usize) -> LowRank {
        let of = |pattern: &Table| {
            let found = pattern.iter().find(|(name, _)| is_named(module, name));
            found.and_then(|(_, value)| number(value))
        };
        let rank = of(&self.rank_pattern).map_or(self.r, |rank| rank as usize);
        let alpha = of(&self.alpha_pattern).unwrap_or(self.lora_alpha);
        let divisor = if self.use_rslora { (rank as f64).sqrt() } else { rank as f64 };
        let a = match self.init_lora_weights {
            InitLora::Default => Init::Uniform { bound: 1.0 / (inputs.max(1) as f64).sqrt() },
            InitLora::Gaussian => Init::Normal { std: 1.0 / rank as f64 },
            InitLora::Pissa | InitLora::Olora => Init::ZEROS,
        };
        LowRank {
            rank,
            scale: alpha / divisor,
            dropout: self.lora_dropout,
            magnitude: self.use_dora,
            a,
            b: Init::ZEROS,
            layout: WeightLayout::OutIn,
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|number| number as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_chosen_by_the_ends_of_their_names() {
        let shape = Shape::from([4, 16]);
        let options = LoraOptions {
            target_modules: Targets::Ends(vec!["q_proj".to_owned(), "mlp.up_proj".to_owned()]),
            rank_pattern: toml::toml! { q_proj = 2 },
            alpha_pattern: toml::toml! { "layers.1.self_attn.q_proj" = 3 },
            layers_to_transform: Some(vec![1]),
            lora_alpha: 4.0,
            ..LoraOptions::default()
        };
        let form = |name: &str| options.form(name, shape).map(|form| (form.rank, form.scale));
        assert_eq!(form("model.layers.1.self_attn.q_proj.weight"), Some((2, 1.5)));
        assert_eq!(form("model.layers.1.mlp.up_proj.weight"), Some((8, 0.5)));
        assert_eq!(form("model.layers.0.mlp.up_proj.weight"), None);
        assert_eq!(form("model.layers.1.self_attn.xq_proj.weight"), None);
        let all = LoraOptions::default();
        assert!(all.form("model.layers.0.self_attn.o_proj.weight", shape).is_some());
        assert!(all.form("lm_head.weight", shape).is_none());
        let whole = vec!["head".to_owned()];
        let options = LoraOptions { modules_to_save: whole, ..LoraOptions::default() };
        assert!(options.form("head.dense.weight", shape).is_none());
        assert!(options.form("ahead.dense.weight", shape).is_some());
    }
}
