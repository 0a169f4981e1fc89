//! The tensors of a directory, whatever files and names they come under.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rappel_tensor::{DType, Shape, StorageError, Tensor, TensorFile};
use serde_json::Value;

use super::load::read_json;
use super::{FilesError, INDEX, WEIGHTS};
use crate::Architecture;

/// Tensors by the names of parameters.
pub(super) struct Weights {
    dir: PathBuf,
    files: Vec<TensorFile>,
    /// Which file, and the name in it.
    places: BTreeMap<String, (usize, String)>,
}

impl Weights {
    /// Opens every file of tensors in `dir`.
    pub fn open(dir: &Path, architecture: &Architecture) -> Result<Self, FilesError> {
        let files = if dir.join(WEIGHTS).exists() {
            vec![TensorFile::open(dir.join(WEIGHTS))?]
        } else if dir.join(INDEX).exists() {
            open_shards(dir)?
        } else {
            return Err(FilesError::NoWeights { dir: dir.to_owned() });
        };
        let mut places = BTreeMap::new();
        for (i, file) in files.iter().enumerate() {
            for stored in file.names() {
                let Some(name) = (architecture.canonical)(&stored) else { continue };
                if places.insert(name.clone(), (i, stored)).is_some() {
                    return Err(FilesError::Twice { dir: dir.to_owned(), name });
                }
            }
        }
        Ok(Self { dir: dir.to_owned(), files, places })
    }

    /// Checks that there is a tensor of the right shape for each of `wanted` and none beside, where
    /// each pair of `tied` may stand under either name or both.
    pub fn check(
        &mut self,
        wanted: &[(String, Shape)],
        tied: &[(&str, &str)],
    ) -> Result<(), FilesError> {
        let is_wanted = |name: &str| wanted.iter().any(|(other, _)| other == name);
        for (alias, name) in tied.iter().filter(|(alias, _)| !is_wanted(alias)) {
            self.fold(alias, name)?;
        }
        let dir = || self.dir.clone();
        let missing = wanted.iter().filter(|(name, _)| !self.places.contains_key(name));
        let missing: Vec<String> = missing.map(|(name, _)| name.clone()).collect();
        let known: BTreeSet<&str> = wanted.iter().map(|(name, _)| name.as_str()).collect();
        let others = self.places.iter().filter(|(name, _)| !known.contains(name.as_str()));
        let others: Vec<String> = others.map(|(_, (_, stored))| stored.clone()).collect();
        if !(missing.is_empty() && others.is_empty()) {
            return Err(FilesError::names(dir(), missing, others));
        }
        for (name, wanted) in wanted {
            let (file, stored) = &self.places[name];
            let found = self.files[*file].shape(stored).expect("the file names it");
            if found != *wanted {
                let (found, wanted) = (found.to_vec(), wanted.to_vec());
                let name = name.clone();
                return Err(FilesError::Shape { dir: dir(), name, found, wanted });
            }
        }
        Ok(())
    }

    /// Leaves `name` alone of the two, after making sure that nothing is lost.
    fn fold(&mut self, alias: &str, name: &str) -> Result<(), FilesError> {
        let Some(place) = self.places.remove(alias) else { return Ok(()) };
        if !self.places.contains_key(name) {
            self.places.insert(name.to_owned(), place);
            return Ok(());
        }
        let (one, other) = (self.files[place.0].tensor(&place.1)?, self.tensor(name)?);
        if same(&one, &other) {
            return Ok(());
        }
        let (alias, name) = (alias.to_owned(), name.to_owned());
        Err(FilesError::NotTied { dir: self.dir.clone(), alias, name })
    }

    /// The type that all tensors have, judged by the smallest.
    pub fn dtype(&self) -> Result<DType, FilesError> {
        let count = |(file, stored): &(usize, String)| {
            self.files[*file].shape(stored).map_or(0, |shape| shape.count())
        };
        match self.places.iter().min_by_key(|(_, place)| count(place)) {
            Some((name, _)) => Ok(self.tensor(name)?.dtype()),
            None => Err(FilesError::NoWeights { dir: self.dir.clone() }),
        }
    }

    /// A copy of the tensor for a parameter.
    pub fn tensor(&self, name: &str) -> Result<Tensor, FilesError> {
        let Some((file, stored)) = self.places.get(name) else {
            return Err(FilesError::names(self.dir.clone(), vec![name.to_owned()], Vec::new()));
        };
        let tensor = self.files[*file].tensor(stored)?;
        if tensor.dtype().is_float() {
            return Ok(tensor);
        }
        let (name, found) = (name.to_owned(), tensor.dtype());
        Err(FilesError::NotFloat { dir: self.dir.clone(), name, found })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// The files that the index names, each holding what it says.
fn open_shards(dir: &Path) -> Result<Vec<TensorFile>, FilesError> {
    let path = dir.join(INDEX);
    let json = read_json(&path)?;
    let form = || {
        let reason =
            "wants a table `weight_map` from names of tensors to names of files".to_owned();
        FilesError::Json { path: path.clone(), reason }
    };
    let map = json.get("weight_map").and_then(Value::as_object).ok_or_else(form)?;
    let mut shards: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (tensor, shard) in map {
        shards.entry(shard.as_str().ok_or_else(form)?).or_default().push(tensor);
    }
    let open = |(shard, tensors): (&str, Vec<&str>)| {
        // An index must not reach outside its directory.
        if Path::new(shard).file_name().is_none_or(|name| name != shard) {
            return Err(FilesError::Shard { path: path.clone(), shard: shard.to_owned() });
        }
        let file = TensorFile::open(dir.join(shard))?;
        match tensors.into_iter().find(|name| file.shape(name).is_none()) {
            Some(name) => {
                let (path, name) = (file.path().to_owned(), name.to_owned());
                Err(StorageError::Missing { path, name }.into())
            }
            None => Ok(file),
        }
    };
    shards.into_iter().map(open).collect()
}

fn same(a: &Tensor, b: &Tensor) -> bool {
    if a.shape() != b.shape() || a.dtype() != b.dtype() {
        return false;
    }
    match a.dtype() {
        DType::F64 => a.to_vec::<f64>() == b.to_vec::<f64>(),
        DType::BF16 => a.to_vec::<half::bf16>() == b.to_vec::<half::bf16>(),
        _ => a.to_vec::<f32>() == b.to_vec::<f32>(),
    }
}
