//! An adapter made part of its model.

use std::fs;
use std::path::Path;

use rappel_data::Tokenizer;
use rappel_files::{fresh_folder, partial, publish, remove};
use rappel_model::{ModelFiles, Pretrained};
use rappel_tensor::{DType, Tensor};

use super::load_adapted;
use crate::TrainError;
use crate::models::kept::KeptFile;
use crate::models::{model_folder, sound, text};

/// An adapter that was merged.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// Hugging Face's `model_type`.
    pub architecture: String,
    /// How many numbers the parameters of the model are.
    pub parameters: usize,
    /// The type that they are stored in.
    pub dtype: DType,
    /// The largest logit of the model with its adapter.
    pub largest_logit: f64,
    /// How far a logit of the merged model is from that at most.
    pub difference: f64,
    /// Of how many tokens the likeliest next one is the same, and of how many in all.
    pub same: [usize; 2],
    /// What of the model that the adapter was trained on is another one than it was merged into, in words.
    pub notes: Vec<String>,
}

/// Tokens on which the models are compared.
const COMPARED: usize = 64;

/// Writes the model `base` with `adapter` merged into it, in single precision, to the folder `to`, in the type that the
/// base is stored in; then reads that and compares its logits with those of the model with its adapter.
///
/// # Errors
/// A base or an adapter that is not whole or does not fit the other; something at `to` already.
pub fn merge(base: &Path, adapter: &Path, to: &Path) -> Result<Merged, TrainError> {
    let [base, adapter] = [base, adapter].map(|path| model_folder(path, &mut ()));
    let (base, adapter) = (base?, adapter?);
    if fs::symlink_metadata(to).is_ok() {
        return Err(TrainError::Exists { path: to.to_owned() });
    }
    let files = ModelFiles::open(&base)?;
    let dtype = files.dtype()?;
    let notes = notes(&files, &adapter);
    let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
    let adapted = load_adapted(&base, &adapter, Some(wide).into())?;
    sound::check_finite(&adapter, &adapted.params)?;
    let vocab_size = adapted.model.config().vocab_size();
    // The adapter's tokenizer is the one that it was trained with.
    let tokenizer = match text::tokenizer_if_any(&adapter, vocab_size)? {
        Some(tokenizer) => Some(tokenizer),
        None => text::tokenizer_if_any(&base, vocab_size)?,
    };
    let ids = compared(&adapted);
    let before = adapted.model.logits(&ids);
    let kept = KeptFile::all(&base)?;
    let beside = partial(to);
    let written = || -> Result<Pretrained, TrainError> {
        write(&adapted, tokenizer.as_ref(), &kept, &beside)?;
        let mut merged = Pretrained::load(&beside, None)?;
        if dtype != wide {
            merged = Pretrained::load(&beside, Some(dtype))?;
            write(&merged, tokenizer.as_ref(), &kept, &beside)?;
        }
        Ok(merged)
    };
    let published = written().and_then(|merged| {
        publish(&beside, to)?;
        Ok(merged)
    });
    let merged = match published {
        Ok(merged) => merged,
        Err(error) => {
            // The first error tells.
            let _ = remove(&beside);
            return Err(error);
        }
    };
    let after = merged.model.logits(&ids);
    let likeliest = [&before, &after].map(|logits| logits.argmax(2).to_vec::<i64>());
    let same = likeliest[0].iter().zip(&likeliest[1]).filter(|(a, b)| a == b).count();
    let [before, after] = [before, after].map(|logits| logits.to_f64_vec());
    let differences = before.iter().zip(&after).map(|(a, b)| (a - b).abs());
    Ok(Merged {
        architecture: merged.model.config().model_type().to_owned(),
        parameters: merged.params.count(),
        dtype,
        largest_logit: before.iter().fold(0.0, |most: f64, logit| most.max(logit.abs())),
        difference: differences.fold(0.0, f64::max),
        same: [same, likeliest[0].len()],
        notes,
    })
}

/// What is to be known where weights of few bits are involved.
fn notes(base: &ModelFiles, adapter: &Path) -> Vec<String> {
    let few = base.has_few_bits().then(|| {
        "the model's own weights are in a few bits a number; the adapter is added to what these stand for, and all is \
         written as numbers"
            .to_owned()
    });
    // A run's config says how its base was kept.
    let config = adapter.parent().map(|run| run.join("config.toml"));
    let config = config.and_then(|path| fs::read_to_string(path).ok());
    let config = config.and_then(|text| text.parse::<toml::Table>().ok());
    let quantization = config.as_ref().and_then(|config| config.get("model")?.get("quantization"));
    let trained = quantization.filter(|_| few.is_none()).map(|_| {
        "the adapter was trained with model.quantization; it is merged in single precision into the weights as they \
         are stored, which are not quantized"
            .to_owned()
    });
    few.into_iter().chain(trained).collect()
}

fn write(
    model: &Pretrained,
    tokenizer: Option<&Tokenizer>,
    kept: &[KeptFile],
    folder: &Path,
) -> Result<(), TrainError> {
    fresh_folder(folder)?;
    model.save(folder)?;
    if let Some(tokenizer) = tokenizer {
        tokenizer.save(folder)?;
    }
    kept.iter().try_for_each(|file| file.write(folder))
}

/// Tokens from all over the vocabulary.
fn compared(model: &Pretrained) -> Tensor {
    let config = model.model.config();
    let count = COMPARED.min(config.max_positions());
    let ids: Vec<i64> = (0..count).map(|i| (i * config.vocab_size() / count) as i64).collect();
    Tensor::from_slice(&ids, [1, count])
}
