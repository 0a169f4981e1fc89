//! Where a GGUF file has a parameter, and in which form.

use serde_json::{Map, Value};

use rappel_tensor::{Element, Quantized, QuantizedForm, Shape, Tensor};

use super::{GgufFile, GgufTensor, Quantization};
use crate::{ARCHITECTURES, GgufDialect, ModelConfig};

/// A parameter's place in a GGUF file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The tensor.
    pub tensor: String,
    /// How the parameter becomes that, or a part of it.
    pub form: Form,
}

/// What is done to a parameter where it goes into a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Nothing.
    Same,
    /// The two halves of each head's rows alternate.
    Interleaved { heads: usize },
    /// 1 is added.
    PlusOne,
    /// Rows become columns.
    Transposed,
    /// It is one of several of its shape in a tensor.
    Part { index: usize },
}

/// The name that a part has in files, and the numbers of its layer and of its expert, by the first pattern that fits.
fn lookup<'a>(names: &[&[(&str, &'a str)]], stem: &str) -> Option<(&'a str, [Option<usize>; 2])> {
    names.iter().copied().flatten().find_map(|(pattern, stored)| {
        let mut numbers = [None; 2];
        let (mut parts, mut wanted) = (stem.split('.'), pattern.split('.'));
        let mut met = 0;
        loop {
            match (parts.next(), wanted.next()) {
                (None, None) => return Some((*stored, numbers)),
                (Some(part), Some("*")) => {
                    *numbers.get_mut(met)? = Some(part.parse().ok()?);
                    met += 1;
                }
                (Some(part), Some(wanted)) if part == wanted => {}
                _ => return None,
            }
        }
    })
}

impl GgufDialect {
    /// The tensor that holds the parameter `name`, or that it is a part of.
    pub fn tensor(&self, name: &str) -> Option<String> {
        self.place(name, &Map::new()).map(|place| place.tensor)
    }

    /// Where the parameter `name` of a model with this config.json is.
    pub(crate) fn place(&self, name: &str, config: &Map<String, Value>) -> Option<Place> {
        let (stem, ending) = name.rsplit_once('.')?;
        let (stored, [layer, expert]) = lookup(self.names, stem)?;
        let size = |key: &str| config.get(key).and_then(Value::as_u64).map(|size| size as usize);
        let part = stored.rsplit('.').next().unwrap_or(stored);
        let heads = match part {
            "attn_q" => size("num_attention_heads"),
            "attn_k" => size("num_key_value_heads").or_else(|| size("num_attention_heads")),
            _ => None,
        };
        let form = match (expert, heads.filter(|_| self.interleaved)) {
            (Some(index), _) => Form::Part { index },
            (None, Some(heads)) => Form::Interleaved { heads },
            _ if self.norms_plus_one && part.ends_with("_norm") => Form::PlusOne,
            _ if self.transposed && ending == "weight" && layer.is_some() => {
                if part.ends_with("_norm") { Form::Same } else { Form::Transposed }
            }
            _ => Form::Same,
        };
        let stored = layer.map_or(stored.to_owned(), |i| stored.replace('*', &i.to_string()));
        Some(Place { tensor: format!("{stored}.{ending}"), form })
    }
}

/// Where the adapter of a weight is in a GGUF file: its tensor's name, which of our rows of the second matrix each of its
/// rows is, and the name of the architecture. `None` where files have no place for it.
pub fn adapter_place(
    config: &dyn ModelConfig,
    name: &str,
    rows: usize,
) -> Option<(String, Vec<usize>, &'static str)> {
    let dialect = &ARCHITECTURES.lookup(config.model_type()).ok()?.build.gguf;
    let Place { tensor, form } = dialect.place(name, &config.to_json())?;
    let mut order: Vec<usize> = (0..rows).collect();
    match form {
        Form::Same | Form::Transposed => {}
        Form::Interleaved { heads } if heads > 0 && rows.is_multiple_of(2 * heads) => {
            for ours in 0..rows {
                order[interleaved(ours, rows / heads)] = ours;
            }
        }
        Form::Interleaved { .. } | Form::PlusOne | Form::Part { .. } => return None,
    }
    Some((tensor, order, dialect.name))
}

impl Place {
    /// The shape of the parameter, by that of the tensor; `None` where there is no such tensor or part.
    pub fn shape(&self, file: &GgufFile) -> Option<Shape> {
        let stored = file.tensors().get(&self.tensor)?.shape;
        match (self.form, &stored[..]) {
            (Form::Transposed, [rows, columns]) => Some(Shape::from([*columns, *rows])),
            (Form::Part { index }, [count, rest @ ..]) if index < *count => Some(Shape::new(rest)),
            (Form::Part { .. }, _) => None,
            _ => Some(stored),
        }
    }

    /// Reads the parameter, whose shape is `shape`, each number rounded to its type.
    pub fn read_into<T: Element>(&self, file: &GgufFile, shape: Shape, out: &mut [T]) {
        let row = shape[1..].iter().product::<usize>();
        match self.form {
            Form::Part { index } => file.read_part(&self.tensor, index * shape.count(), out),
            Form::Interleaved { heads } if heads > 0 && shape[0].is_multiple_of(2 * heads) => {
                let stored = |ours: usize| interleaved(ours, shape[0] / heads);
                if row == 1 {
                    // A bias: less than a block may be a row.
                    let mut numbers = vec![T::from_f64(0.0); out.len()];
                    file.read_into(&self.tensor, &mut numbers);
                    for (ours, out) in out.iter_mut().enumerate() {
                        *out = numbers[stored(ours)];
                    }
                } else {
                    for (ours, out) in out.chunks_exact_mut(row).enumerate() {
                        file.read_part(&self.tensor, stored(ours) * row, out);
                    }
                    file.release(&self.tensor);
                }
            }
            Form::Same | Form::Interleaved { .. } => file.read_into(&self.tensor, out),
            Form::PlusOne => {
                let mut numbers = vec![0.0_f32; out.len()];
                file.read_into(&self.tensor, &mut numbers);
                for (out, number) in out.iter_mut().zip(numbers) {
                    *out = T::from_f64(f64::from(number - 1.0));
                }
            }
            Form::Transposed => {
                let mut column = vec![T::from_f64(0.0); shape[0]];
                for i in 0..row {
                    file.read_part(&self.tensor, i * shape[0], &mut column);
                    for (row_of, number) in out.chunks_exact_mut(row).zip(&column) {
                        row_of[i] = *number;
                    }
                }
                file.release(&self.tensor);
            }
        }
    }

    /// How the parameter's blocks are stored, where it is a matrix of blocks that can stay as they are.
    pub fn quantization(&self, file: &GgufFile) -> Option<Quantization> {
        let tensor = file.tensors().get(&self.tensor)?;
        let stays = tensor.shape.rank() == 2
            && matches!(self.form, Form::Same | Form::Interleaved { .. } | Form::Transposed);
        let is_of_blocks = tensor.quantization.blocks().is_some();
        (stays && is_of_blocks).then_some(tensor.quantization)
    }

    /// The parameter in its blocks.
    ///
    /// # Panics
    /// Where [`quantization`](Self::quantization) is none.
    pub fn read_blocks(&self, file: &GgufFile) -> Quantized {
        let GgufTensor { shape, quantization, .. } = &file.tensors()[&self.tensor];
        let format = quantization.blocks().expect("a form of blocks");
        let (rows, bytes) = (shape[0], file.bytes(&self.tensor));
        let row = bytes.len() / rows;
        let bytes = match self.form {
            Form::Interleaved { heads } if heads > 0 && rows.is_multiple_of(2 * heads) => {
                let stored = |ours: usize| interleaved(ours, rows / heads) * row;
                let turned = (0..rows).flat_map(|ours| &bytes[stored(ours)..stored(ours) + row]);
                let turned: Vec<u8> = turned.copied().collect();
                Tensor::from_slice(&turned, [turned.len()])
            }
            _ => Tensor::from_slice(bytes, [bytes.len()]),
        };
        file.release(&self.tensor);
        let blocks = Quantized::new([rows, shape[1]], QuantizedForm::Blocks(format), &bytes);
        let blocks = blocks.expect("the header was checked");
        if self.form == Form::Transposed { blocks.t() } else { blocks }
    }

    /// The numbers of a parameter as the file has them.
    pub fn stored(&self, shape: Shape, numbers: Vec<f32>) -> Vec<f32> {
        let row = shape[1..].iter().product::<usize>();
        match self.form {
            Form::PlusOne => numbers.into_iter().map(|number| number + 1.0).collect(),
            Form::Interleaved { heads } if heads > 0 && shape[0].is_multiple_of(2 * heads) => {
                let mut stored = vec![0.0; numbers.len()];
                for (ours, numbers) in numbers.chunks_exact(row).enumerate() {
                    let at = interleaved(ours, shape[0] / heads) * row;
                    stored[at..at + row].copy_from_slice(numbers);
                }
                stored
            }
            Form::Same | Form::Part { .. } | Form::Interleaved { .. } => numbers,
            Form::Transposed => {
                let column = |i: usize| numbers.iter().skip(i).step_by(row).copied();
                (0..row).flat_map(column).collect()
            }
        }
    }
}

/// Where row `ours` of heads of `dim` rows is when the halves of each head alternate.
fn interleaved(ours: usize, dim: usize) -> usize {
    let (head, channel) = (ours / dim, ours % dim);
    let (half, pair) = (channel / (dim / 2), channel % (dim / 2));
    head * dim + 2 * pair + half
}
