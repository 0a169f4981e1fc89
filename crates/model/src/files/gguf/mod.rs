//! GGUF: a whole model in one file, its numbers often in a few bits each.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod config;
mod config_out;
mod cursor;
mod metadata;
mod names;
mod quants;
mod save;
mod write;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rappel_tensor::{Element, MappedFile, Shape};

use super::FilesError;
use cursor::Cursor;

pub(super) use config::{describe, is_of_positions};
pub use metadata::{MetaValue, Metadata};
use names::Form;
pub(super) use names::Place;
pub use names::adapter_place;
pub use quants::Quantization;
pub use save::save_gguf;
pub use write::{NewTensor, write_gguf};

const MAGIC: &[u8; 4] = b"GGUF";
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;
const ALIGNMENT: &str = "general.alignment";
/// Where a file does not say.
pub(super) const DEFAULT_ALIGNMENT: u64 = 32;
/// The most dimensions that the format knows.
const MOST_DIMENSIONS: u32 = 4;

/// An open GGUF file, mapped into memory; its header was checked whole.
#[derive(Debug)]
pub struct GgufFile {
    path: PathBuf,
    map: MappedFile,
    metadata: Metadata,
    tensors: BTreeMap<String, GgufTensor>,
}

/// Where and how a tensor is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct GgufTensor {
    /// Its shape, rows first, as PyTorch has it.
    pub shape: Shape,
    /// How its numbers are stored.
    pub quantization: Quantization,
    bytes: Range<usize>,
}

impl GgufFile {
    /// Whether a path means a GGUF file, by its ending.
    pub fn is_named(path: &Path) -> bool {
        path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"))
    }

    /// Opens a file and checks its header: versions, types, that each tensor is inside of the file.
    ///
    /// # Errors
    /// [`FilesError::Io`], [`FilesError::Gguf`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FilesError> {
        let path = path.as_ref().to_owned();
        let io = |source| FilesError::Io { path: path.clone(), source };
        let map = MappedFile::open(&path).map_err(io)?;
        match read(&map) {
            Ok((metadata, tensors)) => Ok(Self { path, map, metadata, tensors }),
            Err(reason) => Err(FilesError::Gguf { path, reason }),
        }
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the file says of its model.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, GgufTensor> {
        &self.tensors
    }

    /// Reads the numbers of a tensor into `out`, each rounded to its type.
    ///
    /// # Panics
    /// Where the file has no such tensor, or one of another count.
    pub fn read_into<T: Element>(&self, name: &str, out: &mut [T]) {
        assert_eq!(self.tensors[name].shape.count(), out.len(), "numbers of `{name}`");
        self.read_part(name, 0, out);
    }

    /// The bytes of a tensor.
    fn bytes(&self, name: &str) -> &[u8] {
        &self.map[self.tensors[name].bytes.clone()]
    }

    /// Tells the system that a tensor was read.
    fn release(&self, name: &str) {
        self.map.release(self.tensors[name].bytes.clone());
    }

    /// Reads numbers of a tensor from the position `first` on into `out`, each rounded to its type.
    ///
    /// # Panics
    /// Where the file has no such tensor or not so many numbers, and where the part is not whole blocks.
    pub fn read_part<T: Element>(&self, name: &str, first: usize, out: &mut [T]) {
        let tensor = &self.tensors[name];
        assert!(first + out.len() <= tensor.shape.count(), "numbers of `{name}`");
        let (block, size) = (tensor.quantization.block(), tensor.quantization.block_bytes());
        assert!(
            first.is_multiple_of(block) && out.len().is_multiple_of(block),
            "whole blocks of `{name}`"
        );
        // Pieces bound what is held twice.
        let mut piece = vec![0.0_f32; out.len().min(1 << 18).next_multiple_of(block)];
        let mut at = tensor.bytes.start + first / block * size;
        for out in out.chunks_mut(piece.len().max(1)) {
            let range = at..at + out.len() / block * size;
            let piece = &mut piece[..out.len()];
            tensor.quantization.decode(&self.map[range.clone()], piece);
            for (out, number) in out.iter_mut().zip(piece) {
                *out = T::from_f64(f64::from(*number));
            }
            at = range.end;
            self.map.release(range);
        }
    }
}

type Header = (Metadata, BTreeMap<String, GgufTensor>);

/// The header of a file.
fn read(bytes: &[u8]) -> Result<Header, String> {
    let cursor = &mut Cursor::new(bytes);
    if cursor.array().ok().as_ref() != Some(MAGIC) {
        return Err("is not a GGUF file".to_owned());
    }
    let version = cursor.u32()?;
    if !VERSIONS.contains(&version) {
        let reason = "is not supported; expected 2 or 3 in little-endian order";
        return Err(format!("version {version} {reason}"));
    }
    let (tensors, keys) = (cursor.u64()?, cursor.u64()?);
    let metadata = Metadata::read(cursor, keys)?;
    let mut infos = Vec::new();
    for _ in 0..tensors {
        infos.push(info(cursor)?);
    }
    let alignment = match metadata.get(ALIGNMENT) {
        None => DEFAULT_ALIGNMENT,
        Some(MetaValue::Int(value)) if (1..=1 << 20).contains(value) => *value as u64,
        Some(other) => {
            return Err(format!("`{ALIGNMENT}` is {other:?}, which is not a valid alignment"));
        }
    };
    let data = (cursor.at() as u64).next_multiple_of(alignment);
    let mut placed = BTreeMap::new();
    for Info { name, shape, quantization, offset, size } in infos {
        let end = data.checked_add(offset).and_then(|start| start.checked_add(size));
        let Some(end) = end.filter(|end| *end <= bytes.len() as u64) else {
            return Err(format!(
                "tensor `{name}` lies beyond the end of the file, which is {} bytes long",
                bytes.len()
            ));
        };
        if offset % alignment != 0 {
            return Err(format!("tensor `{name}` is not aligned to {alignment} bytes"));
        }
        let bytes = (end - size) as usize..end as usize;
        let tensor = GgufTensor { shape, quantization, bytes };
        if placed.insert(name.clone(), tensor).is_some() {
            return Err(format!("has the tensor `{name}` twice"));
        }
    }
    check_overlap(&placed)?;
    Ok((metadata, placed))
}

/// Tensors do not share bytes: a small file cannot stand for a large model.
fn check_overlap(tensors: &BTreeMap<String, GgufTensor>) -> Result<(), String> {
    let mut places: Vec<_> =
        tensors.iter().map(|(name, t)| (t.bytes.start, t.bytes.end, name)).collect();
    places.sort_unstable();
    match places.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        Some(pair) => Err(format!("tensors `{}` and `{}` overlap", pair[0].2, pair[1].2)),
        None => Ok(()),
    }
}

struct Info {
    name: String,
    shape: Shape,
    quantization: Quantization,
    offset: u64,
    size: u64,
}

/// A tensor's line of the header.
fn info(cursor: &mut Cursor<'_>) -> Result<Info, String> {
    let name = cursor.text()?;
    let dimensions = cursor.u32()?;
    if dimensions > MOST_DIMENSIONS {
        return Err(format!("tensor `{name}` has {dimensions} dimensions"));
    }
    let mut sizes = Vec::new();
    for _ in 0..dimensions {
        sizes.push(cursor.u64()?);
    }
    let number = cursor.u32()?;
    let offset = cursor.u64()?;
    let Some(quantization) = Quantization::from_number(number) else {
        let known = Quantization::names();
        return Err(format!(
            "tensor `{name}` is of type {number}, which is not supported (known: {known})"
        ));
    };
    let (block, block_bytes) = (quantization.block() as u64, quantization.block_bytes() as u64);
    if sizes.contains(&0) {
        return Err(format!("tensor `{name}` is empty"));
    }
    let count = sizes.iter().try_fold(1_u64, |count, size| count.checked_mul(*size));
    let size = count.and_then(|count| (count / block).checked_mul(block_bytes));
    let Some(size) = size.filter(|size| usize::try_from(*size).is_ok()) else {
        return Err(format!("the sizes of tensor `{name}` overflow"));
    };
    if sizes.first().unwrap_or(&1) % block != 0 {
        let kind = quantization.name();
        return Err(format!(
            "tensor `{name}`: its rows are not whole blocks of {block} numbers, as {kind} has"
        ));
    }
    // The format has the fastest dimension first.
    let shape: Vec<usize> = sizes.iter().rev().map(|size| *size as usize).collect();
    Ok(Info { name, shape: Shape::new(&shape), quantization, offset, size })
}
