//! Reading and writing a model of images.

use std::path::{Path, PathBuf};

use rappel_config::{Entry, Options};
use rappel_tensor::{DType, Params, Shape, Tensor};
use serde_json::{Map, Value};

use super::load::{fill, further, options};
use super::save::write_tensors;
use super::weights::{Folder, Places};
use super::{CONFIG, FilesError, registered};
use crate::encoder::Labels;
use crate::{ConfigureImageModel, IMAGE_MODELS, ImageModel, ImageModelConfig, ImageShape};

/// What PyTorch counts as a whole number, and running statistics count as any other.
const COUNT: &str = "num_batches_tracked";
/// Keys of config.json that say nothing of what a classifier computes, and those of its images and labels.
const IGNORED: &[&str] = &[
    "drop_path_rate",
    "encoder_stride",
    "id2label",
    "image_size",
    "label2id",
    "num_channels",
    "num_labels",
    "num_stages",
    "out_features",
    "out_indices",
    "pooler_act",
    "pooler_output_size",
    "stage_names",
];

/// A model of images with its values.
#[derive(Debug)]
pub struct PretrainedImageModel {
    /// The model.
    pub model: Box<dyn ImageModel>,
    /// Its options.
    pub config: Box<dyn ImageModelConfig>,
    /// The name of its kind, such as `resnet`.
    pub name: &'static str,
    /// Its parameters.
    pub params: Params,
    /// What it reads and predicts.
    pub images: ImageShape,
    /// The names of its classes.
    pub labels: Vec<String>,
    /// Further keys of its config.json that say nothing of what it computes.
    pub extra: Map<String, Value>,
}

impl PretrainedImageModel {
    /// A model at its start, in `params`, which is empty.
    pub fn new(
        name: &'static str,
        config: Box<dyn ImageModelConfig>,
        mut params: Params,
        images: ImageShape,
        labels: Vec<String>,
    ) -> Self {
        let model = config.build(&mut params, images);
        Self { model, config, name, params, images, labels, extra: Map::new() }
    }

    /// Reads the model of a directory that transformers or [`save`](Self::save) wrote. Parameters get `dtype`, each value
    /// rounded to it; without one, the type that the files hold.
    ///
    /// # Errors
    /// [`FilesError`], as [`Pretrained::load`](crate::Pretrained::load).
    pub fn load(dir: impl AsRef<Path>, dtype: Option<DType>) -> Result<Self, FilesError> {
        ImageModelFiles::open(dir)?.load(dtype)
    }

    /// Writes `config.json` and `model.safetensors` into `dir`, which it makes, so that transformers' `from_pretrained`
    /// reads them where it has such a model. Each file is whole, old or new, whatever happens.
    ///
    /// # Errors
    /// [`FilesError::Write`], a full disk among others.
    pub fn save(&self, dir: impl AsRef<Path>) -> Result<(), FilesError> {
        let mut json = self.config.to_json();
        let [height, width] = self.images.size;
        let size = if height == width { height.into() } else { [height, width].as_slice().into() };
        let dtype = self.params.entries().first().map_or(DType::F32, |entry| entry.dtype);
        let class = self.config.class().map_or(Value::Null, |class| [class].as_slice().into());
        json.extend(Labels::single(self.labels.clone()).to_json());
        json.extend([
            ("architectures".to_owned(), class),
            ("image_size".to_owned(), size),
            ("model_type".to_owned(), self.name.into()),
            ("num_channels".to_owned(), self.images.channels.into()),
            ("torch_dtype".to_owned(), dtype.to_string().into()),
        ]);
        json.extend(self.extra.clone());
        let tensors = self.params.merged().into_iter().map(|(name, tensor)| {
            let counts = name.ends_with(COUNT);
            (name, if counts { tensor.to_dtype(DType::I64) } else { tensor })
        });
        write_tensors(dir.as_ref(), json, tensors)
    }
}

/// The files of a model of images, opened.
#[derive(Debug)]
pub struct ImageModelFiles {
    dir: PathBuf,
    json: Map<String, Value>,
    entry: &'static Entry<ConfigureImageModel>,
}

impl ImageModelFiles {
    /// Whether a folder's config.json names a model of images.
    pub fn is_in(dir: impl AsRef<Path>) -> bool {
        registered::is_in(&IMAGE_MODELS, dir.as_ref())
    }

    /// Opens a directory with config.json and model.safetensors.
    ///
    /// # Errors
    /// A config.json that is missing or names no model of images.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, FilesError> {
        let dir = dir.as_ref().to_owned();
        let (json, entry) = registered::open(&IMAGE_MODELS, &dir, "a model of images")?;
        Ok(Self { dir, json, entry })
    }

    /// The names of its classes.
    ///
    /// # Errors
    /// Labels that are wrong.
    pub fn labels(&self) -> Result<Vec<String>, FilesError> {
        Labels::from_json(&self.json)
            .map(|labels| labels.names)
            .map_err(|reason| self.wrong(reason))
    }

    /// What it reads and predicts.
    ///
    /// # Errors
    /// Keys that are wrong.
    pub fn images(&self) -> Result<ImageShape, FilesError> {
        let side = |value: &Value| {
            value.as_u64().filter(|size| (1..=MOST_PIXELS).contains(size)).map(|size| size as usize)
        };
        let size = match self.json.get("image_size") {
            None | Some(Value::Null) => Some([224, 224]),
            Some(Value::Array(sizes)) if sizes.len() == 2 => {
                side(&sizes[0]).zip(side(&sizes[1])).map(Into::into)
            }
            Some(size) => side(size).map(|size| [size; 2]),
        };
        let size = size.ok_or_else(|| {
            self.wrong(format!("`image_size`: expected a size in pixels, at most {MOST_PIXELS}"))
        })?;
        let channels = match self.json.get("num_channels") {
            None | Some(Value::Null) => Some(3),
            Some(count) => count.as_u64().filter(|count| matches!(count, 1 | 3)),
        };
        let channels =
            channels.ok_or_else(|| self.wrong("`num_channels`: expected 1 or 3".to_owned()))?;
        Ok(ImageShape { channels: channels as usize, size, classes: self.labels()?.len() })
    }

    /// The model with its values.
    ///
    /// # Errors
    /// As [`PretrainedImageModel::load`].
    pub fn load(self, dtype: Option<DType>) -> Result<PretrainedImageModel, FilesError> {
        let mut folder =
            Folder::open(&self.dir, &|name| (!name.ends_with(COUNT)).then(|| name.to_owned()))?;
        let stored = dtype.map_or_else(|| folder.dtype(), Ok)?;
        let (images, path) = (self.images()?, self.dir.join(CONFIG));
        let (entry, build) = (self.entry, self.entry.build);
        let options = options(&path, &self.json, entry.fields, &[], IGNORED)?;
        let config = registered::configured(&IMAGE_MODELS, entry, options, stored, &path, build)?;
        if let Some((key, reason)) = config.fault(images) {
            return Err(self.wrong(format!("`{key}`: {reason}")));
        }
        let (params, labels) = (Params::with_dtype(0, stored), self.labels()?);
        let mut made = PretrainedImageModel::new(self.entry.name, config, params, images, labels);
        let (counts, others): (Vec<_>, Vec<_>) =
            made.params.entries().into_iter().partition(|entry| entry.name.ends_with(COUNT));
        let wanted: Vec<(String, Shape)> =
            others.into_iter().map(|entry| (entry.name, entry.shape)).collect();
        folder.check(&wanted, &[])?;
        // Running statistics are kept in single precision at least.
        fill(&mut made.params, &Places::Folder(&folder), true)?;
        for entry in counts {
            let Some(count) = folder.whole_number(&entry.name)? else { continue };
            let param = made.params.get(&entry.name).expect("registered");
            made.params.set(&param, &Tensor::scalar(count as f64, entry.dtype))?;
        }
        let mut extra = further(self.json);
        extra.retain(|key, _| !IGNORED.contains(&key.as_str()) && key != "problem_type");
        Ok(PretrainedImageModel { extra, ..made })
    }

    /// The name of its kind, such as `resnet`.
    pub fn name(&self) -> &'static str {
        self.entry.name
    }

    /// All its options, those that its config.json does not say included.
    ///
    /// # Errors
    /// Keys that are wrong.
    pub fn options(&self) -> Result<Options, FilesError> {
        let path = self.dir.join(CONFIG);
        let given = options(&path, &self.json, self.entry.fields, &[], IGNORED)?;
        let all = |options: &Options| Ok(options.clone());
        registered::configured(&IMAGE_MODELS, self.entry, given, DType::F32, &path, all)
    }

    /// The files that hold the model.
    ///
    /// # Errors
    /// Files that cannot be opened.
    pub fn paths(&self) -> Result<Vec<PathBuf>, FilesError> {
        let folder = Folder::open(&self.dir, &|name| Some(name.to_owned()))?;
        Ok(folder.paths().into_iter().chain([self.dir.join(CONFIG)]).collect())
    }

    /// The model with its values, for other images and classes, with parameters of `dtype` in `params`, which is empty. A head
    /// for other classes is new, and what follows the images' size is made of what there was. Parameters whose names are
    /// `frozen` are constants.
    ///
    /// # Errors
    /// As [`PretrainedImageModel::load`]; images that the model cannot read.
    pub fn begin(
        self,
        params: Params,
        dtype: DType,
        images: ImageShape,
        labels: Vec<String>,
        frozen: &dyn Fn(&str) -> bool,
    ) -> Result<PretrainedImageModel, FilesError> {
        let path = self.dir.join(CONFIG);
        let wrong = |reason: String| FilesError::Json { path: path.clone(), reason };
        let PretrainedImageModel {
            config,
            name,
            params: values,
            images: own,
            labels: known,
            extra,
            ..
        } = self.load(Some(dtype))?;
        if let Some((key, reason)) = config.fault(images) {
            return Err(wrong(format!("`{key}`: {reason}")));
        }
        let head = if known == labels { Vec::new() } else { head(&*config, images) };
        let mut made = PretrainedImageModel::new(name, config, params, images, labels);
        made.params.freeze(frozen)?;
        for entry in made.params.entries().iter().filter(|entry| !head.contains(&entry.name)) {
            let value = values.get(&entry.name).expect("of the same config").tensor();
            let adapted = if value.shape() == entry.shape {
                Some(value)
            } else {
                made.config.adapted(&entry.name, &value, [own, images])
            };
            let value = adapted.filter(|value| value.shape() == entry.shape).ok_or_else(|| {
                let ImageShape { channels, size: [height, width], .. } = own;
                wrong(format!(
                    "the model reads images of {channels} channels and {height}x{width} pixels, and `{}` does not fit \
                     others; set data.channels and data.image_size to these",
                    entry.name
                ))
            })?;
            let param = made.params.get(&entry.name).expect("an entry's name");
            made.params.set(&param, &value)?;
        }
        Ok(PretrainedImageModel { extra, ..made })
    }

    fn wrong(&self, reason: String) -> FilesError {
        FilesError::Json { path: self.dir.join(CONFIG), reason }
    }
}

/// The names of the parameters whose shape follows the number of classes.
fn head(config: &dyn ImageModelConfig, images: ImageShape) -> Vec<String> {
    let shapes = |classes: usize| {
        let mut params = Params::new(0);
        config.build(&mut params, ImageShape { classes, ..images });
        params.entries()
    };
    let pairs = shapes(images.classes).into_iter().zip(shapes(images.classes + 1));
    pairs.filter(|(a, b)| a.shape != b.shape).map(|(a, _)| a.name).collect()
}

/// A larger image is taken for a mistake.
const MOST_PIXELS: u64 = 1 << 14;
