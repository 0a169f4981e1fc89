//! A recommender in a folder.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use rappel_config::OptionSet;
use rappel_data::{Histories, Ids, InteractionOptions};
use rappel_files::create;
use rappel_model::RECOMMENDERS;
use rappel_tensor::{Params, Tensor, TensorFile, write_tensors_to};
use serde_json::{Map, Value, json};

use super::{Catalogue, EvaluationOptions, RecommenderModel};
use crate::TrainError;
use crate::models::sound;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
/// The names of users and items, by number.
const IDS: &str = "ids.json";
/// What each user took: where its items end, and the items.
pub(super) const HISTORIES: &str = "histories.safetensors";

pub(super) fn save(model: &RecommenderModel, folder: &Path) -> Result<(), TrainError> {
    let RecommenderModel { params, section, catalogue, evaluation, .. } = model;
    let Catalogue { users, items, histories, columns, min_rating } = &**catalogue;
    let section = serde_json::to_value(section.to_toml()).expect("options are JSON");
    let mut columns = columns.to_json();
    // Errors of files are reported by whoever uses the model.
    columns.remove("file");
    let config = json!({
        "task": "recommendation",
        "model": section,
        "evaluation": evaluation.to_json(),
        "data": columns,
        "min_rating": min_rating,
    });
    let text = |name: &str, value: &Value| {
        let text = format!("{value:#}\n");
        create(&folder.join(name), |out| out.write_all(text.as_bytes()))
    };
    text(CONFIG, &config)?;
    let [users, items] = [users, items].map(|ids| ids.iter().collect::<Vec<_>>());
    text(IDS, &json!({ "users": users, "items": items }))?;
    let (of_users, of_items) = histories.pairs();
    let tensor = |values: &[u32]| {
        let values: Vec<i64> = values.iter().map(|value| i64::from(*value)).collect();
        Tensor::from_slice(&values, [values.len()])
    };
    let known = [("users".to_owned(), tensor(&of_users)), ("items".to_owned(), tensor(&of_items))];
    let none = BTreeMap::new();
    create(&folder.join(HISTORIES), |out| write_tensors_to(out, known, &none))?;
    Ok(create(&folder.join(WEIGHTS), |out| write_tensors_to(out, params.merged(), &none))?)
}

impl RecommenderModel {
    /// Reads a folder with config.json, model.safetensors, ids.json and histories.safetensors.
    ///
    /// # Errors
    /// What is missing, torn or does not fit together.
    pub fn load(folder: &Path) -> Result<Self, TrainError> {
        let path = folder.join(CONFIG);
        let wrong = |reason: String| TrainError::File { path: path.clone(), reason };
        let config = read_json(&path)?;
        let part = |key: &str| match config.get(key) {
            Some(Value::Object(part)) => Ok(part.clone()),
            _ => Err(wrong(format!("has no object `{key}`"))),
        };
        let section: toml::Table = serde_json::from_value(Value::Object(part("model")?))
            .map_err(|error| wrong(error.to_string()))?;
        let (_, section) =
            RECOMMENDERS.resolve("model", &section).map_err(|error| wrong(error.to_string()))?;
        let evaluation: EvaluationOptions = read_set(&part("evaluation")?, &wrong)?;
        let mut columns = part("data")?;
        columns.insert("file".to_owned(), "".into());
        let columns: InteractionOptions = read_set(&columns, &wrong)?;
        let min_rating = config.get("min_rating").and_then(Value::as_f64);
        let [users, items] = read_ids(&folder.join(IDS))?;
        let histories =
            Arc::new(read_histories(&folder.join(HISTORIES), users.len(), items.len())?);
        let catalogue = Arc::new(Catalogue { users, items, histories, columns, min_rating });
        let params = |dtype| Ok(Params::with_dtype(0, dtype));
        let mut model = Self::new(&section, evaluation, catalogue, params)?;
        model.params.load(&TensorFile::open(folder.join(WEIGHTS))?)?;
        sound::check_finite(folder, &model.params)?;
        Ok(model)
    }
}

fn read_json(path: &Path) -> Result<Map<String, Value>, TrainError> {
    let text = std::fs::read(path).map_err(TrainError::io("read", path))?;
    serde_json::from_slice(&text)
        .map_err(|error| TrainError::File { path: path.to_owned(), reason: error.to_string() })
}

fn read_set<T: OptionSet>(
    given: &Map<String, Value>,
    wrong: &dyn Fn(String) -> TrainError,
) -> Result<T, TrainError> {
    let (set, unknown) = T::from_json("", given).map_err(|error| wrong(error.to_string()))?;
    match unknown.first() {
        Some(key) => Err(wrong(format!("`{key}` is not an option"))),
        None => Ok(set),
    }
}

fn read_ids(path: &Path) -> Result<[Ids; 2], TrainError> {
    let wrong = |reason: String| TrainError::File { path: path.to_owned(), reason };
    let json = read_json(path)?;
    let names = |key: &str| {
        let names = json.get(key).and_then(Value::as_array);
        let names = names.ok_or_else(|| wrong(format!("has no list `{key}`")))?;
        let names: Option<Vec<&str>> = names.iter().map(Value::as_str).collect();
        let names =
            names.ok_or_else(|| wrong(format!("`{key}` holds something else than texts")))?;
        let ids: Ids = names.iter().copied().collect();
        if ids.len() != names.len() || ids.is_empty() {
            return Err(wrong(format!("`{key}` is empty, or names one twice")));
        }
        Ok(ids)
    };
    Ok([names("users")?, names("items")?])
}

fn read_histories(path: &Path, users: usize, items: usize) -> Result<Histories, TrainError> {
    let wrong = |reason: String| TrainError::File { path: path.to_owned(), reason };
    let file = TensorFile::open(path)?;
    let numbers = |name: &str, end: usize| {
        let tensor = file.tensor(name)?;
        if tensor.dtype() != rappel_tensor::DType::I64 || tensor.rank() != 1 {
            return Err(wrong(format!("`{name}` is not a row of 64-bit integers")));
        }
        let within = |number: i64| u32::try_from(number).ok().filter(|n| (*n as usize) < end);
        let numbers: Option<Vec<u32>> = tensor.to_vec::<i64>().into_iter().map(within).collect();
        numbers.ok_or_else(|| wrong(format!("`{name}` holds numbers that are not of one of {end}")))
    };
    let (of_users, of_items) = (numbers("users", users)?, numbers("items", items)?);
    if of_users.len() != of_items.len() {
        let reason = format!("names {} users, but {} items", of_users.len(), of_items.len());
        return Err(wrong(reason));
    }
    Ok(Histories::new(users, &of_users, &of_items))
}
