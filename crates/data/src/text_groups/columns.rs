//! Which columns of rows hold the texts that belong together, and which says how much.

use rappel_config::{Words, suggest};

use crate::sft::rows::Fields;

/// What a row says of its texts; the names are those of sentence-transformers' datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum TextGroupsFormat {
    /// An anchor and a positive: texts that belong together.
    Pair,
    /// An anchor, a positive, and one or more negatives.
    Triplet,
    /// Two texts and how alike they are.
    PairScore,
    /// Two texts and whether they belong together, 1 or 0.
    PairClass,
}

/// Names of the first text's column, of the second's, and of the number's.
const FIRST: [&str; 6] = ["anchor", "query", "question", "sentence1", "text1", "premise"];
const SECOND: [&str; 6] = ["positive", "answer", "sentence2", "text2", "passage", "hypothesis"];
const NEGATIVE: &str = "negative";
const SCORES: [&str; 2] = ["score", "scores"];
const CLASSES: [&str; 2] = ["label", "labels"];

/// The columns of a file that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Columns {
    /// Of the texts, in their order: the anchor first, then the positive, then negatives.
    pub texts: Vec<String>,
    /// Of the number.
    pub number: Option<String>,
}

impl Columns {
    /// Those among `columns` that a config names, and otherwise those that are recognised.
    pub fn of(columns: &[&str], texts: &[String], number: Option<&String>) -> Result<Self, String> {
        for name in texts.iter().chain(number) {
            if !columns.contains(&name.as_str()) {
                let near = suggest(name, columns.iter().copied());
                let near =
                    near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                return Err(format!(
                    "has no column `{name}`{near} (it has {})",
                    columns.join(", ")
                ));
            }
        }
        let number = match number {
            Some(name) => Some(name.clone()),
            None => one_of(columns, &[SCORES, CLASSES].concat())?,
        };
        let texts = if texts.is_empty() { recognised(columns)? } else { texts.to_vec() };
        if number.is_some() && texts.len() > 2 {
            return Err(format!(
                "has {} texts in a row and a number in `{}`, which is for two texts; name the columns of the texts in \
                 data.columns",
                texts.len(),
                number.unwrap_or_default()
            ));
        }
        Ok(Self { texts, number })
    }

    /// What a row has in them.
    pub fn read(&self, fields: &Fields) -> Result<(Vec<String>, Option<f64>), String> {
        let text = |name: &String| match fields.get(name) {
            None => Err(format!("has no `{name}`")),
            Some(value) => match value.as_str() {
                Some(text) => Ok(text.to_owned()),
                None => Err(format!("`{name}` is not a text but {value}")),
            },
        };
        let texts = self.texts.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        let number = |name: &String| {
            let value = fields.get(name).ok_or_else(|| format!("has no `{name}`"))?;
            let written = value.to_string();
            let number = match written.to_lowercase().as_str() {
                "true" => Some(1.0),
                "false" => Some(0.0),
                other => other.parse().ok(),
            };
            let number = number.filter(|number: &f64| number.is_finite());
            number.ok_or_else(|| format!("`{name}` is `{written}`, expected a number"))
        };
        Ok((texts, self.number.as_ref().map(number).transpose()?))
    }
}

/// The one of these names that columns have, if any.
fn one_of(columns: &[&str], names: &[&str]) -> Result<Option<String>, String> {
    let found: Vec<&str> = names.iter().copied().filter(|name| columns.contains(name)).collect();
    match found[..] {
        [] => Ok(None),
        [name] => Ok(Some(name.to_owned())),
        _ => {
            Err(format!("has {}; say which one in data.columns or data.label", found.join(" and ")))
        }
    }
}

fn recognised(columns: &[&str]) -> Result<Vec<String>, String> {
    let [first, second] = [one_of(columns, &FIRST)?, one_of(columns, &SECOND)?];
    let (Some(first), Some(second)) = (first, second) else {
        return Err(format!(
            "its columns are not recognised: it has {}; expected anchor and positive, and negative or negative_1, .. or \
             none; or sentence1, sentence2 and score or label; or name those of the texts in data.columns",
            columns.join(", ")
        ));
    };
    let number = |name: &str| -> Option<u32> {
        match name.strip_prefix(NEGATIVE)? {
            "" => Some(0),
            rest => rest.strip_prefix('_')?.parse().ok(),
        }
    };
    let mut negatives: Vec<(u32, &str)> =
        columns.iter().filter_map(|name| Some((number(name)?, *name))).collect();
    negatives.sort_unstable();
    let negatives = negatives.into_iter().map(|(_, name)| name.to_owned());
    Ok([first, second].into_iter().chain(negatives).collect())
}

impl TextGroupsFormat {
    /// That of rows with these columns and numbers.
    pub(super) fn of(columns: &Columns, numbers: &[f64]) -> Self {
        let Some(name) = &columns.number else {
            return if columns.texts.len() == 2 { Self::Pair } else { Self::Triplet };
        };
        let are_classes = numbers.iter().all(|number| [0.0, 1.0].contains(number));
        if are_classes && !SCORES.contains(&name.as_str()) {
            Self::PairClass
        } else {
            Self::PairScore
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_recognised_whatever_their_order() {
        let of = |columns: &[&str]| Columns::of(columns, &[], None);
        let found = of(&["id", "negative_10", "positive", "negative_2", "anchor"]).unwrap();
        assert_eq!(found.texts, ["anchor", "positive", "negative_2", "negative_10"]);
        assert_eq!(TextGroupsFormat::of(&found, &[]), TextGroupsFormat::Triplet);
        let found = of(&["score", "sentence2", "sentence1"]).unwrap();
        assert_eq!((&found.texts[0][..], found.number.as_deref()), ("sentence1", Some("score")));
        assert_eq!(TextGroupsFormat::of(&found, &[0.0, 1.0]), TextGroupsFormat::PairScore);
        let found = of(&["label", "sentence2", "sentence1"]).unwrap();
        assert_eq!(TextGroupsFormat::of(&found, &[0.0, 1.0]), TextGroupsFormat::PairClass);
        assert_eq!(TextGroupsFormat::of(&found, &[0.0, 0.5]), TextGroupsFormat::PairScore);
        assert!(of(&["anchor", "query", "positive"]).unwrap_err().contains("anchor and query"));
        assert!(of(&["instruction", "output"]).unwrap_err().contains("data.columns"));
        assert!(of(&["anchor", "positive", "negative", "label"]).unwrap_err().contains("3 texts"));
    }

    #[test]
    fn columns_that_a_config_names_must_be_there() {
        let named = ["instruction".to_owned(), "outputs".to_owned()];
        let told = Columns::of(&["instruction", "output"], &named, None).unwrap_err();
        assert!(told.contains("no column `outputs`; did you mean `output`?"), "{told}");
    }
}
