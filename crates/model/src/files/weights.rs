//! The tensors of a model, whatever files and names they come under.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rappel_tensor::{DType, Element, Quantized, Shape, StorageError, TensorFile};
use serde_json::{Map, Value};

use super::bitsandbytes::{Parts, Stored, find};
use super::gguf::{GgufFile, Place, is_of_positions};
use super::load::read_json;
use super::{FilesError, INDEX, WEIGHTS};
use crate::Architecture;

/// Tensors by the names of parameters.
#[derive(Debug)]
pub(super) enum Weights {
    Folder(Folder),
    Gguf(Box<GgufFile>),
}

/// Files of tensors in a folder.
#[derive(Debug)]
pub(super) struct Folder {
    dir: PathBuf,
    files: Vec<TensorFile>,
    /// Which file, and the name in it.
    places: BTreeMap<String, (usize, String)>,
    /// Those of a few bits, by the names in files.
    few_bits: BTreeMap<String, Stored>,
}

/// Where each parameter's numbers are.
pub(super) enum Places<'a> {
    Folder(&'a Folder),
    Gguf(&'a GgufFile, BTreeMap<String, (Place, Shape)>),
}

impl Weights {
    /// Where the numbers of `wanted` are, once it is known that there are such of the right shape for each and none
    /// beside. Each pair of the architecture's tied names may stand under either name or both.
    pub fn places(
        &mut self,
        wanted: &[(String, Shape)],
        architecture: &Architecture,
        config: &Map<String, Value>,
    ) -> Result<Places<'_>, FilesError> {
        match self {
            Self::Folder(folder) => {
                folder.check(wanted, architecture.tied)?;
                Ok(Places::Folder(folder))
            }
            Self::Gguf(file) => {
                let places = gguf_places(file, wanted, architecture, config)?;
                Ok(Places::Gguf(file, places))
            }
        }
    }

    /// The type that all tensors have, judged by the smallest; single precision of a GGUF file, which holds the numbers
    /// of each of its formats.
    pub fn dtype(&self) -> Result<DType, FilesError> {
        match self {
            Self::Folder(folder) => folder.dtype(),
            Self::Gguf(_) => Ok(DType::F32),
        }
    }
}

impl Places<'_> {
    /// The folder or file.
    pub fn origin(&self) -> &Path {
        match self {
            Self::Folder(folder) => &folder.dir,
            Self::Gguf(file, _) => file.path(),
        }
    }

    /// Whether there are numbers of this parameter.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::Folder(folder) => folder.has(name),
            Self::Gguf(_, places) => places.contains_key(name),
        }
    }

    /// The type that a parameter is stored in, where that is one of tensors.
    pub fn dtype(&self, name: &str) -> Result<Option<DType>, FilesError> {
        match self {
            Self::Folder(folder) if folder.few_bits(name).is_some() => Ok(None),
            Self::Folder(folder) => folder.dtype_of(name).map(Some),
            Self::Gguf(..) => Ok(None),
        }
    }

    /// Reads the numbers of a parameter, each rounded to its type.
    pub fn read_into<T: Element>(&self, name: &str, out: &mut [T]) -> Result<(), FilesError> {
        match self {
            Self::Folder(folder) => {
                let (file, stored) = &folder.places[name];
                if let Some(quantized) = self.quantized(name)? {
                    let numbers = quantized.dequantize(DType::F32);
                    for (out, number) in out.iter_mut().zip(numbers.as_slice::<f32>()) {
                        *out = T::from_f64(f64::from(*number));
                    }
                    return Ok(());
                }
                Ok(folder.files[*file].read_into(stored, out)?)
            }
            Self::Gguf(file, places) => {
                let (place, shape) = &places[name];
                place.read_into(file, *shape, out);
                Ok(())
            }
        }
    }
}

impl Places<'_> {
    /// A parameter that is stored in a few bits, as it is.
    pub fn quantized(&self, name: &str) -> Result<Option<Quantized>, FilesError> {
        match self {
            Self::Folder(folder) => folder.quantized(name),
            Self::Gguf(file, places) => {
                let place = places.get(name).map(|(place, _)| place);
                let place = place.filter(|place| place.quantization(file).is_some());
                Ok(place.map(|place| place.read_blocks(file)))
            }
        }
    }
}

/// The parameters' places in a GGUF file, none of whose tensors is left over.
fn gguf_places(
    file: &GgufFile,
    wanted: &[(String, Shape)],
    architecture: &Architecture,
    config: &Map<String, Value>,
) -> Result<BTreeMap<String, (Place, Shape)>, FilesError> {
    let dir = || file.path().to_owned();
    let (mut places, mut missing) = (BTreeMap::new(), Vec::new());
    let mut left: BTreeSet<&str> = file.tensors().keys().map(String::as_str).collect();
    left.retain(|name| !is_of_positions(name));
    for (name, wanted) in wanted {
        let place = architecture.gguf.place(name, config);
        let found = place.and_then(|place| Some((place.shape(file)?, place)));
        let Some((found, place)) = found else {
            missing.push(name.clone());
            continue;
        };
        if found != *wanted {
            let (name, found, wanted) = (name.clone(), found.to_vec(), wanted.to_vec());
            return Err(FilesError::Shape { dir: dir(), name, found, wanted });
        }
        left.remove(place.tensor.as_str());
        places.insert(name.clone(), (place, *wanted));
    }
    if missing.is_empty() && left.is_empty() {
        return Ok(places);
    }
    let left = left.into_iter().map(str::to_owned).collect();
    Err(FilesError::names(dir(), missing, left))
}

impl Folder {
    /// Opens every file of tensors in `dir`; `canonical` is the parameter's name for a name there, if it is one.
    pub fn open(
        dir: &Path,
        canonical: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, FilesError> {
        let files = if dir.join(WEIGHTS).exists() {
            vec![TensorFile::open(dir.join(WEIGHTS))?]
        } else if dir.join(INDEX).exists() {
            open_shards(dir)?
        } else {
            return Err(FilesError::NoWeights { dir: dir.to_owned() });
        };
        let names: Vec<Vec<String>> = files.iter().map(TensorFile::names).collect();
        let (few_bits, is_part) = find(names.iter().flatten().map(String::as_str));
        let mut places = BTreeMap::new();
        for (i, names) in names.iter().enumerate() {
            for stored in names.iter().filter(|stored| !is_part(stored)) {
                let Some(name) = canonical(stored) else { continue };
                if places.insert(name.clone(), (i, stored.clone())).is_some() {
                    return Err(FilesError::Twice { dir: dir.to_owned(), name });
                }
            }
        }
        Ok(Self { dir: dir.to_owned(), files, places, few_bits })
    }

    /// The files of tensors, and their index where there is one.
    pub fn paths(&self) -> Vec<PathBuf> {
        let index = self.dir.join(INDEX);
        let files = self.files.iter().map(|file| file.path().to_owned());
        let is_sharded = !self.dir.join(WEIGHTS).exists();
        files.chain(is_sharded.then_some(index)).collect()
    }

    /// Whether there are numbers of this parameter.
    pub fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// A whole number that a file holds under this name, where one does.
    pub fn whole_number(&self, stored: &str) -> Result<Option<i64>, FilesError> {
        let holds = |file: &&TensorFile| {
            file.dtype(stored) == Some(DType::I64)
                && file.shape(stored).is_some_and(|shape| shape.count() == 1)
        };
        let file = self.files.iter().find(holds);
        let tensor = file.map(|file| file.tensor(stored)).transpose()?;
        Ok(tensor.map(|tensor| tensor.to_vec::<i64>()[0]))
    }

    /// How a parameter of a few bits is stored.
    pub fn few_bits(&self, name: &str) -> Option<&Stored> {
        self.few_bits.get(&self.places.get(name)?.1)
    }

    /// Whether some parameters are in a few bits.
    pub fn has_few_bits(&self) -> bool {
        !self.few_bits.is_empty()
    }

    fn quantized(&self, name: &str) -> Result<Option<Quantized>, FilesError> {
        let Some(kind) = self.few_bits(name) else { return Ok(None) };
        let read = Parts(&self.files).read(&self.places[name].1, kind);
        Ok(Some(read.map_err(|reason| self.wrong(reason))?))
    }

    fn wrong(&self, reason: String) -> FilesError {
        FilesError::Quantized { dir: self.dir.clone(), reason }
    }

    /// How the file names the type of a parameter.
    pub fn stored_as(&self, name: &str) -> Option<String> {
        if let Some(kind) = self.few_bits(name) {
            return Some(kind.name().to_owned());
        }
        let (file, stored) = self.places.get(name)?;
        self.files[*file].stored_as(stored)
    }

    /// Makes sure that there are numbers of the right shape for each parameter, and none beside.
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
            let found = match self.few_bits.get(stored) {
                Some(kind) => {
                    let found = Parts(&self.files).shape(stored, kind);
                    found.map_err(|reason| self.wrong(reason))?
                }
                None => self.files[*file].shape(stored).expect("the file names it"),
            };
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
        let Some(other) = self.places.get(name) else {
            self.places.insert(name.to_owned(), place);
            return Ok(());
        };
        let of = |(file, stored): &(usize, String)| (&self.files[*file], stored.clone());
        let ((one, alias_stored), (two, name_stored)) = (of(&place), of(other));
        if one.same(&alias_stored, two, &name_stored)? {
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
        let whole =
            self.places.iter().filter(|(_, (_, stored))| !self.few_bits.contains_key(stored));
        match whole.min_by_key(|(_, place)| count(place)) {
            Some((name, _)) => self.dtype_of(name),
            None => Err(FilesError::NoWeights { dir: self.dir.clone() }),
        }
    }

    /// The type of a tensor of floating-point numbers.
    fn dtype_of(&self, name: &str) -> Result<DType, FilesError> {
        let dtype =
            self.places.get(name).and_then(|(file, stored)| self.files[*file].dtype(stored));
        match dtype {
            None => Err(FilesError::names(self.dir.clone(), vec![name.to_owned()], Vec::new())),
            Some(found) if !found.is_float() => {
                let (dir, name) = (self.dir.clone(), name.to_owned());
                Err(FilesError::NotFloat { dir, name, found })
            }
            Some(found) => Ok(found),
        }
    }
}

/// The files that the index names, each holding what it says.
fn open_shards(dir: &Path) -> Result<Vec<TensorFile>, FilesError> {
    let path = dir.join(INDEX);
    let json = read_json(&path)?;
    let form = || {
        let reason =
            "expected a table `weight_map` from names of tensors to names of files".to_owned();
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
