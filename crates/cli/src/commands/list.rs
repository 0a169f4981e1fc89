//! `rappel list`.

use std::process::ExitCode;

use anyhow::bail;
use rappel_config::{Default, Family, Field, Kind, OptionSet, describe, list, suggest};
use rappel_train::{RunOptions, TASKS, families};

use crate::names::{self, Names};
use crate::output::print;

/// List the optimizers, schedules, models and so on that a config can name, with their options
///
/// Without KIND, lists the kinds; with NAME, shows that entry's page.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel list
  rappel list schedules
  rappel list optimizers adamw
  rappel list keys
  rappel list keys train.steps")]
pub struct Args {
    /// What to list: optimizers, schedules, models and so on, or `keys` for all config keys
    #[arg(hide_possible_values = true, value_parser = Names(names::kinds))]
    kind: Option<String>,
    /// The entry whose options to show; of `keys` a key or a section
    #[arg(requires = "kind", hide_possible_values = true, value_parser = Names(names::entries))]
    name: Option<String>,
}

/// The kind that lists the keys of a config.
const KEYS: &str = "keys";

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let text = match (&args.kind, &args.name) {
        (None, _) => kinds(),
        (Some(kind), None) if kind == KEYS => keys(),
        (Some(kind), Some(key)) if kind == KEYS => key_page(key)?,
        (Some(kind), None) => list(family(kind)?),
        (Some(kind), Some(name)) => family(kind)?.info(name)?.to_string(),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn kinds() -> String {
    let line = |(kind, family): (String, &dyn Family)| {
        let names: Vec<_> = family.infos().iter().map(|info| info.name).collect();
        format!("{kind:11} {}\n", names.join(", "))
    };
    let lines: String = families().into_iter().map(line).collect();
    lines + &format!("{KEYS:11} all keys of a config\n")
}

/// The keys of any config, then those of each task.
fn keys() -> String {
    let own = TASKS
        .entries
        .iter()
        .map(|task| format!("\nwith task = \"{}\":\n{}", task.name, describe(task.fields)));
    let paths =
        "\nPaths are taken from the current folder; a run's config.toml keeps them in full.\n";
    describe(RunOptions::FIELDS) + &own.collect::<String>() + paths
}

/// All that is known of a key, or of those of a section; keys of entries such as `optimizer.lr` come with
/// the entries that have them.
fn key_page(key: &str) -> anyhow::Result<String> {
    let keys = names::keys();
    let found: Vec<&Field> =
        keys.iter().filter(|(of, _)| of == key).map(|(_, field)| field).collect();
    let mut pages: Vec<String> = found.iter().map(|field| page(key, field)).collect();
    if pages.is_empty()
        && let Some((section, name)) = key.rsplit_once('.')
    {
        pages = of_entries(&keys, section, name, key);
    }
    pages.dedup();
    if !pages.is_empty() {
        return Ok(pages.join("\n"));
    }
    let known: Vec<&str> = keys.iter().map(|(key, _)| key.as_str()).collect();
    let near = suggest(key, known);
    let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    bail!("no config key is named `{key}`{near}; `rappel list keys` shows all")
}

/// A page for each kind of section that has entries with the option `name`.
fn of_entries(keys: &[(String, Field)], section: &str, name: &str, key: &str) -> Vec<String> {
    let mut pages = Vec::new();
    for (_, field) in keys.iter().filter(|(of, _)| of == section) {
        let (Kind::Section(family) | Kind::Sections(family)) = field.kind else { continue };
        let mut alike: Vec<(String, Vec<&str>)> = Vec::new();
        for info in family.infos() {
            let option = info.fields.iter().find(|option| option.is_named(name));
            let Some(page) = option.map(|option| page(key, option)) else { continue };
            match alike.iter_mut().find(|(other, _)| *other == page) {
                Some((_, names)) => names.push(info.name),
                None => alike.push((page, vec![info.name])),
            }
        }
        let of = |(page, names): (String, Vec<&str>)| {
            format!("{page}of           {}\n", names.join(", "))
        };
        pages.extend(alike.into_iter().map(of));
    }
    pages
}

fn page(key: &str, field: &Field) -> String {
    let default = match field.default.text() {
        Some(text) => text,
        None if matches!(field.default, Default::Required) => "none: it must be given".to_owned(),
        None => "none: it may stay unset".to_owned(),
    };
    let mut lines = vec![
        format!("{key}: {}", field.doc),
        format!("values       {}", field.kind),
        format!("default      {default}"),
    ];
    lines.extend(field.also.map(|also| format!("also         {also}")));
    if !field.aka.is_empty() {
        lines.push(format!("elsewhere    {}", field.aka.join(", ")));
    }
    match field.kind {
        Kind::Table(inner) | Kind::Tables(inner) => {
            lines.extend(describe(inner).lines().map(|line| format!("  {line}")));
        }
        Kind::Section(family) | Kind::Sections(family) => {
            let names: Vec<&str> = family.infos().iter().map(|info| info.name).collect();
            lines.push(format!("names        {}", names.join(", ")));
        }
        _ => {}
    }
    lines.join("\n") + "\n"
}

fn family(kind: &str) -> anyhow::Result<&'static dyn Family> {
    let families = families();
    if let Some((_, family)) = families.iter().find(|(name, _)| *name == kind) {
        return Ok(*family);
    }
    let known: Vec<&str> = families.iter().map(|(name, _)| name.as_str()).chain([KEYS]).collect();
    let near = suggest(kind, known.iter().copied());
    let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
    bail!("no kind is named `{kind}`{near} (known: {})", known.join(", "))
}
