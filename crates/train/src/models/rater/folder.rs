//! A model of ratings in a folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rappel_config::OptionSet;
use rappel_data::{InteractionOptions, RatingFields, Slots};
use rappel_files::create;
use rappel_model::RATERS;
use rappel_tensor::{DType, Params, Tensor, TensorFile, write_tensors_to};
use serde_json::{Map, Value, json};

use super::RaterModel;
use crate::TrainError;
use crate::models::sound;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
/// The fields: the names of users and items above all.
pub(super) const FIELDS: &str = "fields.json";
/// What is said of users and items.
const FEATURES: &str = "features.safetensors";

/// The names of tensors of rows and weights.
const OF: [[&str; 2]; 2] = [["users.ids", "users.weights"], ["items.ids", "items.weights"]];

pub(super) fn save(model: &RaterModel, folder: &Path) -> Result<(), TrainError> {
    let RaterModel { params, section, fields, columns, .. } = model;
    let section = serde_json::to_value(section.to_toml()).expect("options are JSON");
    let mut columns = columns.to_json();
    // Errors of files are reported by whoever uses the model.
    columns.remove("file");
    let config = json!({ "task": "rating", "model": section, "data": columns });
    let text =
        |name: &str, text: String| create(&folder.join(name), |out| out.write_all(text.as_bytes()));
    text(CONFIG, format!("{config:#}\n"))?;
    text(FIELDS, serde_json::to_string(&**fields).expect("fields are JSON") + "\n")?;
    let tensors = fields.of.iter().zip(OF).flat_map(|(slots, [ids, weights])| {
        let numbers: Vec<i64> = slots.ids.iter().map(|id| i64::from(*id)).collect();
        let rows = numbers.len().checked_div(slots.slots).unwrap_or(0);
        let shape = [rows, slots.slots];
        let of_weights = Tensor::from_slice(&slots.weights, shape);
        [(ids.to_owned(), Tensor::from_slice(&numbers, shape)), (weights.to_owned(), of_weights)]
    });
    let none = BTreeMap::new();
    create(&folder.join(FEATURES), |out| write_tensors_to(out, tensors, &none))?;
    Ok(create(&folder.join(WEIGHTS), |out| write_tensors_to(out, params.merged(), &none))?)
}

impl RaterModel {
    /// Reads a folder with config.json, model.safetensors, fields.json and features.safetensors.
    ///
    /// # Errors
    /// What is missing, torn or does not fit together.
    pub fn load(folder: &Path) -> Result<Self, TrainError> {
        let wrong =
            |name: &str, reason: String| TrainError::File { path: folder.join(name), reason };
        let config: Map<String, Value> = read_json(&folder.join(CONFIG))?;
        let part = |key: &str| match config.get(key) {
            Some(Value::Object(part)) => Ok(part.clone()),
            _ => Err(wrong(CONFIG, format!("has no object `{key}`"))),
        };
        let section: toml::Table = serde_json::from_value(Value::Object(part("model")?))
            .map_err(|error| wrong(CONFIG, error.to_string()))?;
        let (_, section) =
            RATERS.resolve("model", &section).map_err(|error| wrong(CONFIG, error.to_string()))?;
        let mut columns = part("data")?;
        columns.insert("file".to_owned(), "".into());
        let (columns, _) = InteractionOptions::from_json("", &columns)
            .map_err(|error| wrong(CONFIG, error.to_string()))?;
        let mut fields: RatingFields = read_json(&folder.join(FIELDS))?;
        let features = TensorFile::open(folder.join(FEATURES))?;
        let [users, items] = OF.map(|[ids, weights]| slots(&features, ids, weights));
        fields.of = [users?, items?];
        fields.check().map_err(|reason| wrong(FIELDS, reason))?;
        let params = |dtype| Ok(Params::with_dtype(0, dtype));
        let mut model = Self::new(&section, Arc::new(fields), columns, 0.0, params)?;
        model.params.load(&TensorFile::open(folder.join(WEIGHTS))?)?;
        sound::check_finite(folder, &model.params)?;
        Ok(model)
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
    let text = std::fs::read(path).map_err(TrainError::io("read", path))?;
    serde_json::from_slice(&text)
        .map_err(|error| TrainError::File { path: path.to_owned(), reason: error.to_string() })
}

fn slots(file: &TensorFile, ids: &str, weights: &str) -> Result<Slots, TrainError> {
    let (of_ids, of_weights) = (file.tensor(ids)?, file.tensor(weights)?);
    let wrong = |reason: &str| {
        Err(TrainError::File { path: file.path().to_owned(), reason: format!("`{ids}` {reason}") })
    };
    if of_ids.dtype() != DType::I64 || of_weights.dtype() != DType::F32 || of_ids.rank() != 2 {
        return wrong("and its weights are not tables of integers and of numbers");
    }
    let numbers: Option<Vec<u32>> =
        of_ids.to_vec::<i64>().into_iter().map(|id| u32::try_from(id).ok()).collect();
    let Some(numbers) = numbers else { return wrong("holds numbers that are no rows") };
    let weights = of_weights.to_vec::<f32>();
    if !weights.iter().all(|weight| weight.is_finite()) {
        return wrong("has weights that are not finite");
    }
    Ok(Slots { slots: of_ids.size(1), ids: numbers, weights })
}
