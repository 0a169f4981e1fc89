//! Models from one form into another: folders as transformers has them, and GGUF files.

use std::fs;
use std::path::Path;

use rappel_files::{fresh_folder, partial, publish, remove};
use rappel_model::gguf::{GgufFile, MetaValue, Metadata, Quantization, save_gguf};
use rappel_model::{FilesError, ModelFiles, Pretrained, WeightStorage};
use rappel_tensor::{BlockFormat, CodeBook, DType};

use super::adapter;
use super::gguf::gguf_keys;
use super::kept::KeptFile;
use super::{model_folder, sound, text};
use crate::TrainError;

/// A model that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Hugging Face's `model_type`.
    pub architecture: String,
    /// How many numbers its parameters are.
    pub parameters: usize,
    /// The type that its matrices have now.
    pub dtype: String,
}

/// Writes the model of a folder, a run or a GGUF file, or an adapter, into `to`: a GGUF file where it ends in `.gguf`, else a folder.
///
/// `dtype` is the type of matrices: unset that of the source, in a GGUF file single precision where it is another one
/// than bfloat16. A folder takes float32, bfloat16 and float64, and bitsandbytes' nf4, fp4 (each
/// with its scales in 8 bits as well, such as nf4-double-quant) and int8; a GGUF file F32, F16, BF16, Q8_0 and Q4_0.
///
/// # Errors
/// A source that is not whole; a type that is not known; something at `to` already; what the form has no way to hold.
pub fn convert(source: &Path, to: &Path, dtype: Option<&str>) -> Result<Converted, TrainError> {
    let source = model_folder(source, &mut ())?;
    if fs::symlink_metadata(to).is_ok() {
        return Err(TrainError::Exists { path: to.to_owned() });
    }
    if adapter::is_in(&source) {
        if !GgufFile::is_named(to) || dtype.is_some() {
            let reason = "it is an adapter, which can be written as a .gguf file without a type; make it part of its \
                          model by `rappel merge`"
                .to_owned();
            return Err(TrainError::File { path: source, reason });
        }
        let adapter::Written { architecture, parameters } = adapter::write_gguf(&source, to)?;
        return Ok(Converted { architecture, parameters, dtype: "F32".to_owned() });
    }
    let kind = if GgufFile::is_named(to) {
        Kind::Gguf(dtype.map(quantization).transpose()?)
    } else {
        Kind::Folder(dtype.map(folder_type).transpose()?)
    };
    let read = match kind {
        Kind::Folder(Some(FolderType::Few(storage))) => quantized(&source, storage)?,
        Kind::Folder(Some(FolderType::Dense(dtype))) => load(&source, Some(dtype))?,
        Kind::Folder(None) | Kind::Gguf(_) => load(&source, None)?,
    };
    sound::check_finite(&source, &read.params)?;
    let vocab_size = read.model.config().vocab_size();
    let tokenizer = text::tokenizer_if_any(&source, vocab_size)?;
    let stored = read.model.config().dtype();
    let converted = |dtype: String| Converted {
        architecture: read.model.config().model_type().to_owned(),
        parameters: read.params.count(),
        dtype,
    };
    match kind {
        Kind::Gguf(kind) => {
            let as_stored =
                if stored == DType::BF16 { Quantization::Bf16 } else { Quantization::F32 };
            let kind = kind.unwrap_or(as_stored);
            let mut keys = match &tokenizer {
                Some(tokenizer) => {
                    let architecture = read.model.config().model_type();
                    gguf_keys(tokenizer.to_gguf(architecture, vocab_size)?)
                }
                None => Metadata::default(),
            };
            let name = to.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            keys.set("general.name", MetaValue::Text(name));
            save_gguf(to, read.model.as_ref(), &read.params, kind, &keys)?;
            Ok(converted(kind.name().to_owned()))
        }
        Kind::Folder(kind) => {
            let kept = KeptFile::all(&source)?;
            let beside = partial(to);
            let written = || {
                fresh_folder(&beside)?;
                read.save(&beside)?;
                if let Some(tokenizer) = &tokenizer {
                    tokenizer.save(&beside)?;
                }
                kept.iter().try_for_each(|file| file.write(&beside))?;
                Ok(publish(&beside, to)?)
            };
            if let Err(error) = written() {
                // The first error tells.
                let _ = remove(&beside);
                return Err(error);
            }
            let few = kind.filter(|kind| matches!(kind, FolderType::Few(_)));
            let name = few.and(dtype).map_or_else(|| stored.to_string(), str::to_lowercase);
            Ok(converted(name))
        }
    }
}

enum Kind {
    Folder(Option<FolderType>),
    Gguf(Option<Quantization>),
}

/// What the matrices of a folder are.
#[derive(Clone, Copy)]
enum FolderType {
    Dense(DType),
    /// As bitsandbytes has them.
    Few(WeightStorage),
}

/// Reads a model whose matrices become a few bits each.
fn quantized(source: &Path, storage: WeightStorage) -> Result<Pretrained, TrainError> {
    let dtype = match ModelFiles::open(source)?.dtype()? {
        DType::BF16 => DType::BF16,
        _ => DType::F32,
    };
    Ok(Pretrained::load_kept(source, Some(dtype), storage)?)
}

/// Reads a model in the type of its files; in single precision where these are several.
fn load(source: &Path, dtype: Option<DType>) -> Result<Pretrained, TrainError> {
    match Pretrained::load(source, dtype) {
        Err(FilesError::Mixed { .. }) => Ok(Pretrained::load(source, Some(DType::F32))?),
        read => Ok(read?),
    }
}

fn quantization(name: &str) -> Result<Quantization, TrainError> {
    const KNOWN: [(&str, Quantization); 5] = [
        ("float32", Quantization::F32),
        ("float16", Quantization::F16),
        ("bfloat16", Quantization::Bf16),
        ("q8_0", Quantization::Blocks(BlockFormat::Q8_0)),
        ("q4_0", Quantization::Blocks(BlockFormat::Q4_0)),
    ];
    let known = KNOWN.iter().find(|(known, kind)| {
        known.eq_ignore_ascii_case(name) || kind.name().eq_ignore_ascii_case(name)
    });
    known.map(|(_, kind)| *kind).ok_or_else(|| TrainError::NumberType {
        name: name.to_owned(),
        place: "a GGUF file",
        known: "F32, F16, BF16, Q8_0, Q4_0",
    })
}

fn folder_type(name: &str) -> Result<FolderType, TrainError> {
    let four = |book, nested| FolderType::Few(WeightStorage::FourBits { book, nested });
    Ok(match name.to_ascii_lowercase().as_str() {
        "nf4" => four(CodeBook::Nf4, false),
        "nf4-double-quant" => four(CodeBook::Nf4, true),
        "fp4" => four(CodeBook::Fp4, false),
        "fp4-double-quant" => four(CodeBook::Fp4, true),
        "int8" => FolderType::Few(WeightStorage::EightBits),
        other => {
            let dense = other.parse::<DType>().ok().filter(|dtype| dtype.is_float());
            FolderType::Dense(dense.ok_or_else(|| TrainError::NumberType {
                name: name.to_owned(),
                place: "a folder",
                known: "float32, bfloat16, float64, nf4, fp4, nf4-double-quant, fp4-double-quant, int8",
            })?)
        }
    })
}
