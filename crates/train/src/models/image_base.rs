//! Models of images that training begins at.

use std::path::{Path, PathBuf};

use rappel_config::Options;
use rappel_data::ImageProcessing;
use rappel_model::{
    IMAGE_MODELS, ImageModelFiles, ImageShape, PretrainedImageModel, PretrainedImages,
};
use rappel_tensor::Params;
use toml::Table;

use super::base::{PRETRAINED, absolute, check_hash, hash, patterns};
use super::{image, model_folder};
use crate::{Config, Observer, TrainError};

/// A model of images that training begins at, opened: what it reads is known, its values are not read.
#[derive(Debug, Clone)]
pub struct ImageBase {
    path: PathBuf,
    given: PretrainedImages,
    section: Options,
    sha256: String,
    images: ImageShape,
    processing: Option<ImageProcessing>,
    options: Table,
}

impl ImageBase {
    /// Opens the model that a section `model` names, if it names one.
    ///
    /// # Errors
    /// What is missing or does not fit together; a hash that is another one than the section's.
    pub fn open(
        section: &Options,
        observer: &mut dyn Observer,
    ) -> Result<Option<Self>, TrainError> {
        let Some(given) = PretrainedImages::from_options(section)? else { return Ok(None) };
        let path = model_folder(Path::new(&given.path), observer)?;
        if !path.exists() {
            let reason = format!("there is no folder `{}`", path.display());
            return Err(section.invalid(PRETRAINED, reason).into());
        }
        let files = ImageModelFiles::open(&path)?;
        if files.name() != section.name() {
            let reason = format!("{} is a `{}`; give that name", path.display(), files.name());
            return Err(section.invalid("name", reason).into());
        }
        let options = own_options(section, &files.options()?)?;
        let sha256 = hash(&path, files.paths()?)?;
        check_hash(section, given.sha256.as_ref(), &path, &sha256)?;
        let images = files.images()?;
        let processing = image::processing(&path, images.channels)?;
        let section = section.clone();
        Ok(Some(Self { path, given, section, sha256, images, processing, options }))
    }

    /// The images that it was made for.
    pub fn images(&self) -> ImageShape {
        self.images
    }

    /// What becomes of its images, where its folder says so.
    pub fn processing(&self) -> Option<&ImageProcessing> {
        self.processing.as_ref()
    }

    /// The config with what only the model's files know.
    ///
    /// # Errors
    /// A path that a config cannot hold.
    pub fn complete(&self, config: &Config) -> Result<Config, TrainError> {
        let config = config.with("model", "sha256", &self.sha256[..])?;
        let mut config = config.with("model", PRETRAINED, absolute(&self.path)?)?;
        for (key, value) in &self.options {
            config = config.with("model", key, value.clone())?;
        }
        Ok(config)
    }

    /// The model with its values, in `params`, which is empty, for such images.
    ///
    /// # Errors
    /// Tensors that do not fit; a pattern of `freeze` that fits no parameter, or patterns that leave none to train.
    pub fn begin(
        &self,
        params: Params,
        images: ImageShape,
        labels: Vec<String>,
    ) -> Result<PretrainedImageModel, TrainError> {
        let entry = IMAGE_MODELS.lookup_at("model.name", self.section.name())?;
        let resolved = IMAGE_MODELS.resolve("model", &self.whole())?.1;
        let mut names = Params::new(0);
        (entry.build)(&resolved)?.build(&mut names, images);
        let trained = names.entries().into_iter().filter(|entry| entry.trainable);
        let trained: Vec<String> = trained.map(|entry| entry.name).collect();
        let frozen = patterns(&self.section, &self.given.freeze, &trained)?;
        let is_frozen = |name: &str| frozen.iter().any(|pattern| pattern.matches(name));
        let files = ImageModelFiles::open(&self.path)?;
        Ok(files.begin(params, self.given.dtype, images, labels, &is_frozen)?)
    }

    /// All options of its section.
    fn whole(&self) -> Table {
        let mut whole = self.section.to_toml();
        whole.extend(self.options.clone());
        whole
    }
}

/// The options of a model that was trained; a section that says another value than it, and not the default, is wrong.
fn own_options(section: &Options, of_model: &Options) -> Result<Table, TrainError> {
    let named = [("name".to_owned(), section.name().into())].into_iter().collect();
    let (_, defaults) = IMAGE_MODELS.resolve("model", &named)?;
    let (given, defaults) = (section.to_toml(), defaults.to_toml());
    let mut own = of_model.to_toml();
    own.retain(|key, _| key != "name" && !PretrainedImages::KEYS.contains(&key));
    for (key, value) in &own {
        let said = given.get(key);
        if said.is_some() && said != Some(value) && said != defaults.get(key) {
            let reason = format!("the pretrained model has {value}; leave it out");
            return Err(section.invalid(key, reason).into());
        }
    }
    Ok(own)
}
