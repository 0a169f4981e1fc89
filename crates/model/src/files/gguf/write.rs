//! Writing GGUF files.

use std::fmt;
use std::io::{self, Write};

use rappel_tensor::Shape;

use super::metadata::{ARRAY, BOOL, F32, I32, I64, TEXT, U32};
use super::{DEFAULT_ALIGNMENT, MAGIC, MetaValue, Metadata, Quantization, VERSIONS};

/// Hands a tensor's numbers on, part after part.
pub type MakeNumbers<'a> = dyn Fn(&mut dyn FnMut(&[f32]) -> io::Result<()>) -> io::Result<()> + 'a;

/// A tensor that is written: its numbers are asked for once, when their turn comes.
pub struct NewTensor<'a> {
    /// Its name.
    pub name: String,
    /// Its shape, rows first.
    pub shape: Shape,
    /// How its numbers are stored; its rows must be whole blocks.
    pub quantization: Quantization,
    /// Makes its numbers, part after part.
    pub numbers: Box<MakeNumbers<'a>>,
}

impl fmt::Debug for NewTensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("NewTensor");
        debug.field("name", &self.name).field("shape", &self.shape);
        debug.field("quantization", &self.quantization).finish_non_exhaustive()
    }
}

/// Writes a GGUF file.
///
/// # Errors
/// What `out` refuses.
///
/// # Panics
/// Where the parts of a tensor are not whole blocks, or not all of its numbers.
pub fn write_gguf(
    out: &mut dyn Write,
    metadata: &Metadata,
    tensors: &[NewTensor<'_>],
) -> io::Result<()> {
    let mut header = Vec::new();
    header.extend(MAGIC);
    header.extend(VERSIONS.end().to_le_bytes());
    header.extend((tensors.len() as u64).to_le_bytes());
    header.extend((metadata.iter().len() as u64).to_le_bytes());
    for (key, value) in metadata.iter() {
        text(&mut header, key);
        self::value(&mut header, value);
    }
    let mut offset = 0_u64;
    for tensor in tensors {
        text(&mut header, &tensor.name);
        header.extend((tensor.shape.rank() as u32).to_le_bytes());
        for size in tensor.shape.iter().rev() {
            header.extend((*size as u64).to_le_bytes());
        }
        header.extend(tensor.quantization.number().to_le_bytes());
        header.extend(offset.to_le_bytes());
        offset = (offset + tensor.bytes()).next_multiple_of(DEFAULT_ALIGNMENT);
    }
    pad(&mut header);
    out.write_all(&header)?;
    let mut bytes = Vec::new();
    for tensor in tensors {
        let mut written = 0;
        (tensor.numbers)(&mut |numbers| {
            // Pieces bound what is held twice.
            for piece in numbers.chunks(1 << 18) {
                bytes.clear();
                tensor.quantization.encode(piece, &mut bytes);
                written += bytes.len() as u64;
                out.write_all(&bytes)?;
            }
            Ok(())
        })?;
        assert_eq!(written, tensor.bytes(), "bytes of `{}`", tensor.name);
        let end = written.next_multiple_of(DEFAULT_ALIGNMENT) - written;
        out.write_all(&vec![0; end as usize])?;
    }
    Ok(())
}

impl NewTensor<'_> {
    fn bytes(&self) -> u64 {
        let (block, size) = (self.quantization.block(), self.quantization.block_bytes());
        (self.shape.count() / block * size) as u64
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A value with its type. Integers are of 32 bits where they fit, floats of single precision, as readers expect.
fn value(out: &mut Vec<u8>, value: &MetaValue) {
    let kind = |out: &mut Vec<u8>, kind: u32| out.extend(kind.to_le_bytes());
    let array = |out: &mut Vec<u8>, of: u32, count: usize| {
        kind(out, ARRAY);
        kind(out, of);
        out.extend((count as u64).to_le_bytes());
    };
    match value {
        MetaValue::Int(value) => {
            if let Ok(value) = u32::try_from(*value) {
                kind(out, U32);
                out.extend(value.to_le_bytes());
            } else {
                kind(out, I64);
                out.extend(value.to_le_bytes());
            }
        }
        MetaValue::Float(value) => {
            kind(out, F32);
            out.extend((*value as f32).to_le_bytes());
        }
        MetaValue::Bool(value) => {
            kind(out, BOOL);
            out.push(u8::from(*value));
        }
        MetaValue::Text(value) => {
            kind(out, TEXT);
            text(out, value);
        }
        MetaValue::Texts(values) => {
            array(out, TEXT, values.len());
            for value in values {
                text(out, value);
            }
        }
        MetaValue::Ints(values) => {
            let small = values.iter().all(|value| i32::try_from(*value).is_ok());
            array(out, if small { I32 } else { I64 }, values.len());
            for value in values {
                if small {
                    out.extend((*value as i32).to_le_bytes());
                } else {
                    out.extend(value.to_le_bytes());
                }
            }
        }
        MetaValue::Floats(values) => {
            array(out, F32, values.len());
            for value in values {
                out.extend(value.to_le_bytes());
            }
        }
        MetaValue::Bools(values) => {
            array(out, BOOL, values.len());
            out.extend(values.iter().map(|value| u8::from(*value)));
        }
    }
}
