//! MNIST's idx files: a header of sizes, then bytes.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;

use crate::DataError;

/// More numbers than this are taken for damage.
const MOST_BYTES: u64 = 1 << 36;

/// Sizes and bytes of an idx file, which may be compressed by gzip.
#[derive(Debug)]
pub(super) struct Idx {
    pub sizes: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Idx {
    /// Whether a file's name says that it is one: `idx` in its ending but one, as in `train-images-idx3-ubyte.gz`.
    pub fn is_named(path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = name.strip_suffix(".gz").unwrap_or(name);
        ["idx1-ubyte", "idx3-ubyte", "idx4-ubyte", ".idx"].iter().any(|end| name.ends_with(end))
    }

    /// Reads a file of bytes with so many dimensions as `ranks` allows.
    pub fn read(path: &Path, ranks: &[usize]) -> Result<Self, DataError> {
        let io = |source| DataError::Read { path: path.to_owned(), source };
        let bad = |reason: String| DataError::Image { path: path.to_owned(), reason };
        let file = File::open(path).map_err(io)?;
        let mut from: Box<dyn Read> = if path.extension().is_some_and(|end| end == "gz") {
            Box::new(GzDecoder::new(std::io::BufReader::new(file)))
        } else {
            Box::new(std::io::BufReader::new(file))
        };
        let mut head = [0; 4];
        from.read_exact(&mut head).map_err(io)?;
        let [0, 0, kind, rank] = head else {
            return Err(bad("not an idx file, which begins with two zeros".to_owned()));
        };
        if kind != 8 {
            return Err(bad(format!(
                "an idx file of type {kind:#04x}; only bytes, 0x08, are supported"
            )));
        }
        if !ranks.contains(&usize::from(rank)) {
            return Err(bad(format!("an idx file of {rank} dimensions, expected {ranks:?}")));
        }
        let mut sizes = Vec::new();
        for _ in 0..rank {
            let mut size = [0; 4];
            from.read_exact(&mut size).map_err(io)?;
            sizes.push(u32::from_be_bytes(size) as usize);
        }
        let count = sizes.iter().try_fold(1_u64, |product, size| product.checked_mul(*size as u64));
        let count = count.filter(|count| *count <= MOST_BYTES);
        let count = count.ok_or_else(|| bad(format!("sizes of {sizes:?} are absurd")))?;
        // No more is allocated than is there.
        let mut bytes = Vec::new();
        from.take(count + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 != count {
            let has = if bytes.len() as u64 > count {
                "more".to_owned()
            } else {
                bytes.len().to_string()
            };
            return Err(bad(format!(
                "says sizes of {sizes:?}, that is {count} bytes, and has {has}"
            )));
        }
        Ok(Self { sizes, bytes })
    }
}

/// The file of labels that belongs to a file of images, by MNIST's names.
pub(super) fn labels_of(images: &Path) -> Option<PathBuf> {
    let name = images.file_name()?.to_str()?;
    let labels = name.replace("images", "labels").replace("idx3", "idx1").replace("idx4", "idx1");
    let labels = images.with_file_name(&labels);
    (labels != images && labels.exists()).then_some(labels)
}

/// The images of a folder with MNIST's names: those to train on, and those to test on.
pub(super) fn in_folder(folder: &Path) -> [Option<PathBuf>; 2] {
    ["train", "t10k"].map(|part| {
        let name = format!("{part}-images-idx3-ubyte");
        let found = [folder.join(&name), folder.join(name + ".gz")];
        found.into_iter().find(|path| path.exists())
    })
}
