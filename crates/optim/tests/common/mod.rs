//! Parameters with given values, and gradients with given values.
#![allow(dead_code)]

use std::collections::BTreeMap;

use rappel_tensor::{Element, Grads, Init, Params, Tensor, TensorFile, write_tensors};
use serde_json::{Map, Value};

/// A type that golden trajectories exist in.
pub trait Float: Element {
    /// Their prefix in the golden files.
    const PREFIX: &'static str;
}
impl Float for f64 {
    const PREFIX: &'static str = "f64";
}
impl Float for f32 {
    const PREFIX: &'static str = "f32";
}

/// Parameters `p0`, `p1`, ... of these shapes and values.
pub fn params_of<T: Element>(shapes: &[Vec<usize>], values: &[Vec<f64>]) -> Params {
    let mut params = Params::with_dtype(0, T::DTYPE);
    for (i, shape) in shapes.iter().enumerate() {
        params.scope("").add(&format!("p{i}"), &shape[..], Init::ZEROS);
    }
    set(&mut params, values);
    params
}

/// Gives parameters their values.
pub fn set(params: &mut Params, values: &[Vec<f64>]) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("values.safetensors");
    let tensors: Vec<(String, Tensor)> = params
        .tensors()
        .into_iter()
        .zip(values)
        .map(|((name, tensor), values)| {
            (name, Tensor::from_slice(values, tensor.shape()).to_dtype(tensor.dtype()))
        })
        .collect();
    write_tensors(&path, tensors, &BTreeMap::new()).unwrap();
    params.load(&TensorFile::open(&path).unwrap()).unwrap();
}

/// Exactly these gradients: those of a sum of products with them.
pub fn grads_of<T: Element>(params: &Params, values: &[Vec<f64>]) -> Grads {
    let names = params.names();
    let some: Vec<Option<&[f64]>> = values.iter().map(|v| Some(&v[..])).collect();
    assert_eq!(names.len(), some.len());
    grads_of_some::<T>(params, &some)
}

/// Gradients for those parameters that have values here.
pub fn grads_of_some<T: Element>(params: &Params, values: &[Option<&[f64]>]) -> Grads {
    let mut loss: Option<Tensor> = None;
    for (name, values) in params.names().iter().zip(values) {
        let Some(values) = values else { continue };
        let p = params.get(name).unwrap().tensor();
        let weights = Tensor::from_slice(values, p.shape()).to_dtype(T::DTYPE);
        let term = (p * weights).sum();
        loss = Some(match loss {
            None => term,
            Some(loss) => loss + term,
        });
    }
    loss.expect("some gradient").backward()
}

/// JSON options as TOML.
pub fn table(json: &Map<String, Value>) -> toml::Table {
    fn value(json: &Value) -> toml::Value {
        match json {
            Value::Bool(b) => (*b).into(),
            Value::Number(n) => match n.as_i64() {
                Some(n) => n.into(),
                None => n.as_f64().unwrap().into(),
            },
            Value::Array(list) => list.iter().map(value).collect::<Vec<_>>().into(),
            Value::String(text) => text.as_str().into(),
            Value::Object(map) => table(map).into(),
            other @ Value::Null => panic!("no option is {other}"),
        }
    }
    json.iter().map(|(key, v)| (key.clone(), value(v))).collect()
}
