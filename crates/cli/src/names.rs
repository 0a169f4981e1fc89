//! What shells complete values to: names from the registries.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use rappel_config::{Family, Field, Kind};
use rappel_train::{FUNCTIONS, TASKS, families, fields};

/// Takes any text, which its command checks; shells complete it to one of some names.
#[derive(Clone)]
pub struct Names(pub fn() -> Vec<String>);

impl TypedValueParser for Names {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, arg, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new((self.0)().into_iter().map(PossibleValue::new)))
    }
}

/// The kinds of `rappel list`.
pub fn kinds() -> Vec<String> {
    families().into_iter().map(|(kind, _)| kind).chain(["keys".to_owned()]).collect()
}

/// The entries of all kinds, and the keys.
pub fn entries() -> Vec<String> {
    let entries = families().into_iter().flat_map(|(_, family)| of(family));
    let keys = keys().into_iter().map(|(key, _)| key);
    let mut all: Vec<String> = entries.chain(keys).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// The functions of `rappel surface`.
pub fn functions() -> Vec<String> {
    of(&FUNCTIONS)
}

/// The optimizers.
pub fn optimizers() -> Vec<String> {
    families().iter().find(|(kind, _)| kind == "optimizers").map_or(vec![], |(_, all)| of(*all))
}

/// `KEY=` for each key of a config, and `KEY=NAME` where a key picks an entry.
pub fn settings() -> Vec<String> {
    let setting = |(key, field): (String, Field)| match field.kind {
        Kind::Table(_) => vec![],
        Kind::Section(family) => {
            of(family).iter().map(|name| format!("{key}.name={name}")).collect()
        }
        Kind::Bool => ["true", "false"].iter().map(|word| format!("{key}={word}")).collect(),
        Kind::OneOf(words) => words.iter().map(|word| format!("{key}={word}")).collect(),
        _ => vec![format!("{key}=")],
    };
    let mut all: Vec<String> = keys().into_iter().flat_map(setting).collect();
    all.extend(TASKS.names().into_iter().map(|task| format!("task={task}")));
    all.sort_unstable();
    all.dedup();
    all
}

/// Every key of a config by its dotted path, those of each task's sections included.
pub fn keys() -> Vec<(String, Field)> {
    let mut keys = Vec::new();
    for task in TASKS.entries {
        collect("", &fields(task), &mut keys);
    }
    keys
}

fn collect(prefix: &str, fields: &[Field], keys: &mut Vec<(String, Field)>) {
    for field in fields {
        let key = format!("{prefix}{}", field.name);
        keys.push((key.clone(), *field));
        if let Kind::Table(inner) = field.kind {
            collect(&format!("{key}."), inner, keys);
        }
    }
}

fn of(family: &dyn Family) -> Vec<String> {
    family.infos().iter().map(|info| info.name.to_owned()).collect()
}
