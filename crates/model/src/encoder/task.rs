//! What an encoder is for.

use rappel_config::Words;
use serde_json::{Map, Value, json};

/// What an encoder's head is for, and with it the class of transformers that reads its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EncoderTask {
    /// Without a head: states, of which embeddings are made.
    Embedding,
    /// Tokens that are hidden are predicted.
    MaskedLanguageModel,
    /// Labels of a whole text.
    SequenceClassification(Labels),
    /// A label of each token.
    TokenClassification(Labels),
}

/// The labels of a classifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Their names, by number.
    pub names: Vec<String>,
    /// How logits of them are to be read.
    pub problem: Problem,
}

/// How the logits of labels are to be read; the names are those of `problem_type` in config.json.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Words)]
pub enum Problem {
    /// One label is right.
    #[word("single_label_classification")]
    SingleLabel,
    /// Any number of them may be.
    #[word("multi_label_classification")]
    MultiLabel,
    /// Each is a number to predict.
    Regression,
}

impl Problem {
    /// Its name in config.json.
    pub fn name(self) -> &'static str {
        self.word()
    }
}

impl Labels {
    /// Labels of which one is right.
    pub fn single(names: Vec<String>) -> Self {
        Self { names, problem: Problem::SingleLabel }
    }

    /// Of a model that predicts a number.
    pub fn number() -> Self {
        Self { names: vec!["LABEL_0".to_owned()], problem: Problem::Regression }
    }

    /// Those of a config.json; two, where it does not say, as in transformers.
    ///
    /// # Errors
    /// What is wrong with which key.
    pub fn from_json(json: &Map<String, Value>) -> Result<Self, String> {
        let default = |count: usize| (0..count).map(|i| format!("LABEL_{i}")).collect();
        let names = match (json.get("id2label"), json.get("num_labels")) {
            (Some(Value::Object(names)), _) => numbered(names)
                .ok_or("`id2label`: expected a name for each number from 0 on".to_owned())?,
            (None | Some(Value::Null), None | Some(Value::Null)) => default(2),
            (None | Some(Value::Null), Some(count)) => {
                let count = count.as_u64().filter(|count| (1..1 << 24).contains(count));
                default(count.ok_or("`num_labels`: expected a number of labels")? as usize)
            }
            (Some(_), _) => return Err("`id2label`: expected a table".to_owned()),
        };
        let problem = match json.get("problem_type") {
            None | Some(Value::Null) if names.len() == 1 => Problem::Regression,
            None | Some(Value::Null) => Problem::SingleLabel,
            Some(name) => {
                let known = name.as_str().and_then(Problem::by_word);
                let names = Problem::WORDS.join(", ");
                known.ok_or(format!("`problem_type` is {name} (known: {names})"))?
            }
        };
        Ok(Self { names, problem })
    }

    /// What config.json says of them.
    pub fn to_json(&self) -> Map<String, Value> {
        let names = self.names.iter().enumerate();
        let id2label: Map<String, Value> =
            names.clone().map(|(i, name)| (i.to_string(), name.clone().into())).collect();
        let label2id: Map<String, Value> =
            names.map(|(i, name)| (name.clone(), i.into())).collect();
        let json = json!({
            "id2label": id2label, "label2id": label2id, "problem_type": self.problem.name(),
        });
        json.as_object().cloned().unwrap_or_default()
    }
}

/// The names by number, where there is one for each from 0 on.
fn numbered(names: &Map<String, Value>) -> Option<Vec<String>> {
    let name = |i: usize| names.get(&i.to_string())?.as_str().map(str::to_owned);
    (!names.is_empty()).then(|| (0..names.len()).map(name).collect())?
}

/// What classes of transformers end with, for tasks without labels.
const MASKED: [&str; 2] = ["ForMaskedLM", "ForPreTraining"];
const SEQUENCES: &str = "ForSequenceClassification";
const TOKENS: &str = "ForTokenClassification";

impl EncoderTask {
    /// The task of a config.json, by the class that it names: `class` and an ending. Without a class, an encoder without
    /// a head.
    ///
    /// # Errors
    /// A class that is not supported; labels that are wrong.
    pub(crate) fn from_json(class: &str, json: &Map<String, Value>) -> Result<Self, String> {
        let named = match json.get("architectures") {
            None | Some(Value::Null) => return Ok(Self::Embedding),
            Some(named) => named.get(0).and_then(Value::as_str),
        };
        let known = [MASKED[0], SEQUENCES, TOKENS].map(|end| format!("{class}{end}")).join(", ");
        let unknown = || {
            let named = &json["architectures"];
            format!("`architectures` is {named} (known: {class}Model, {known})")
        };
        let end = named.and_then(|named| named.strip_prefix(class)).ok_or_else(unknown)?;
        Ok(match end {
            "Model" => Self::Embedding,
            SEQUENCES => Self::SequenceClassification(Labels::from_json(json)?),
            TOKENS => {
                let labels = Labels::from_json(json)?;
                Self::TokenClassification(Labels { problem: Problem::SingleLabel, ..labels })
            }
            end if MASKED.contains(&end) => Self::MaskedLanguageModel,
            _ => return Err(unknown()),
        })
    }

    /// What config.json says of it, for the class that begins with `class`.
    pub(crate) fn to_json(&self, class: &str) -> Map<String, Value> {
        let (end, labels) = match self {
            Self::Embedding => ("Model", None),
            Self::MaskedLanguageModel => (MASKED[0], None),
            Self::SequenceClassification(labels) => (SEQUENCES, Some(labels)),
            Self::TokenClassification(labels) => (TOKENS, Some(labels)),
        };
        let mut json = labels.map(Labels::to_json).unwrap_or_default();
        if matches!(self, Self::TokenClassification(_)) {
            json.remove("problem_type");
        }
        json.insert("architectures".to_owned(), json!([format!("{class}{end}")]));
        json
    }

    /// The labels, where it has any.
    pub fn labels(&self) -> Option<&Labels> {
        match self {
            Self::Embedding | Self::MaskedLanguageModel => None,
            Self::SequenceClassification(labels) | Self::TokenClassification(labels) => {
                Some(labels)
            }
        }
    }
}
