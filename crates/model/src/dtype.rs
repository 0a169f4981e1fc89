//! The option `dtype` of models.

use rappel_config::{Checked, ConfigError, Kind, OptionAs, OptionValue, Place};
use rappel_tensor::DType;

/// PyTorch's names of types, or short ones; that of bf16 where `HALF`.
pub(crate) struct DTypeName<const HALF: bool>;

impl<const HALF: bool> OptionAs<DType> for DTypeName<HALF> {
    const KIND: Kind = Kind::OneOf(if HALF {
        &["float32", "float64", "bfloat16", "f32", "f64", "bf16"]
    } else {
        &["float32", "float64", "f32", "f64"]
    });

    fn read(value: &Checked, place: &Place<'_>) -> Result<DType, ConfigError> {
        let name = String::read(value, place)?;
        name.parse().map_err(|_| place.invalid(format!("`{name}` is not a dtype of parameters")))
    }

    fn write(dtype: &DType) -> Option<toml::Value> {
        let name = match dtype {
            DType::F64 => "float64",
            DType::BF16 => "bfloat16",
            _ => "float32",
        };
        Some(name.into())
    }
}
