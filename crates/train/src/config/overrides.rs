//! `--set key=value`.

use rappel_config::{Info, Kind};
use toml::{Table, Value};

use super::fields;
use crate::tasks::TASKS;
use crate::{Observer, TrainError};

/// Puts all settings into a config. Where one gives a section another name, what only the old entry
/// knows is dropped, and noted.
pub(super) fn apply_all(
    table: &mut Table,
    settings: &[&str],
    observer: &mut dyn Observer,
) -> Result<(), TrainError> {
    let given = table.clone();
    for setting in settings {
        apply(table, setting)?;
    }
    for (section, value) in table.iter_mut() {
        let (Some(Value::Table(old)), Value::Table(new)) = (given.get(section), value) else {
            continue;
        };
        let names = [old, &*new].map(|table| table.get(NAME).and_then(Value::as_str));
        let [Some(old_name), Some(name)] = names.map(|name| name.map(str::to_owned)) else {
            continue;
        };
        let Some(info) = info(section, &name).filter(|_| old_name != name) else { continue };
        let is_known =
            |key: &str| key == NAME || info.fields.iter().any(|field| field.is_named(key));
        // A value that a setting gave is not a leftover.
        let dropped: Vec<String> = old
            .iter()
            .filter(|(key, value)| !is_known(key) && new.get(*key) == Some(value))
            .map(|(key, _)| key.clone())
            .collect();
        if !dropped.is_empty() {
            new.retain(|key, _| !dropped.iter().any(|one| one == key));
            let keys = dropped.join(", ");
            observer.note(&format!(
                "{section}.name = \"{name}\" drops what the config gives to `{old_name}` alone: {keys}"
            ))?;
        }
    }
    Ok(())
}

/// The key that picks a section's entry.
const NAME: &str = "name";

/// What the entry `name` of a section of any task's config says of itself.
fn info(section: &str, name: &str) -> Option<Info> {
    let all = TASKS.entries.iter().flat_map(fields);
    let mut families =
        all.filter(|field| field.name == section).filter_map(|field| match field.kind {
            Kind::Section(family) => Some(family),
            _ => None,
        });
    families.find_map(|family| family.info(name).ok())
}

/// Puts `key=value` into a config: `key` is a dotted path, `value` a TOML value; what is none is
/// taken for a text, so that `optimizer.name=sgd` needs no quotes. No value: the key is taken out.
fn apply(table: &mut Table, setting: &str) -> Result<(), TrainError> {
    let fail = |reason: String| {
        let origin = format!("--set {setting}");
        Err(TrainError::Toml { origin, reason })
    };
    let Some((key, text)) = setting.split_once('=') else {
        return fail("expected key=value, such as optimizer.lr=1e-3".into());
    };
    let parts: Vec<&str> = key.trim().split('.').map(str::trim).collect();
    let Some((last, sections)) = parts.split_last().filter(|_| !parts.contains(&"")) else {
        return fail(format!("`{key}` is not a key; expected a dotted path such as optimizer.lr"));
    };
    let text = text.trim();
    let mut place = table;
    for section in sections {
        if text.is_empty() && !place.contains_key(*section) {
            break;
        }
        let inner = place.entry(*section).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = inner else {
            return fail(format!("`{section}` is a value, no section"));
        };
        place = inner;
    }
    if text.is_empty() {
        return match place.remove(*last) {
            Some(_) => Ok(()),
            None => fail("nothing to take out: the config does not give that key".into()),
        };
    }
    place.insert((*last).to_owned(), value(text));
    Ok(())
}

fn value(text: &str) -> Value {
    let parsed: Result<Table, _> = toml::from_str(&format!("value = {text}"));
    match parsed {
        // A line break in the text could bring in more keys.
        Ok(mut table) if table.len() == 1 => table.remove("value").unwrap_or(Value::Boolean(false)),
        _ => Value::String(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Notes;

    #[test]
    fn values_are_toml_and_bare_words_are_texts() {
        let mut table: Table = toml::from_str("[train]\nsteps = 1").unwrap();
        for setting in [
            "train.steps=20",
            "optimizer.name=sgd",
            "optimizer.betas = [0.9, 0.95]",
            "data.tokenizer=\"byte\"",
            "data.files=[\"a=b\"]",
            "schedule={ name = 'cosine' }",
            "out=runs/a b",
            "seed=1\nout=2",
        ] {
            apply(&mut table, setting).unwrap();
        }
        let expected = "seed = \"1\\nout=2\"\nout = 'runs/a b'\n[train]\nsteps = 20\n\
             [optimizer]\nname = 'sgd'\nbetas = [0.9, 0.95]\n\
             [data]\ntokenizer = 'byte'\nfiles = ['a=b']\n[schedule]\nname = 'cosine'";
        assert_eq!(table, toml::from_str::<Table>(expected).unwrap());
    }

    #[test]
    fn a_key_without_value_is_taken_out() {
        let text = "seed = 1\n[train]\nsteps = 1\n[average]\nname = 'ema'";
        let mut table: Table = toml::from_str(text).unwrap();
        for setting in ["train.steps=", "average = ", "seed="] {
            apply(&mut table, setting).unwrap();
        }
        assert_eq!(table, toml::from_str::<Table>("[train]").unwrap());
        for setting in ["train.steps=", "sed=", "optimizer.groups.x="] {
            let told = apply(&mut table, setting).unwrap_err().to_string();
            assert!(
                told.ends_with(": nothing to take out: the config does not give that key"),
                "{told}"
            );
        }
    }

    #[test]
    fn another_name_drops_what_only_the_old_one_knows() {
        let text = "[schedule]\nname = 'cosine'\nwarmup_steps = 4\nnum_cycles = 2\n\
             [optimizer]\nname = 'adamw'\nlr = 1e-3\nbetas = [0.9, 0.95]";
        let with = |settings: &[&str]| {
            let (mut table, mut notes) = (toml::from_str::<Table>(text).unwrap(), Notes::default());
            apply_all(&mut table, settings, &mut notes).unwrap();
            (table, notes.0)
        };
        let (table, notes) = with(&["schedule.name=linear", "optimizer.name=sgd"]);
        assert_eq!(table["schedule"], toml::from_str("name = 'linear'\nwarmup_steps = 4").unwrap());
        assert_eq!(table["optimizer"], toml::from_str("name = 'sgd'\nlr = 1e-3").unwrap());
        assert_eq!(
            notes,
            [
                "schedule.name = \"linear\" drops what the config gives to `cosine` alone: num_cycles",
                "optimizer.name = \"sgd\" drops what the config gives to `adamw` alone: betas"
            ]
        );
        // What is set is reported as unknown later, and the same name or an unknown one drops nothing.
        let (table, _) = with(&["optimizer.name=sgd", "optimizer.betas=[0.8, 0.9]"]);
        assert!(table["optimizer"].get("betas").is_some());
        for name in ["cosine", "cosin"] {
            let (table, notes) = with(&[&format!("schedule.name={name}")]);
            assert!(notes.is_empty() && table["schedule"].get("num_cycles").is_some());
        }
    }

    #[test]
    fn what_is_no_setting_says_what_is_wanted() {
        for (setting, expected) in [
            ("lr", "--set lr: expected key=value, such as optimizer.lr=1e-3"),
            ("=3", "--set =3: `` is not a key; expected a dotted path such as optimizer.lr"),
            (
                "a..b=3",
                "--set a..b=3: `a..b` is not a key; expected a dotted path such as optimizer.lr",
            ),
            ("seed.x=3", "--set seed.x=3: `seed` is a value, no section"),
        ] {
            let mut table: Table = toml::from_str("seed = 1").unwrap();
            let error = apply(&mut table, setting).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
