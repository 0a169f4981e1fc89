//! What a GGUF file says of its model, by keys.

use std::collections::BTreeMap;

use super::cursor::Cursor;

/// A value of a key.
#[derive(Debug, Clone, PartialEq)]
pub enum MetaValue {
    /// An integer of any width.
    Int(i64),
    /// A float of either width.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
    /// Texts.
    Texts(Vec<String>),
    /// Integers of any width.
    Ints(Vec<i64>),
    /// Floats of either width.
    Floats(Vec<f32>),
    /// True or false, several times.
    Bools(Vec<bool>),
}

/// The keys and values of a GGUF file.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    values: BTreeMap<String, MetaValue>,
}

/// The numbers of the types of values that files are written with; narrower and unsigned ones are only read.
pub(super) const U32: u32 = 4;
pub(super) const I32: u32 = 5;
pub(super) const F32: u32 = 6;
pub(super) const BOOL: u32 = 7;
pub(super) const TEXT: u32 = 8;
pub(super) const ARRAY: u32 = 9;
pub(super) const I64: u32 = 11;

impl Metadata {
    /// Reads `count` keys with their values.
    pub(super) fn read(cursor: &mut Cursor<'_>, count: u64) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for _ in 0..count {
            let key = cursor.text()?;
            let kind = cursor.u32()?;
            let value = value(cursor, kind).map_err(|reason| format!("key `{key}`: {reason}"))?;
            if values.insert(key.clone(), value).is_some() {
                return Err(format!("has the key `{key}` twice"));
            }
        }
        Ok(Self { values })
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&MetaValue> {
        self.values.get(key)
    }

    /// Sets a value.
    pub fn set(&mut self, key: impl Into<String>, value: MetaValue) {
        self.values.insert(key.into(), value);
    }

    /// Keys and values, in the order of keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&String, &MetaValue)> {
        self.values.iter()
    }

    /// The text of a key.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key)? {
            MetaValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer of a key.
    pub fn int(&self, key: &str) -> Option<i64> {
        match self.get(key)? {
            MetaValue::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The truth of a key.
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)? {
            MetaValue::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The texts of a key.
    pub fn texts(&self, key: &str) -> Option<&[String]> {
        match self.get(key)? {
            MetaValue::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    /// The integers of a key.
    pub fn ints(&self, key: &str) -> Option<&[i64]> {
        match self.get(key)? {
            MetaValue::Ints(values) => Some(values),
            _ => None,
        }
    }
}

fn value(cursor: &mut Cursor<'_>, kind: u32) -> Result<MetaValue, String> {
    Ok(match kind {
        TEXT => MetaValue::Text(cursor.text()?),
        ARRAY => {
            let kind = cursor.u32()?;
            let count = cursor.u64()?;
            return array(cursor, kind, count);
        }
        F32 => MetaValue::Float(f64::from(f32::from_bits(cursor.u32()?))),
        12 => MetaValue::Float(f64::from_bits(cursor.u64()?)),
        BOOL => MetaValue::Bool(cursor.bool()?),
        _ => MetaValue::Int(int(cursor, kind)?),
    })
}

/// An array, whose room is never more than eight times what the file still holds.
fn array(cursor: &mut Cursor<'_>, kind: u32, count: u64) -> Result<MetaValue, String> {
    // The fewest bytes of an element.
    let least = match kind {
        0 | 1 | BOOL => 1,
        2 | 3 => 2,
        U32..=F32 => 4,
        TEXT | 10..=12 => 8,
        ARRAY => return Err("arrays of arrays are not supported".to_owned()),
        _ => return Err(format!("has the type {kind}, which is none")),
    };
    if count > (cursor.left() / least) as u64 {
        return Err(format!("says that it has {count} elements, more than the file has room for"));
    }
    Ok(match kind {
        TEXT => MetaValue::Texts((0..count).map(|_| cursor.text()).collect::<Result<_, _>>()?),
        F32 => MetaValue::Floats(
            (0..count).map(|_| cursor.u32().map(f32::from_bits)).collect::<Result<_, _>>()?,
        ),
        12 => MetaValue::Floats(
            (0..count)
                .map(|_| cursor.u64().map(|bits| f64::from_bits(bits) as f32))
                .collect::<Result<_, _>>()?,
        ),
        BOOL => MetaValue::Bools((0..count).map(|_| cursor.bool()).collect::<Result<_, _>>()?),
        _ => MetaValue::Ints((0..count).map(|_| int(cursor, kind)).collect::<Result<_, _>>()?),
    })
}

fn int(cursor: &mut Cursor<'_>, kind: u32) -> Result<i64, String> {
    Ok(match kind {
        0 => i64::from(cursor.array::<1>()?[0]),
        1 => i64::from(i8::from_le_bytes(cursor.array()?)),
        2 => i64::from(u16::from_le_bytes(cursor.array()?)),
        3 => i64::from(i16::from_le_bytes(cursor.array()?)),
        U32 => i64::from(cursor.u32()?),
        I32 => i64::from(i32::from_le_bytes(cursor.array()?)),
        10 => {
            let value = cursor.u64()?;
            i64::try_from(value).map_err(|_| format!("{value} is larger than any size"))?
        }
        I64 => i64::from_le_bytes(cursor.array()?),
        _ => return Err(format!("has the type {kind}, which is none")),
    })
}
