//! Weights as bitsandbytes stores them in a folder: a few bits each, with scales in tensors beside them.

use std::collections::BTreeMap;

use rappel_tensor::{
    CodeBook, DType, Quantized, QuantizedForm, Scales, Shape, StorageError, StreamedTensor, Tensor,
    TensorFile,
};
use serde_json::{Map, Value, json};

/// The key of config.json that says how weights are stored.
pub(super) const KEY: &str = "quantization_config";
/// What the name of the tensor ends with that describes a weight of four bits.
const STATE: &str = ".quant_state.bitsandbytes__";
/// What the scales of rows are called, beside `weight`.
const ROWS: &str = "SCB";

/// A weight of a few bits in some files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stored {
    Four { book: CodeBook },
    Eight,
}

impl Stored {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Four { book } => book.name(),
            Self::Eight => "int8",
        }
    }
}

/// The weights of a few bits among the tensors of files, by their names there; and whether a tensor is only of one of them.
pub(super) fn find<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
) -> (BTreeMap<String, Stored>, impl Fn(&str) -> bool) {
    let mut found = BTreeMap::new();
    for name in names {
        if let Some((weight, kind)) = name.split_once(STATE) {
            let book = [CodeBook::Nf4, CodeBook::Fp4].into_iter().find(|book| book.name() == kind);
            found.extend(book.map(|book| (weight.to_owned(), Stored::Four { book })));
        } else if let Some(module) = name.strip_suffix(ROWS).filter(|module| module.ends_with('.'))
        {
            found.insert(format!("{module}weight"), Stored::Eight);
        }
    }
    let known = found.clone();
    let is_part = move |name: &str| {
        let of_four = |weight: &str| known.get(weight).is_some_and(|kind| *kind != Stored::Eight);
        let of_eight = |module: &str| known.contains_key(&format!("{module}weight"));
        let parts = ["absmax", "quant_map", "nested_absmax", "nested_quant_map"];
        parts.iter().any(|part| {
            let weight = name.strip_suffix(part).and_then(|name| name.strip_suffix('.'));
            weight.is_some_and(of_four)
        }) || name.split_once(STATE).is_some_and(|(weight, _)| of_four(weight))
            || [ROWS, "weight_format"]
                .iter()
                .any(|part| name.strip_suffix(part).is_some_and(of_eight))
    };
    (found, is_part)
}

/// The tensors of files, by name.
pub(super) struct Parts<'a>(pub &'a [TensorFile]);

impl Parts<'_> {
    fn file(&self, name: &str) -> Result<&TensorFile, String> {
        let file = self.0.iter().find(|file| file.shape(name).is_some());
        file.ok_or_else(|| format!("`{name}` is missing"))
    }

    fn tensor(&self, name: &str) -> Result<Tensor, String> {
        self.file(name)?.tensor(name).map_err(|error: StorageError| error.to_string())
    }

    fn numbers(&self, name: &str) -> Result<Vec<f32>, String> {
        let tensor = self.tensor(name)?;
        if !tensor.dtype().is_float() {
            return Err(format!("`{name}` holds {}", tensor.dtype()));
        }
        Ok(tensor.to_dtype(DType::F32).to_vec())
    }

    /// What describes a weight of four bits.
    fn state(&self, weight: &str, book: CodeBook) -> Result<Map<String, Value>, String> {
        let name = format!("{weight}{STATE}{}", book.name());
        let tensor = self.tensor(&name)?;
        if tensor.dtype() != DType::U8 {
            return Err(format!("`{name}` holds {}", tensor.dtype()));
        }
        serde_json::from_slice(&tensor.to_vec::<u8>())
            .map_err(|error| format!("`{name}` is not a JSON object: {error}"))
    }

    /// The sizes of a weight.
    pub fn shape(&self, weight: &str, kind: &Stored) -> Result<Shape, String> {
        let Stored::Four { book } = kind else {
            return Ok(self.file(weight)?.shape(weight).expect("the file has it"));
        };
        let state = self.state(weight, *book)?;
        let size = |size: &Value| size.as_u64().map(|size| size as usize);
        let sizes = state.get("shape").and_then(Value::as_array);
        let sizes = sizes.and_then(|sizes| sizes.iter().map(size).collect::<Option<Vec<_>>>());
        let is_matrix = |sizes: &Vec<usize>| sizes.len() == 2;
        sizes
            .filter(is_matrix)
            .map(|sizes| Shape::new(&sizes))
            .ok_or_else(|| format!("`{weight}{STATE}{}` has no `shape` of a matrix", book.name()))
    }

    /// A weight.
    pub fn read(&self, weight: &str, kind: &Stored) -> Result<Quantized, String> {
        let shape = self.shape(weight, kind)?;
        let size = [shape[0], shape[1]];
        let bytes = self.tensor(weight)?;
        let form = match kind {
            Stored::Eight => {
                let stored = self.file(weight)?.stored_as(weight).unwrap_or_default();
                if stored != "I8" {
                    return Err(format!("`{weight}` holds {stored}, where I8 is expected"));
                }
                let scales = weight.strip_suffix("weight").unwrap_or_default();
                QuantizedForm::Rows { scales: self.numbers(&format!("{scales}{ROWS}"))?.into() }
            }
            Stored::Four { book } => self.codes(weight, *book)?,
        };
        let wrong = |reason| format!("`{weight}`: {reason}");
        Quantized::new(size, form, &bytes.reshape([bytes.count()])).map_err(wrong)
    }

    fn codes(&self, weight: &str, book: CodeBook) -> Result<QuantizedForm, String> {
        let state = self.state(weight, book)?;
        let size = |key: &str| {
            let size = state.get(key).and_then(Value::as_u64).map(|size| size as usize);
            size.ok_or_else(|| format!("`{weight}{STATE}{}` has no `{key}`", book.name()))
        };
        if self.numbers(&format!("{weight}.quant_map"))? != book.values() {
            return Err(format!("`{weight}.quant_map` is not that of {}", book.name()));
        }
        let absmax = format!("{weight}.absmax");
        let scales = if state.contains_key("nested_blocksize") {
            let codes = self.tensor(&absmax)?;
            if codes.dtype() != DType::U8 {
                return Err(format!("`{absmax}` holds {}", codes.dtype()));
            }
            let offset = state.get("nested_offset").and_then(Value::as_f64);
            Scales::Nested {
                codes: codes.to_vec::<u8>().into(),
                map: self.numbers(&format!("{weight}.nested_quant_map"))?.into(),
                maxima: self.numbers(&format!("{weight}.nested_absmax"))?.into(),
                block: size("nested_blocksize")?,
                offset: offset.ok_or_else(|| format!("`{weight}` has no `nested_offset`"))? as f32,
            }
        } else {
            Scales::Plain(self.numbers(&absmax)?.into())
        };
        Ok(QuantizedForm::Codes { book, block: size("blocksize")?, scales })
    }
}

/// The tensors of a weight in a folder, or `None` of a form that bitsandbytes does not have. `dtype` is the type that its
/// products are computed in.
pub(super) fn tensors(
    name: &str,
    weight: &Quantized,
    dtype: DType,
) -> Option<Vec<StreamedTensor<'static>>> {
    let list = |values: &[f32]| Tensor::from_slice(values, [values.len()]);
    match weight.form() {
        _ if weight.is_transposed() => None,
        QuantizedForm::Blocks(_) => None,
        QuantizedForm::Rows { scales } => {
            let module = name.strip_suffix("weight")?;
            let bytes = weight.bytes().reshape(weight.shape());
            Some(vec![
                StreamedTensor::from((name, bytes)).signed(),
                (format!("{module}{ROWS}"), list(scales)).into(),
                // Rows one after another.
                (format!("{module}weight_format"), Tensor::zeros((), DType::U8)).into(),
            ])
        }
        QuantizedForm::Codes { book, block, scales } => {
            let mut state = json!({
                "quant_type": book.name(), "blocksize": block, "dtype": torch_name(dtype),
                "shape": weight.shape().to_vec(),
            });
            let mut tensors: Vec<StreamedTensor> = vec![
                (name, weight.bytes().reshape([weight.bytes().count(), 1])).into(),
                (format!("{name}.quant_map"), list(book.values())).into(),
            ];
            match scales {
                Scales::Plain(scales) => {
                    tensors.push((format!("{name}.absmax"), list(scales)).into());
                }
                Scales::Nested { codes, map, maxima, block, offset } => {
                    state["nested_blocksize"] = (*block).into();
                    state["nested_dtype"] = "float32".into();
                    state["nested_offset"] = f64::from(*offset).into();
                    let codes = Tensor::from_slice(codes, [codes.len()]);
                    tensors.push((format!("{name}.absmax"), codes).into());
                    tensors.push((format!("{name}.nested_absmax"), list(maxima)).into());
                    tensors.push((format!("{name}.nested_quant_map"), list(map)).into());
                }
            }
            let text = state.to_string();
            let text = Tensor::from_slice(text.as_bytes(), [text.len()]);
            tensors.push((format!("{name}{STATE}{}", book.name()), text).into());
            Some(tensors)
        }
    }
}

/// What config.json says of a folder with such weights.
pub(super) fn config(weight: &Quantized, dtype: DType) -> Value {
    let (four, book, nested) = match weight.form() {
        QuantizedForm::Codes { book, scales, .. } => {
            (true, book.name(), matches!(scales, Scales::Nested { .. }))
        }
        _ => (false, CodeBook::Fp4.name(), false),
    };
    json!({
        "_load_in_4bit": four,
        "_load_in_8bit": !four,
        "bnb_4bit_compute_dtype": torch_name(dtype),
        "bnb_4bit_quant_storage": "uint8",
        "bnb_4bit_quant_type": book,
        "bnb_4bit_use_double_quant": nested,
        "llm_int8_enable_fp32_cpu_offload": false,
        "llm_int8_has_fp16_weight": false,
        "llm_int8_skip_modules": null,
        "llm_int8_threshold": 6.0,
        "load_in_4bit": four,
        "load_in_8bit": !four,
        "quant_method": "bitsandbytes",
    })
}

/// PyTorch's name of a type.
fn torch_name(dtype: DType) -> &'static str {
    match dtype {
        DType::BF16 => "bfloat16",
        DType::F64 => "float64",
        _ => "float32",
    }
}

/// Takes what config.json says of its weights away, where bitsandbytes stored them: the tensors say all of it.
pub(super) fn take_config(json: &mut Map<String, Value>) {
    let method = json.get(KEY).and_then(|config| config.get("quant_method"));
    if method.is_some_and(|method| method == "bitsandbytes") {
        json.remove(KEY);
    }
}
