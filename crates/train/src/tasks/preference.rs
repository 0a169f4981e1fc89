//! The wiring that the tasks of preferences share.

use std::cell::RefCell;
use std::path::PathBuf;
use std::sync::Arc;

use rappel_config::{OptionSet, Options};
use rappel_data::{
    Answers, Dataset, HeldOut, PreferenceConfig, PreferenceSamples, Preferences, SftModel,
    Tokenizer,
};
use rappel_nn::Forward;
use rappel_tensor::with_matmul_precision;

use super::Prepared;
use super::sft::open_base;
use crate::models::{Base, Pretrained, hash_of_model, load_language_model, model_folder};
use crate::objectives::preference::{Computed, Preferred, Preferring, Reference, ReferenceOptions};
use crate::{Config, Learner, Observer, TrainError};

/// What a task of preferences begins at: the model opened, the rows read, the config completed.
pub(super) struct Opened {
    pub config: Config,
    pub base: Base,
    pub training: Arc<PreferenceSamples>,
    pub held_out: Option<HeldOut<PreferenceSamples>>,
    /// The token that ends a text, where the config names one.
    pub eos: Option<u32>,
}

impl Opened {
    pub fn new(
        config: &Config,
        answers: Answers,
        observer: &mut dyn Observer,
    ) -> Result<Self, TrainError> {
        let data = PreferenceConfig::from_options(config.section("data"))?;
        let base = open_base(config, &data.rows, observer)?;
        observer.stage("reading the rows")?;
        let found = base.preferences(config, &data, answers)?;
        let skipped = super::sft::skipped(&found.skipped);
        let notes = [Some(described(&found.training)), skipped].into_iter().flatten().collect();
        let training = Arc::new(found.training.with_details(notes));
        let completed = config.with("model", "sha256", base.sha256())?;
        let completed = completed.with("model", "pretrained", base.absolute_path()?)?;
        let held_out = completed.held_out(found.held_out, training.len())?;
        let eos = data.rows.eos_token.is_some().then_some(found.eos);
        Ok(Self { config: completed, base, training, held_out, eos })
    }

    /// The model with its values.
    pub fn model(&self, config: &Config) -> Result<Pretrained, TrainError> {
        let mut model = self.base.load(config.params(self.base.config().dtype())?)?;
        if let Some(eos) = self.eos {
            model.set_eos(eos);
        }
        Ok(model)
    }

    /// Finds the reference that a section `loss` names, which the config then holds with its hash.
    pub fn reference(
        &mut self,
        options: &ReferenceOptions,
        computes: bool,
        observer: &mut dyn Observer,
    ) -> Result<References, TrainError> {
        let section = self.config.section("loss").clone();
        let from = match &options.ref_model {
            Some(name) => Origin::Other(self.other(&section, name, options, observer)?),
            None if self.base.has_adapter_that_begins_as_nothing() => Origin::WithoutAdapters,
            None => Origin::Base,
        };
        let precision = self.config.run().train.matmul_precision;
        Ok(References { from, computes, precision, known: RefCell::new(None) })
    }

    /// The folder of another model.
    fn other(
        &mut self,
        section: &Options,
        name: &str,
        options: &ReferenceOptions,
        observer: &mut dyn Observer,
    ) -> Result<PathBuf, TrainError> {
        observer.stage("reading the reference")?;
        let path = model_folder(name.as_ref(), observer)?;
        if !path.exists() {
            let reason = format!("there is no folder and no file `{}`", path.display());
            return Err(section.invalid("ref_model", reason).into());
        }
        let found = hash_of_model(&path)?;
        if let Some(wanted) = options.ref_sha256.as_ref().filter(|wanted| **wanted != found) {
            let reason = format!(
                "{} is not the reference that the run began with: its SHA-256 is {found}, not {wanted}; bring that one \
                 back from a copy, or begin a new run",
                path.display()
            );
            return Err(section.invalid("ref_sha256", reason).into());
        }
        let absolute = std::path::absolute(&path).map_err(TrainError::io("resolve", &path))?;
        let text = absolute.to_str().ok_or_else(|| TrainError::Name { path: absolute.clone() })?;
        self.config = self.config.with("loss", "ref_model", text)?;
        self.config = self.config.with("loss", "ref_sha256", found)?;
        Ok(absolute)
    }
}

/// A task of pairs without a reference.
pub(super) fn without_reference<P: Preferring<Model = Pretrained> + Clone + 'static>(
    config: &Config,
    preferring: P,
    observer: &mut dyn Observer,
) -> Result<Prepared, TrainError> {
    let opened = Opened::new(config, Answers::Pairs, observer)?;
    observer.stage("loading the pretrained model")?;
    Ok(Prepared::new(opened.config.clone(), move |config| {
        let objective = Preferred::new(preferring.clone());
        let (training, held_out) = (opened.training.clone(), opened.held_out.clone());
        Ok(Learner::new(opened.model(config)?, training, objective).held_out(held_out))
    }))
}

/// Where the reference's values come from.
enum Origin {
    WithoutAdapters,
    Base,
    Other(PathBuf),
}

/// The references of a run's learners.
pub(super) struct References {
    from: Origin,
    computes: bool,
    precision: rappel_tensor::MatmulPrecision,
    known: RefCell<Option<Arc<[Computed; 2]>>>,
}

impl References {
    /// That of a learner whose model begins now; `compute` makes log-probabilities of some rows.
    pub fn of(
        &self,
        opened: &Opened,
        policy: &Pretrained,
        compute: impl Fn(&Pretrained, &Forward, &PreferenceSamples) -> Computed,
    ) -> Result<Reference, TrainError> {
        if !self.computes {
            return Ok(match self.from {
                Origin::WithoutAdapters => Reference::WithoutAdapters,
                _ => Reference::Model(Arc::new(self.load(opened)?)),
            });
        }
        if let Some(known) = self.known.borrow().as_ref() {
            return Ok(Reference::Computed(Arc::clone(known)));
        }
        let all = |model: &Pretrained, forward: &Forward| {
            let held_out = opened.held_out.as_ref().map(|of| compute(model, forward, of.data()));
            [compute(model, forward, &opened.training), held_out.unwrap_or_default()]
        };
        // A model that was just loaded is what it begins as, however far the run is that goes on with it.
        let forward = Forward::evaluation();
        let found = match self.from {
            Origin::Other(_) => {
                let model = self.load(opened)?;
                with_matmul_precision(self.precision, || all(&model, &forward))
            }
            _ => with_matmul_precision(self.precision, || all(policy, &forward)),
        };
        let found = Arc::new(found);
        *self.known.borrow_mut() = Some(Arc::clone(&found));
        Ok(Reference::Computed(found))
    }

    /// A model of its own.
    fn load(&self, opened: &Opened) -> Result<Pretrained, TrainError> {
        let dtype = opened.base.config().dtype();
        let model = match &self.from {
            Origin::Other(path) => load_language_model(path, Some(dtype))?,
            // Whatever it is trained by, a second one that stays as it begins.
            _ => return opened.model(&opened.config),
        };
        let tokenizers = [opened.base.tokenizer(), model.tokenizer()];
        let tokens = tokenizers.map(Tokenizer::vocab_size).into_iter().max().unwrap_or(0);
        let differs = |id: &u32| tokenizers[0].token(*id) != tokenizers[1].token(*id);
        if let Some(id) = (0..tokens as u32).find(differs) {
            let [here, there] = tokenizers.map(|of| of.token(id).unwrap_or_default());
            let reason = format!(
                "the reference reads other tokens than the model: number {id} is `{there}`, and here `{here}`; give one with \
                 the same tokenizer"
            );
            return Err(opened.config.section("loss").invalid("ref_model", reason).into());
        }
        Ok(model)
    }
}

impl Base {
    /// The preferences that a section `data` names, as this model reads them.
    pub(crate) fn preferences(
        &self,
        config: &Config,
        data: &PreferenceConfig,
        answers: Answers,
    ) -> Result<Preferences, TrainError> {
        let stops = self.eos_token_id()?;
        let model = SftModel {
            tokenizer: self.tokenizer(),
            stops: &stops,
            positions: self.config().max_positions(),
        };
        Ok(Preferences::build(data, answers, config.seed(), &model)?)
    }
}

/// What there is to learn from, and how much of it is cut.
fn described(samples: &PreferenceSamples) -> String {
    let cut = samples.rows().filter(|row| row.cut > 0).count();
    let cuts = match cut {
        0 => String::new(),
        _ => format!(", {cut} answers cut to {} tokens", samples.max_length()),
    };
    let count = samples.len();
    match samples.answers() {
        Answers::Labelled => {
            let good = samples.good();
            format!("{count} answers, {good} good and {} bad{cuts}", count - good)
        }
        _ => format!("{count} pairs{cuts}"),
    }
}
