//! What must hold of a model's files before it is used: the same for every command.

use std::path::Path;

use rappel_data::{Encoding, MOST_BUCKETS, Preprocessing, TargetKind};
use rappel_tensor::Params;

use crate::TrainError;

/// Whether each parameter is a finite number.
///
/// # Errors
/// Naming the first parameter that is not, and where in it.
pub(crate) fn check_finite(folder: &Path, params: &Params) -> Result<(), TrainError> {
    for (name, tensor) in params.tensors() {
        if let Some(place) = tensor.first_non_finite() {
            let value = tensor.to_f64_vec()[place];
            let reason = format!(
                "the parameter {name} is {value} at {place}, so that the model can predict nothing; take an \
                 earlier model, or train again with a lower learning rate"
            );
            return Err(TrainError::File { path: folder.to_owned(), reason });
        }
    }
    for (name, _) in params.quantized() {
        let weight = params.quantized_weight(&name);
        if let Some(place) = weight.and_then(|weight| weight.first_non_finite()) {
            let reason = format!(
                "the weight {name} is not finite at {place}; take the file from where it comes from again"
            );
            return Err(TrainError::File { path: folder.to_owned(), reason });
        }
    }
    Ok(())
}

/// Whether a file says how to encode a table: by at least one feature, with scales that can be divided
/// by.
///
/// # Errors
/// What cannot be.
pub(crate) fn check_preprocessing(
    path: &Path,
    preprocessing: &Preprocessing,
) -> Result<(), TrainError> {
    let wrong = |reason: String| Err(TrainError::File { path: path.to_owned(), reason });
    let Preprocessing { target, features, .. } = preprocessing;
    let divides = |std: f64| std.is_finite() && std > 0.0;
    match &target.of {
        TargetKind::Number { std, .. } if !divides(*std) => {
            return wrong(format!(
                "target `{}`: its std is {std}; it must be above 0",
                target.name
            ));
        }
        TargetKind::Classes { classes } if classes.len() < 2 => {
            let count = classes.len();
            return wrong(format!("target `{}`: {count} classes; expected 2 or more", target.name));
        }
        TargetKind::Number { .. } | TargetKind::Classes { .. } => {}
    }
    if features.is_empty() {
        return wrong("`features` is empty; a model needs at least one".to_owned());
    }
    for feature in features {
        let name = &feature.name;
        match &feature.encoding {
            Encoding::Numeric { std, .. } if !divides(*std) => {
                return wrong(format!("feature `{name}`: its std is {std}; it must be above 0"));
            }
            Encoding::Categorical { categories, .. } if !categories.is_sorted_by(|a, b| a < b) => {
                return wrong(format!("feature `{name}`: its categories are not in order"));
            }
            Encoding::Hashed { buckets, .. } if !(1..=MOST_BUCKETS).contains(buckets) => {
                return wrong(format!(
                    "feature `{name}`: {buckets} buckets; there can be 1 to {MOST_BUCKETS}"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
