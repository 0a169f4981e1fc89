//! A trained model of tables, in memory and in a folder.

use std::path::Path;

use rappel_data::{Column, Encoded, Preprocessing, Table, TargetKind};
use rappel_files::create;
use rappel_model::{Configured, PREDICTORS, Predictor};
use rappel_nn::{Features, Forward};
use rappel_registry::Options;
use rappel_tensor::{DType, Element, Params, Tensor, TensorFile, no_grad, write_tensors_to};
use serde_json::{Map, Value};

use super::loss::{logits, outputs, values};
use super::metrics;
use crate::{Metric, TrainError, sound};

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const PREPROCESSING: &str = "preprocessing.json";

/// Rows of one forward pass without gradients.
pub(super) const ROWS: usize = 4096;

/// A model of tables with its preprocessing: what a run of the tasks `regression` and
/// `classification` leaves in a folder.
pub struct TabularModel {
    pub(super) predictor: Box<dyn Predictor>,
    pub(super) params: Params,
    pub(super) dtype: DType,
    pub(super) preprocessing: Preprocessing,
    /// The section `model` that made it.
    section: Map<String, Value>,
}

/// What a model tells of rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Predictions {
    /// The names of the columns: `prediction`, then `probability of CLASS` for each class.
    pub columns: Vec<String>,
    /// A row for each row of the table.
    pub rows: Vec<Vec<String>>,
    /// What was done to its cells beyond the encoding, in words.
    pub notes: Vec<String>,
}

/// What a model is worth on a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// The task's metrics but the loss.
    pub values: Vec<(Metric, f64)>,
    /// How many rows were predicted.
    pub rows: usize,
    /// What was done to its cells beyond the encoding, in words.
    pub notes: Vec<String>,
}

impl TabularModel {
    pub(super) fn new(
        section: &Options,
        preprocessing: Preprocessing,
        params: impl FnOnce(DType) -> Result<Params, TrainError>,
    ) -> Result<Self, TrainError> {
        let entry = PREDICTORS.lookup_at("model.name", section.str("name"))?;
        let Configured { predictor, dtype } = Configured::new(entry, section)?;
        let mut params = params(dtype)?;
        let (inputs, outputs) = (preprocessing.width(), outputs(&preprocessing.target));
        if let Some((key, reason)) = predictor.fault(inputs, outputs) {
            return Err(section.invalid(key, reason).into());
        }
        let predictor = predictor.build(&mut params, inputs, outputs);
        let json = |(key, value): (String, toml::Value)| {
            Ok((key, serde_json::to_value(value).expect("resolved options are JSON")))
        };
        let section = section.to_toml().into_iter().map(json).collect::<Result<_, TrainError>>()?;
        Ok(Self { predictor, params, dtype, preprocessing, section })
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

    pub(super) fn save(&self, folder: &Path) -> Result<(), TrainError> {
        let config = format!("{:#}\n", Value::Object(self.section.clone()));
        create(&folder.join(CONFIG), |out| out.write_all(config.as_bytes()))?;
        let preprocessing = serde_json::to_string_pretty(&self.preprocessing);
        let preprocessing = preprocessing.expect("numbers and texts are JSON") + "\n";
        create(&folder.join(PREPROCESSING), |out| out.write_all(preprocessing.as_bytes()))?;
        let (weights, text) = (self.params.merged(), std::collections::BTreeMap::new());
        Ok(create(&folder.join(WEIGHTS), |out| write_tensors_to(out, weights, &text))?)
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

    /// The classes that it tells apart; none where it tells numbers.
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

    /// Its outputs for rows, without gradients.
    pub(super) fn outputs(&self, x: &Features) -> Tensor {
        let of = |start| {
            let part = x.narrow(start, ROWS.min(x.rows() - start));
            self.predictor.forward(&part, &Forward::evaluation())
        };
        let parts: Vec<Tensor> = no_grad(|| (0..x.rows()).step_by(ROWS).map(of).collect());
        rappel_tensor::concat(&parts.iter().collect::<Vec<_>>(), 0)
    }

    /// The features of rows as the model reads them, and what was done beyond the encoding, in words.
    pub(super) fn features(
        &self,
        table: &Table,
        rows: &[usize],
    ) -> Result<(Features, Vec<String>), TrainError> {
        match self.dtype {
            DType::F64 => Ok(features::<f64>(self.preprocessing.encode(table, rows)?)),
            _ => Ok(features::<f32>(self.preprocessing.encode(table, rows)?)),
        }
    }

    /// What outputs say in the target's units: numbers, or probabilities `[rows, classes]`.
    pub(super) fn tell(&self, outputs: &Tensor) -> Vec<f64> {
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
    pub(super) fn metrics(&self) -> &'static [Metric] {
        match self.classes() {
            None => metrics::REGRESSION,
            Some([_, _]) => metrics::BINARY,
            Some(_) => metrics::MULTICLASS,
        }
    }

    /// Their values for outputs, where `targets` are in the model's units.
    pub(super) fn score(&self, outputs: &Tensor, targets: &[f64]) -> Vec<f64> {
        let told = self.tell(outputs);
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
        let (x, notes) = self.features(table, &rows)?;
        let values = self.score(&self.outputs(&x), &targets);
        let values = self.metrics()[1..].iter().copied().zip(values).collect();
        Ok(Scores { values, rows: rows.len(), notes })
    }

    /// What it tells of each row of a table, after the cells of the columns `passed`, of the same rows;
    /// the target need not be there.
    ///
    /// # Errors
    /// A column that is missing, cells that cannot be read.
    pub fn predict(&self, table: &Table, passed: &[&Column]) -> Result<Predictions, TrainError> {
        let rows: Vec<usize> = (0..table.rows()).collect();
        let (x, notes) = self.features(table, &rows)?;
        let told = self.tell(&self.outputs(&x));
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

fn features<T: Element>(encoded: Encoded<T>) -> (Features, Vec<String>) {
    let Encoded { rows, numbers, numbers_at, ones, notes } = encoded;
    let numbers = Tensor::from_slice(&numbers, [rows, numbers_at.len()]);
    let ones = (!ones.is_empty()).then(|| Tensor::from_slice(&ones, [rows, ones.len() / rows]));
    (Features::new(numbers, &numbers_at, ones), notes)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
    let text = std::fs::read(path).map_err(TrainError::io("read", path))?;
    serde_json::from_slice(&text)
        .map_err(|error| TrainError::File { path: path.to_owned(), reason: error.to_string() })
}
