//! JSON Lines: a record on each line, whose text is in one field.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::corpus::Document;
use crate::{DataError, corpus};

/// Whether a file is read as JSON Lines, which its extension says.
pub(crate) fn is_jsonl(path: &Path) -> bool {
    let extension = path.extension().unwrap_or_default();
    ["jsonl", "ndjson"].iter().any(|known| extension.eq_ignore_ascii_case(known))
}

/// A document for each record, named `name:line`, until they hold `limit` bytes of text: the last one
/// is cut there, and nothing is read beyond it.
pub(crate) fn read(
    path: &Path,
    name: &str,
    field: &str,
    limit: u64,
) -> Result<Vec<Document>, DataError> {
    let file = File::open(path).map_err(DataError::read(path))?;
    let (mut reader, mut line) = (BufReader::with_capacity(1 << 16, file), Vec::new());
    let (mut documents, mut left) = (Vec::new(), limit);
    for number in 1.. {
        line.clear();
        if left == 0 || reader.read_until(b'\n', &mut line).map_err(DataError::read(path))? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let text = text(&line, field).map_err(|reason| DataError::Record {
            path: path.to_owned(),
            line: number,
            reason,
        })?;
        let mut bytes = text.into_bytes();
        left = corpus::cut(&mut bytes, left);
        documents.push(Document { name: format!("{name}:{number}"), bytes });
    }
    Ok(documents)
}

/// The text of a record, or what is wrong with it.
fn text(record: &[u8], field: &str) -> Result<String, String> {
    let mut reader = serde_json::Deserializer::from_slice(record);
    let found =
        FieldOf(field).deserialize(&mut reader).and_then(|found| reader.end().map(|()| found));
    let kind = match found {
        Err(error) => return Err(format!("not valid JSON: {error}")),
        Ok(Found { value: Some(Value::String(text)), .. }) => return Ok(text),
        Ok(Found { value: None, names }) => {
            return Err(format!(
                "the record has no field `{field}` (it has: {}); name its text in data.text_field",
                names.join(", ")
            ));
        }
        Ok(Found { value: Some(other), .. }) => match other {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Array(_) => "a list",
            _ => "an object",
        },
    };
    Err(format!("field `{field}` is {kind}, not a string; name the text in data.text_field"))
}

struct Found {
    value: Option<Value>,
    /// The first fields there are, for the message.
    names: Vec<String>,
}

/// Reads one field of an object and skips the others.
struct FieldOf<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for FieldOf<'_> {
    type Value = Found;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for FieldOf<'_> {
    type Value = Found;

    fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "an object with a field `{}`", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut found = Found { value: None, names: Vec::new() };
        while let Some(name) = map.next_key::<String>()? {
            if name == self.0 {
                if found.value.replace(map.next_value()?).is_some() {
                    return Err(A::Error::custom(format!("field `{name}` is there twice")));
                }
            } else {
                map.next_value::<IgnoredAny>()?;
                if found.names.len() < 10 {
                    found.names.push(name);
                }
            }
        }
        Ok(found)
    }
}
