//! Files of named tensors (safetensors).

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype as Stored, Metadata, SafeTensors, TensorInfo};

use crate::dtype::{DType, Element};
use crate::memory::{MappedFile, bytes_of, bytes_of_mut};
use crate::shape::{MAX_RANK, Shape};
use crate::tensor::Tensor;
use crate::with_element;

/// What can go wrong with a file of tensors.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file is not whole or not of the format.
    #[error("{path}: not a complete safetensors file: {reason}")]
    Format {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A tensor is of a type that is not supported.
    #[error("{path}: tensor `{name}` holds {dtype}, which is not supported")]
    Type {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        dtype: String,
    },
    /// The file lacks tensors.
    #[error("{path}: lacks tensor `{name}`")]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// The file has a tensor that nothing asks for.
    #[error("{path}: has tensor `{name}`, which nothing here is called")]
    Unexpected {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
    },
    /// A tensor has another shape than wanted.
    #[error("{path}: tensor `{name}` has shape {found:?}, wanted {wanted:?}")]
    Shape {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// The file's.
        found: Vec<usize>,
        /// The reader's.
        wanted: Vec<usize>,
    },
}

/// An open safetensors file, mapped into memory; its header was checked whole.
#[derive(Debug)]
pub struct TensorFile {
    path: PathBuf,
    map: MappedFile,
    header: usize,
    metadata: Metadata,
}

/// The type that a file's numbers are read as; `None` for those that tensors do not have. Half precision has none of
/// its own, and is read as single, which holds each of its numbers.
fn dtype_of(stored: Stored) -> Option<DType> {
    Some(match stored {
        Stored::F64 => DType::F64,
        Stored::F32 | Stored::F16 => DType::F32,
        Stored::BF16 => DType::BF16,
        Stored::I64 => DType::I64,
        // Of signed bytes the bits are read.
        Stored::U8 | Stored::I8 | Stored::BOOL => DType::U8,
        _ => return None,
    })
}

impl TensorFile {
    /// Opens a file and checks its header: lengths, offsets, that tensors fill it without overlap.
    ///
    /// # Errors
    /// [`StorageError::Io`], [`StorageError::Format`], [`StorageError::Type`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        let path = path.as_ref().to_owned();
        let io = |source| StorageError::Io { path: path.clone(), source };
        let map = MappedFile::open(&path).map_err(io)?;
        let (header, metadata) = SafeTensors::read_metadata(&map)
            .map_err(|e| StorageError::Format { path: path.clone(), reason: e.to_string() })?;
        let file = Self { path, map, header: header + 8, metadata };
        for (name, info) in file.metadata.tensors() {
            let dtype = format!("{:?}", info.dtype);
            if dtype_of(info.dtype).is_none() {
                return Err(StorageError::Type { path: file.path, name, dtype });
            }
            if info.shape.len() > MAX_RANK {
                let reason = format!("tensor `{name}` has {} dimensions", info.shape.len());
                return Err(StorageError::Format { path: file.path, reason });
            }
            // A size of zero hides an overflow of the others from the count of elements.
            let sizes = info.shape.iter().filter(|size| **size != 0);
            if sizes.copied().try_fold(1_usize, usize::checked_mul).is_none() {
                let reason = format!("the sizes of tensor `{name}` overflow");
                return Err(StorageError::Format { path: file.path, reason });
            }
        }
        let whole = file.header + file.metadata.data_len();
        if whole != file.map.len() {
            let reason = format!("{} bytes, its header says {whole}", file.map.len());
            return Err(StorageError::Format { path: file.path, reason });
        }
        Ok(file)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of the tensors, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.metadata.tensors().into_keys().collect();
        names.sort();
        names
    }

    /// The text stored under `key` beside the tensors.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.metadata.metadata().as_ref()?.get(key).map(String::as_str)
    }

    /// The shape of a tensor, if the file has it.
    pub fn shape(&self, name: &str) -> Option<Shape> {
        Some(Shape::new(&self.metadata.info(name)?.shape))
    }

    /// The type of a tensor, if the file has it.
    pub fn dtype(&self, name: &str) -> Option<DType> {
        dtype_of(self.metadata.info(name)?.dtype)
    }

    /// How the file names the type of a tensor, if it has it, such as `F16`.
    pub fn stored_as(&self, name: &str) -> Option<String> {
        Some(format!("{:?}", self.metadata.info(name)?.dtype))
    }

    /// A copy of the tensor `name`.
    ///
    /// # Errors
    /// [`StorageError::Missing`].
    pub fn tensor(&self, name: &str) -> Result<Tensor, StorageError> {
        let (info, _) = self.stored(name)?;
        let dtype = dtype_of(info.dtype).expect("checked on opening");
        let mut tensor = Tensor::uninit(Shape::new(&info.shape), dtype);
        with_element!(dtype, T => self.read_into(name, tensor.slice_mut::<T>())?);
        Ok(tensor)
    }

    /// Reads the tensor `name` into `out`, each number rounded to its type. Beside that it takes no memory: the file's
    /// bytes are read piece by piece, and let go.
    ///
    /// # Errors
    /// [`StorageError::Missing`].
    ///
    /// # Panics
    /// Where the tensor has more or fewer numbers.
    #[track_caller]
    pub fn read_into<T: Element>(&self, name: &str, out: &mut [T]) -> Result<(), StorageError> {
        let (info, data) = self.stored(name)?;
        let count: usize = info.shape.iter().product();
        assert!(count == out.len(), "tensor `{name}` has {count} numbers, got {}", out.len());
        let size = data.len() / count.max(1);
        for (i, out) in out.chunks_mut(PIECE).enumerate() {
            let start = data.start + i * PIECE * size;
            let range = start..start + out.len() * size;
            let bytes = &self.map[range.clone()];
            match info.dtype {
                Stored::F64 => convert::<f64, T>(bytes, out),
                Stored::F32 => convert::<f32, T>(bytes, out),
                Stored::BF16 => convert::<half::bf16, T>(bytes, out),
                Stored::I64 => convert::<i64, T>(bytes, out),
                Stored::F16 => {
                    for (out, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                        let number = half::f16::from_le_bytes([pair[0], pair[1]]);
                        *out = T::from_f64(number.to_f64());
                    }
                }
                _ => convert::<u8, T>(bytes, out),
            }
            self.map.release(range);
        }
        Ok(())
    }

    /// Whether the tensor `name` has the shape, the type and the bytes that `other_name` has in another file, or this.
    ///
    /// # Errors
    /// [`StorageError::Missing`].
    pub fn same(&self, name: &str, other: &Self, other_name: &str) -> Result<bool, StorageError> {
        let ((one, here), (two, there)) = (self.stored(name)?, other.stored(other_name)?);
        let equal = |at: usize| {
            let piece = |of: &Range<usize>| of.start + at..(of.start + at + PIECE).min(of.end);
            let (here, there) = (piece(&here), piece(&there));
            let equal = self.map[here.clone()] == other.map[there.clone()];
            self.map.release(here);
            other.map.release(there);
            equal
        };
        let alike = one.shape == two.shape && one.dtype == two.dtype;
        Ok(alike && (0..here.len()).step_by(PIECE).all(equal))
    }

    /// How the tensor `name` is stored, and where.
    fn stored(&self, name: &str) -> Result<(&TensorInfo, Range<usize>), StorageError> {
        let missing = || StorageError::Missing { path: self.path.clone(), name: name.to_owned() };
        let info = self.metadata.info(name).ok_or_else(missing)?;
        let (begin, end) = info.data_offsets;
        Ok((info, self.header + begin..self.header + end))
    }

    /// Checks that the file holds exactly the tensors wanted, in their shapes.
    ///
    /// # Errors
    /// [`StorageError::Missing`], [`StorageError::Unexpected`], [`StorageError::Shape`].
    pub fn check_exactly<'a>(
        &self,
        wanted: impl Iterator<Item = (&'a str, Shape)>,
    ) -> Result<(), StorageError> {
        let path = || self.path.clone();
        let mut left = self.metadata.tensors();
        for (name, wanted) in wanted {
            let name = name.to_owned();
            match left.remove(&name).map(|info| Shape::new(&info.shape)) {
                Some(found) if found == wanted => {}
                Some(found) => {
                    let (found, wanted) = (found.to_vec(), wanted.to_vec());
                    return Err(StorageError::Shape { path: path(), name, found, wanted });
                }
                None => return Err(StorageError::Missing { path: path(), name }),
            }
        }
        match left.into_keys().min() {
            Some(name) => Err(StorageError::Unexpected { path: path(), name }),
            None => Ok(()),
        }
    }
}

/// Numbers of a file, which are little-endian as the machines that this crate supports, as others.
fn convert<S: Element, T: Element>(bytes: &[u8], out: &mut [T]) {
    if S::DTYPE == T::DTYPE {
        bytes_of_mut(out).copy_from_slice(bytes);
        return;
    }
    let mut piece = [S::from_f64(0.0); 256];
    for (bytes, out) in bytes.chunks(256 * size_of::<S>()).zip(out.chunks_mut(256)) {
        bytes_of_mut(&mut piece[..out.len()]).copy_from_slice(bytes);
        for (out, number) in out.iter_mut().zip(&piece) {
            *out = T::from_f64(number.to_f64());
        }
    }
}

/// The name of a type in a file's header.
fn stored(dtype: DType) -> Stored {
    match dtype {
        DType::F64 => Stored::F64,
        DType::F32 => Stored::F32,
        DType::BF16 => Stored::BF16,
        DType::I64 => Stored::I64,
        DType::U8 => Stored::U8,
    }
}

/// Numbers of a piece of a [`StreamedTensor`], at most.
const PIECE: usize = 1 << 20;

/// A named tensor whose values are made piece by piece when they are asked for, so that writing it needs
/// no copy of all of them. Any tensor is one, and then its values are already there.
pub struct StreamedTensor<'a> {
    name: String,
    shape: Shape,
    dtype: DType,
    signed: bool,
    values: Values<'a>,
}

impl fmt::Debug for StreamedTensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut debug = f.debug_struct("StreamedTensor");
        debug.field("name", &self.name).field("shape", &self.shape).field("dtype", &self.dtype);
        debug.finish_non_exhaustive()
    }
}

enum Values<'a> {
    There(Tensor),
    Made(Box<dyn Fn(Range<usize>) -> Tensor + Send + 'a>),
}

impl<'a> StreamedTensor<'a> {
    /// A tensor whose elements of a range, in the order of memory, `read` makes.
    pub fn new(
        name: impl Into<String>,
        shape: impl Into<Shape>,
        dtype: DType,
        read: impl Fn(Range<usize>) -> Tensor + Send + 'a,
    ) -> Self {
        let (name, shape) = (name.into(), shape.into());
        Self { name, shape, dtype, signed: false, values: Values::Made(Box::new(read)) }
    }

    /// The same, whose bytes the file calls signed.
    #[must_use]
    pub fn signed(mut self) -> Self {
        self.signed = self.dtype == DType::U8;
        self
    }

    fn stored(&self) -> Stored {
        if self.signed { Stored::I8 } else { stored(self.dtype) }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its shape.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The type of its elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// Its elements in the order of memory, a contiguous piece after the other.
    pub fn pieces(&self) -> impl Iterator<Item = Tensor> + '_ {
        let (count, step) = match &self.values {
            Values::There(_) => (1, 1),
            Values::Made(_) => (self.shape.count(), PIECE),
        };
        (0..count).step_by(step).map(move |from| match &self.values {
            Values::There(tensor) => tensor.contiguous(),
            Values::Made(read) => read(from..(from + step).min(count)),
        })
    }

    /// The whole tensor, with its name.
    pub fn into_tensor(self) -> (String, Tensor) {
        let tensor = match self.values {
            Values::There(tensor) => tensor,
            Values::Made(read) => read(0..self.shape.count()).reshape(self.shape),
        };
        (self.name, tensor)
    }

    /// The position of the first element that is NaN or infinite.
    pub fn first_non_finite(&self) -> Option<usize> {
        let mut before = 0;
        self.pieces().find_map(|piece| {
            let found = piece.first_non_finite().map(|at| before + at);
            before += piece.count();
            found
        })
    }
}

impl<N: AsRef<str>> From<(N, Tensor)> for StreamedTensor<'_> {
    fn from((name, tensor): (N, Tensor)) -> Self {
        let (shape, dtype) = (tensor.shape(), tensor.dtype());
        let (name, values) = (name.as_ref().to_owned(), Values::There(tensor));
        Self { name, shape, dtype, signed: false, values }
    }
}

/// Writes tensors and some text beside them to `out`: wide types first, each in the order of names, as
/// the safetensors library writes them. (Its own writer leaves files that only their owner can read.)
///
/// # Errors
/// What `out` refuses, and a name that is given twice.
pub fn write_tensors_to<'a, T: Into<StreamedTensor<'a>>>(
    out: &mut dyn Write,
    tensors: impl IntoIterator<Item = T>,
    text: &BTreeMap<String, String>,
) -> io::Result<()> {
    let mut tensors: Vec<StreamedTensor> = tensors.into_iter().map(Into::into).collect();
    tensors.sort_by(|a, b| b.stored().cmp(&a.stored()).then(a.name.cmp(&b.name)));
    if let Some(pair) = tensors.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(io::Error::other(format!("two tensors are named `{}`", pair[0].name)));
    }
    let mut end = 0;
    let info = |tensor: &StreamedTensor| {
        let begin = end;
        end += tensor.shape.count() * tensor.dtype.size();
        let (shape, dtype) = (tensor.shape.to_vec(), tensor.stored());
        (tensor.name.clone(), TensorInfo { dtype, shape, data_offsets: (begin, end) })
    };
    let infos = tensors.iter().map(info).collect();
    let text: HashMap<String, String> = text.clone().into_iter().collect();
    let text = (!text.is_empty()).then_some(text);
    let metadata = Metadata::new(text, infos).map_err(io::Error::other)?;
    let mut header = serde_json::to_vec(&metadata)?;
    // Tensors begin on a boundary of eight bytes.
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for piece in tensors.iter().flat_map(StreamedTensor::pieces) {
        // Files are little-endian, as the machines that this crate supports.
        with_element!(piece.dtype(), T => out.write_all(bytes_of(piece.slice::<T>())))?;
    }
    Ok(())
}

/// Writes tensors and some text beside them. The file is written in place: write to a temporary
/// name and rename where a half-written file must not be seen.
///
/// # Errors
/// [`StorageError::Io`], a full disk among others.
pub fn write_tensors<N: AsRef<str>>(
    path: impl AsRef<Path>,
    tensors: impl IntoIterator<Item = (N, Tensor)>,
    text: &BTreeMap<String, String>,
) -> Result<(), StorageError> {
    let path = path.as_ref();
    let write = || {
        let mut out = io::BufWriter::new(File::create(path)?);
        write_tensors_to(&mut out, tensors, text)?;
        out.flush()
    };
    write().map_err(|source| StorageError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
#[path = "storage_tests.rs"]
mod tests;
