//! A trained model of tables, in memory and in a folder.

mod coefficients;
mod importance;
mod metrics;

use std::path::Path;

use rappel_config::Options;
use rappel_data::{
    Column, Format, Preprocessing, ReadAs, Reading, Table, TableBatch, TableRows, Target,
    TargetKind,
};
use rappel_files::create;
use rappel_model::{Configured, PREDICTORS, Predictor, product_size};
use rappel_nn::{Features, Forward};
use rappel_tensor::{DType, Params, Tensor, TensorFile, concat, no_grad, write_tensors_to};
use serde_json::{Map, Value};

use super::{EvaluateOptions, ModelKind, PredictOptions, Scores, TrainedModel, sound};
use crate::{Metric, Model, TrainError};

pub use coefficients::Equation;
pub use importance::{Importance, Importances, Permuting};
pub(crate) use metrics::{auc, classification, likeliest, metrics_of, regression};

/// Recognised by its preprocessing.json.
pub(super) const KIND: ModelKind = ModelKind {
    name: "table",
    is_in: TabularModel::is_in,
    load: |folder| Ok(Box::new(TabularModel::load(folder)?)),
};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const PREPROCESSING: &str = "preprocessing.json";

/// Bytes of a row's number, its target and its place in a batch.
const ROW_BYTES: usize = 64;

/// Rows of one forward pass without gradients.
const ROWS: usize = 4096;

/// A model of tables with its preprocessing: what a run of the tasks `regression` and
/// `classification` leaves in a folder.
#[derive(Debug)]
pub struct TabularModel {
    predictor: Box<dyn Predictor>,
    params: Params,
    dtype: DType,
    preprocessing: Preprocessing,
    /// Which inputs are numbers.
    numbers_at: Vec<usize>,
    /// The section `model` that made it.
    section: Map<String, Value>,
}

/// What a model predicts of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// The names of the columns: `prediction`, then `probability of CLASS` for each class.
    pub columns: Vec<String>,
    /// A row for each row of the table.
    pub rows: Vec<Vec<String>>,
    /// What was done to its cells beyond the encoding, in words.
    pub notes: Vec<String>,
}

impl TabularModel {
    pub(crate) fn new(
        section: &Options,
        preprocessing: Preprocessing,
        params: impl FnOnce(DType) -> Result<Params, TrainError>,
    ) -> Result<Self, TrainError> {
        let entry = PREDICTORS.lookup_at("model.name", section.name())?;
        let Configured { predictor, dtype } = Configured::new(entry, section)?;
        let mut params = params(dtype)?;
        let (inputs, outputs) = (preprocessing.width(), outputs_of(&preprocessing.target));
        if let Some((key, reason)) = predictor.fault(inputs, outputs) {
            return Err(section.invalid(key, reason).into());
        }
        let predictor = predictor.build(&mut params, inputs, outputs);
        let json = |(key, value): (String, toml::Value)| {
            Ok((key, serde_json::to_value(value).expect("resolved options are JSON")))
        };
        let section = section.to_toml().into_iter().map(json).collect::<Result<_, TrainError>>()?;
        let numbers_at = preprocessing.numbers_at();
        Ok(Self { predictor, params, dtype, preprocessing, numbers_at, section })
    }

    /// Whether a folder holds such a model.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(PREPROCESSING).exists()
    }

    /// Reads a folder with config.json, model.safetensors and preprocessing.json.
    ///
    /// # Errors
    /// What is missing, torn or does not fit together.
    pub fn load(folder: &Path) -> Result<Self, TrainError> {
        let preprocessing: Preprocessing = read_json(&folder.join(PREPROCESSING))?;
        sound::check_preprocessing(&folder.join(PREPROCESSING), &preprocessing)?;
        let path = folder.join(CONFIG);
        let section: toml::Table = read_json(&path)?;
        let (_, section) = PREDICTORS.resolve("", &section).map_err(|error| {
            let (path, reason) = (path, error.to_string());
            TrainError::File { path, reason }
        })?;
        let mut model =
            Self::new(&section, preprocessing, |dtype| Ok(Params::with_dtype(0, dtype)))?;
        model.params.load(&TensorFile::open(folder.join(WEIGHTS))?)?;
        sound::check_finite(folder, &model.params)?;
        Ok(model)
    }

    /// What its target and features are.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }

    /// The name of its kind, such as `linear`.
    pub fn name(&self) -> &str {
        self.section["name"].as_str().unwrap_or_default()
    }

    /// The type that it computes in.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// How many numbers its parameters are.
    pub fn parameter_count(&self) -> usize {
        self.params.count()
    }

    /// The classes that it predicts; none where it predicts numbers.
    pub fn classes(&self) -> Option<&[String]> {
        match &self.preprocessing.target.of {
            TargetKind::Classes { classes } => Some(classes),
            TargetKind::Number { .. } => None,
        }
    }

    /// Reads a table as it wants it: its features, and the target where that is asked for.
    ///
    /// # Errors
    /// A file that cannot be read, cells that are not what they were in training.
    pub fn read(&self, path: &Path, with_target: bool) -> Result<Table, TrainError> {
        Ok(self.preprocessing.read(path, with_target)?)
    }

    /// Its outputs for rows, `[rows, outputs]`.
    pub(crate) fn forward(&self, batch: &TableBatch, forward: &Forward) -> Tensor {
        self.predictor.forward(&self.features(batch), forward)
    }

    fn features(&self, TableBatch { numbers, ones, .. }: &TableBatch) -> Features {
        Features::new(numbers.clone(), &self.numbers_at, ones.clone())
    }

    /// Bytes that a row of `read` numbers takes in a forward and backward pass, at most.
    pub(crate) fn activation_bytes(&self, read: usize) -> usize {
        let entries = self.params.entries();
        let products = entries.iter().filter_map(product_size).fold(0, usize::saturating_add);
        // Inputs of categories are not made: the first layer looks its columns up.
        let width = self.preprocessing.width();
        let numbers = products.saturating_sub(width).saturating_add(read).saturating_mul(2);
        // Each row's place and target, too.
        numbers.saturating_mul(self.dtype.size()).saturating_add(ROW_BYTES)
    }

    /// Whether it has dropout layers.
    pub(crate) fn has_dropout(&self) -> bool {
        self.predictor.has_dropout()
    }

    /// Its outputs for all rows of some batches, without gradients.
    pub(crate) fn outputs(&self, batches: impl Iterator<Item = TableBatch>) -> Tensor {
        self.outputs_of_parts(batches.map(|batch| self.features(&batch)))
    }

    /// Its outputs for features, without gradients.
    fn outputs_for(&self, x: &Features) -> Tensor {
        let part = |start| x.narrow(start, ROWS.min(x.rows() - start));
        self.outputs_of_parts((0..x.rows()).step_by(ROWS).map(part))
    }

    fn outputs_of_parts(&self, parts: impl Iterator<Item = Features>) -> Tensor {
        let of = |part| self.predictor.forward(&part, &Forward::evaluation());
        let outputs: Vec<Tensor> = no_grad(|| parts.map(of).collect());
        concat(&outputs.iter().collect::<Vec<_>>(), 0)
    }

    /// All rows of a table as the model reads them, and what was done beyond the encoding, in words.
    fn encode(&self, table: &Table) -> Result<(Features, Vec<String>), TrainError> {
        let rows: Vec<usize> = (0..table.rows()).collect();
        let (batch, notes) = TableBatch::new(&self.preprocessing, table, &rows, self.dtype)?;
        Ok((self.features(&batch), notes))
    }

    /// Rows with their targets, to train or to validate on.
    pub(crate) fn rows(&self, table: &Table, rows: &[usize]) -> Result<TableRows, TrainError> {
        Ok(TableRows::new(&self.preprocessing, table, rows, self.dtype)?)
    }

    /// What outputs say in the target's units: numbers, or probabilities `[rows, classes]`.
    pub(crate) fn predictions(&self, outputs: &Tensor) -> Vec<f64> {
        match &self.preprocessing.target.of {
            TargetKind::Number { mean, std } => {
                values(outputs).into_iter().map(|y| y * std + mean).collect()
            }
            TargetKind::Classes { .. } => {
                values(&no_grad(|| logits(&outputs.to_dtype(DType::F64)).softmax(1)))
            }
        }
    }

    /// The metrics but the loss.
    pub(crate) fn metrics(&self) -> &'static [Metric] {
        self.classes().map_or(metrics::REGRESSION, |classes| metrics_of(classes.len()))
    }

    /// Their values for outputs, where `targets` are in the model's units.
    pub(crate) fn score(&self, outputs: &Tensor, targets: &[f64]) -> Vec<f64> {
        let told = self.predictions(outputs);
        match &self.preprocessing.target.of {
            TargetKind::Number { mean, std } => {
                let targets: Vec<f64> = targets.iter().map(|t| t * std + mean).collect();
                metrics::regression(&told, &targets).to_vec()
            }
            TargetKind::Classes { classes } => {
                metrics::classification(&told, targets, classes.len())
            }
        }
    }

    /// What it is worth on a table that has the target.
    ///
    /// # Errors
    /// A column or a target that is missing, cells that cannot be read.
    pub fn evaluate(&self, table: &Table) -> Result<Scores, TrainError> {
        let rows: Vec<usize> = (0..table.rows()).collect();
        let targets = self.preprocessing.target.encode(table, &rows)?;
        let (x, notes) = self.encode(table)?;
        let values = self.score(&self.outputs_for(&x), &targets);
        let values = self.metrics()[1..].iter().copied().zip(values).collect();
        Ok(Scores { values, unit: "rows", count: rows.len(), notes })
    }

    /// What it predicts of each row of a table, after the cells of the columns `passed`, of the same rows;
    /// the target need not be there.
    ///
    /// # Errors
    /// A column that is missing, cells that cannot be read.
    pub fn predict(&self, table: &Table, passed: &[&Column]) -> Result<Predictions, TrainError> {
        let (x, notes) = self.encode(table)?;
        let told = self.predictions(&self.outputs_for(&x));
        let classes = self.classes();
        let width = classes.map_or(1, <[String]>::len);
        let row = |(row, told): (usize, &[f64])| {
            let cells =
                passed.iter().map(|column| column.text(row).unwrap_or_default().into_owned());
            let said = match classes {
                None => vec![told[0].to_string()],
                Some(classes) => {
                    let likeliest = classes[metrics::likeliest(told)].clone();
                    let each = told.iter().map(f64::to_string);
                    [likeliest].into_iter().chain(each).collect()
                }
            };
            cells.chain(said).collect()
        };
        let of_class = |class: &String| format!("probability of {class}");
        let columns =
            passed.iter().map(|column| column.name().to_owned()).chain(["prediction".to_owned()]);
        let columns = columns.chain(classes.unwrap_or_default().iter().map(of_class)).collect();
        let rows = told.chunks(width).enumerate().map(row).collect();
        Ok(Predictions { columns, rows, notes })
    }
}

impl Model for TabularModel {
    fn params(&self) -> &Params {
        &self.params
    }

    fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    fn save(&self, folder: &Path) -> Result<(), TrainError> {
        let config = format!("{:#}\n", Value::Object(self.section.clone()));
        create(&folder.join(CONFIG), |out| out.write_all(config.as_bytes()))?;
        let preprocessing = serde_json::to_string_pretty(&self.preprocessing);
        let preprocessing = preprocessing.expect("numbers and texts are JSON") + "\n";
        create(&folder.join(PREPROCESSING), |out| out.write_all(preprocessing.as_bytes()))?;
        let (weights, text) = (self.params.merged(), std::collections::BTreeMap::new());
        Ok(create(&folder.join(WEIGHTS), |out| write_tensors_to(out, weights, &text))?)
    }
}

impl TrainedModel for TabularModel {
    fn kind(&self) -> &'static str {
        "a model of tables"
    }

    fn evaluate_on(&self, file: &Path, options: &EvaluateOptions) -> Result<Scores, TrainError> {
        if *options != EvaluateOptions::default() {
            let advice = "leave out --window, --stride, --text-field and --label-field".to_owned();
            return Err(TrainError::Kind { is: self.kind(), advice });
        }
        self.evaluate(&self.read(file, true)?)
    }

    fn predict_on(&self, file: &Path, options: &PredictOptions) -> Result<Predictions, TrainError> {
        if options.text_field.is_some() || options.top_k.is_some() {
            let advice = "leave out --text-field and --top-k".to_owned();
            return Err(TrainError::Kind { is: self.kind(), advice });
        }
        let ids = &options.ids;
        let table = self.read(file, false)?;
        if ids.is_empty() {
            return self.predict(&table, &[]);
        }
        // As the file writes them.
        let delimiter = self.preprocessing.format.delimiter;
        let format = Format { delimiter, missing_values: vec![], ..Format::default() };
        let columns = ids.iter().map(|name| (name.clone(), ReadAs::Text)).collect();
        let passed = Table::read_as(file, &Reading { format, columns, others: ReadAs::Nothing })?;
        let columns = ids.iter().map(|name| passed.column(name)).collect::<Result<Vec<_>, _>>()?;
        self.predict(&table, &columns)
    }
}

/// How many outputs a model of a target has.
fn outputs_of(target: &Target) -> usize {
    match &target.of {
        TargetKind::Classes { classes } if classes.len() > 2 => classes.len(),
        _ => 1,
    }
}

/// A logit for each class `[rows, classes]`: of two classes a model gives one, that of the second; the
/// first one's is 0.
pub(crate) fn logits(outputs: &Tensor) -> Tensor {
    if outputs.size(1) > 1 {
        return outputs.clone();
    }
    concat(&[&Tensor::zeros(outputs.shape(), outputs.dtype()), outputs], 1)
}

/// A tensor's values, whatever its type.
pub(crate) fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_dtype(DType::F64).to_vec()
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
    let text = std::fs::read(path).map_err(TrainError::io("read", path))?;
    serde_json::from_slice(&text)
        .map_err(|error| TrainError::File { path: path.to_owned(), reason: error.to_string() })
}
