//! Numbers in JSON, which has no word for NaN and the infinities: they are texts.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number, or the text that stands for one; null is NaN.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(f64),
    Text(String),
    Null,
}

impl From<f64> for Written {
    fn from(number: f64) -> Self {
        if number.is_finite() { Self::Number(number) } else { Self::Text(number.to_string()) }
    }
}

impl Written {
    fn read(self) -> Result<f64, String> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Text(text) => text.parse().map_err(|_| format!("`{text}` is not a number")),
            Self::Null => Ok(f64::NAN),
        }
    }
}

/// For `#[serde(with)]`: any float, which comes back as it was.
pub(crate) mod number {
    use super::{Deserialize, Deserializer, Serialize, Serializer, Written};

    #[allow(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub fn serialize<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Written::from(*number).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Written::deserialize(deserializer)?.read().map_err(serde::de::Error::custom)
    }
}

/// For `#[serde(with)]`: a list of floats.
pub(crate) mod numbers {
    use super::{Deserialize, Deserializer, Serializer, Written};

    pub fn serialize<'a, S: Serializer>(
        numbers: impl IntoIterator<Item = &'a f64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(numbers.into_iter().map(|number| Written::from(*number)))
    }

    pub fn deserialize<'de, L: FromIterator<f64>, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<L, D::Error> {
        let list = Vec::<Written>::deserialize(deserializer)?.into_iter();
        list.map(Written::read).collect::<Result<_, _>>().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Held {
        #[serde(with = "number")]
        one: f64,
        #[serde(with = "numbers")]
        many: Vec<f64>,
    }

    #[test]
    fn every_float_comes_back() {
        let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 0.1 + 0.2, -0.0, f64::MIN_POSITIVE];
        for one in odd {
            let json = serde_json::to_string(&Held { one, many: odd.to_vec() }).unwrap();
            let back: Held = serde_json::from_str(&json).unwrap();
            let bits = |number: f64| if number.is_nan() { 1 } else { number.to_bits() };
            assert_eq!(bits(back.one), bits(one), "{json}");
            assert!(
                back.many.iter().zip(odd).all(|(back, one)| bits(*back) == bits(one)),
                "{json}"
            );
        }
        let null: Held = serde_json::from_str("{\"one\":null,\"many\":[null,1]}").unwrap();
        assert!(null.one.is_nan() && null.many[0].is_nan());
        assert!(serde_json::from_str::<Held>("{\"one\":\"x\",\"many\":[]}").is_err());
    }
}
