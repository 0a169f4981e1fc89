//! Reads the golden files under `testdata/`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensors};
use serde::de::DeserializeOwned;

/// One golden file: named tensors and metadata.
///
/// Every method panics where the file lacks what was asked for, naming the file and what it holds
/// instead. `testdata/README.md` lists the files and the names in them.
#[derive(Debug)]
pub struct Golden {
    path: PathBuf,
    bytes: Vec<u8>,
    tensors: BTreeMap<String, Stored>,
    metadata: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Stored {
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

impl Golden {
    /// Loads `testdata/<name>`, with `.safetensors` added where `name` has no extension.
    ///
    /// The folder is looked for from the package under test upwards, so a test finds it in any
    /// crate of the workspace.
    #[track_caller]
    pub fn load(name: &str) -> Golden {
        let mut file = PathBuf::from(name);
        if file.extension().is_none() {
            file.set_extension("safetensors");
        }
        let start = std::env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let Some(path) = find_upwards(&start, &Path::new("testdata").join(&file)) else {
            panic!("no testdata/{} in {} or above it", file.display(), start.display());
        };
        Golden::read(&path)
    }

    /// Loads the file at `path`.
    #[track_caller]
    pub fn read(path: &Path) -> Golden {
        let bytes =
            std::fs::read(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
        let (header, parsed) = SafeTensors::read_metadata(&bytes)
            .unwrap_or_else(|e| panic!("{} is not a safetensors file: {e}", path.display()));
        let data_start = size_of::<u64>() + header;
        let tensors = parsed
            .tensors()
            .into_iter()
            .map(|(name, info)| {
                let (from, to) = info.data_offsets;
                let range = data_start + from..data_start + to;
                (name, Stored { dtype: info.dtype, shape: info.shape.clone(), range })
            })
            .collect();
        let metadata = parsed.metadata().clone().unwrap_or_default().into_iter().collect();
        Golden { path: path.to_path_buf(), bytes, tensors, metadata }
    }

    /// Names of the tensors that start with `prefix`, sorted; `""` gives all.
    pub fn names<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.tensors.keys().map(String::as_str).filter(move |name| name.starts_with(prefix))
    }

    /// Whether a tensor of that name is there.
    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The shape of a tensor.
    #[track_caller]
    pub fn shape(&self, name: &str) -> &[usize] {
        &self.stored(name).shape
    }

    /// Shape and row-major values of an F64 tensor.
    #[track_caller]
    pub fn f64(&self, name: &str) -> (Vec<usize>, Vec<f64>) {
        self.values(name, Dtype::F64, f64::from_le_bytes)
    }

    /// Shape and row-major values of an F32 tensor.
    #[track_caller]
    pub fn f32(&self, name: &str) -> (Vec<usize>, Vec<f32>) {
        self.values(name, Dtype::F32, f32::from_le_bytes)
    }

    /// Shape and row-major values of an I64 tensor.
    #[track_caller]
    pub fn i64(&self, name: &str) -> (Vec<usize>, Vec<i64>) {
        self.values(name, Dtype::I64, i64::from_le_bytes)
    }

    /// Shape and row-major values of a BOOL tensor.
    #[track_caller]
    pub fn bool(&self, name: &str) -> (Vec<usize>, Vec<bool>) {
        self.values(name, Dtype::BOOL, |[byte]: [u8; 1]| byte != 0)
    }

    /// Shape and row-major values of an F64 or F32 tensor, as f64.
    #[track_caller]
    pub fn float(&self, name: &str) -> (Vec<usize>, Vec<f64>) {
        if self.stored(name).dtype == Dtype::F32 {
            let (shape, values) = self.f32(name);
            return (shape, crate::widen(&values));
        }
        self.f64(name)
    }

    /// The value of an F64 or F32 tensor with one element.
    #[track_caller]
    pub fn scalar(&self, name: &str) -> f64 {
        let (shape, values) = self.float(name);
        let [value] = values[..] else {
            panic!("{}: `{name}` has shape {shape:?}, not one element", self.path.display());
        };
        value
    }

    /// A metadata entry, which every generator writes as JSON.
    #[track_caller]
    pub fn meta<T: DeserializeOwned>(&self, key: &str) -> T {
        let path = self.path.display();
        let Some(text) = self.metadata.get(key) else {
            let known: Vec<_> = self.metadata.keys().collect();
            panic!("{path}: no metadata `{key}`; there are {known:?}");
        };
        serde_json::from_str(text)
            .unwrap_or_else(|e| panic!("{path}: metadata `{key}` is not what was asked for: {e}"))
    }

    #[track_caller]
    fn stored(&self, name: &str) -> &Stored {
        self.tensors.get(name).unwrap_or_else(|| {
            let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
            let near: Vec<_> = self.names(folder).take(10).collect();
            panic!("{}: no tensor `{name}`; near it: {near:?}", self.path.display())
        })
    }

    #[track_caller]
    fn values<const N: usize, T>(
        &self,
        name: &str,
        dtype: Dtype,
        decode: impl Fn([u8; N]) -> T,
    ) -> (Vec<usize>, Vec<T>) {
        let stored = self.stored(name);
        let path = self.path.display();
        assert!(stored.dtype == dtype, "{path}: `{name}` is {}, not {dtype}", stored.dtype);
        let (elements, _) = self.bytes[stored.range.clone()].as_chunks::<N>();
        (stored.shape.clone(), elements.iter().map(|&element| decode(element)).collect())
    }
}

fn find_upwards(start: &Path, file: &Path) -> Option<PathBuf> {
    start.ancestors().map(|folder| folder.join(file)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn reads_every_dtype_of_the_golden_files() {
        let golden = Golden::load("gpt2_small.safetensors");
        let (shape, ids) = golden.i64("ids");
        assert_eq!(shape, [3, 17]);
        assert!(ids.iter().all(|id| (0..61).contains(id)));
        let (shape, labels) = golden.i64("labels");
        assert_eq!(shape, [3, 16]);
        assert_eq!(labels[..16], ids[1..17]);
        let (single, double) = (golden.f32("f32/loss"), golden.f64("f64/loss"));
        assert_eq!((&single.0, &double.0), (&vec![], &vec![]));
        assert!((f64::from(single.1[0]) - double.1[0]).abs() < 1e-6);
        assert_eq!(golden.scalar("f32/loss"), f64::from(single.1[0]));

        let golden = Golden::load("ops_torch");
        let (shape, keep) = golden.bool("attention/padding_full/in/key_padding_mask");
        assert_eq!(shape, [2, 9]);
        assert_eq!(keep.iter().filter(|&&k| k).count(), 9 + 4);
    }

    #[test]
    fn metadata_is_typed() {
        let golden = Golden::load("gpt2_small");
        assert_eq!(golden.meta::<f64>("max_grad_norm"), 1.0);
        assert_eq!(golden.meta::<String>("generator"), "gpt2_small.py");
        assert!(golden.meta::<HashMap<String, String>>("versions").contains_key("torch"));
    }

    #[test]
    fn names_are_sorted_and_filtered() {
        let golden = Golden::load("gpt2_small");
        let weights: Vec<_> = golden.names("init/").collect();
        assert_eq!(weights.len(), 29);
        assert!(weights.is_sorted());
        assert!(golden.names("").count() > weights.len());
        assert!(golden.contains(weights[0]) && !golden.contains("init/"));
    }

    #[test]
    #[should_panic(expected = "no tensor `f64/lose`; near it: [\"f64/final/")]
    fn a_missing_tensor_is_named_with_its_neighbours() {
        Golden::load("gpt2_small").f64("f64/lose");
    }

    #[test]
    #[should_panic(expected = "`ids` is I64, not F64")]
    fn a_wrong_dtype_is_refused() {
        Golden::load("gpt2_small").f64("ids");
    }

    #[test]
    #[should_panic(expected = "no testdata/nowhere.safetensors in")]
    fn a_missing_file_is_named() {
        Golden::load("nowhere");
    }

    #[test]
    #[should_panic(expected = "no metadata `confg`; there are [\"adamw\", \"config\"")]
    fn missing_metadata_is_named_with_what_is_there() {
        Golden::load("gpt2_small").meta::<f64>("confg");
    }
}
