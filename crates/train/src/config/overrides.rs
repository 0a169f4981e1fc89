//! `--set key=value`.

use toml::{Table, Value};

use crate::TrainError;

/// Puts `key=value` into a config: `key` is a dotted path, `value` a TOML value; what is none is
/// taken for a text, so that `optimizer.name=sgd` needs no quotes.
pub(super) fn apply(table: &mut Table, setting: &str) -> Result<(), TrainError> {
    let fail = |reason: String| {
        let origin = format!("--set {setting}");
        Err(TrainError::Toml { origin, reason })
    };
    let Some((key, text)) = setting.split_once('=') else {
        return fail("wants key=value, such as optimizer.lr=1e-3".into());
    };
    let parts: Vec<&str> = key.trim().split('.').map(str::trim).collect();
    let Some((last, sections)) = parts.split_last().filter(|_| !parts.contains(&"")) else {
        return fail(format!("`{key}` is no key; wants a dotted path such as optimizer.lr"));
    };
    let mut place = table;
    for section in sections {
        let inner = place.entry(*section).or_insert_with(|| Value::Table(Table::new()));
        let Value::Table(inner) = inner else {
            return fail(format!("`{section}` is a value, no section"));
        };
        place = inner;
    }
    place.insert((*last).to_owned(), value(text.trim()));
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
    fn what_is_no_setting_says_what_is_wanted() {
        for (setting, expected) in [
            ("lr", "--set lr: wants key=value, such as optimizer.lr=1e-3"),
            ("=3", "--set =3: `` is no key; wants a dotted path such as optimizer.lr"),
            ("a..b=3", "--set a..b=3: `a..b` is no key; wants a dotted path such as optimizer.lr"),
            ("seed.x=3", "--set seed.x=3: `seed` is a value, no section"),
        ] {
            let mut table: Table = toml::from_str("seed = 1").unwrap();
            let error = apply(&mut table, setting).unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
    }
}
