//! Help texts, from the same description that parses the config.

use std::fmt;

use crate::{Default, Family, Field, Info, Kind};

/// One line an option: key, values taken, default, what it is; nested tables follow with dotted keys.
///
/// ```
/// use rappel_config::{OptionSet, Options, describe};
/// #[derive(Options)]
/// struct Sgd {
///     /// look ahead
///     #[option(default = false)]
///     nesterov: bool,
/// }
/// assert_eq!(describe(Sgd::FIELDS), "nesterov  true or false  default false  look ahead\n");
/// ```
pub fn describe(fields: &[Field]) -> String {
    let mut rows = Vec::new();
    collect("", fields, &mut rows);
    let width = |column: usize| {
        rows.iter().map(|row: &[String; 4]| row[column].chars().count()).max().unwrap_or(0)
    };
    let [key, kind, default] = [width(0), width(1), width(2)];
    rows.iter().fold(String::new(), |mut text, [name, values, default_value, doc]| {
        let line = format!("{name:key$}  {values:kind$}  {default_value:default$}  {doc}\n");
        text.push_str(&line);
        text
    })
}

fn collect(prefix: &str, fields: &[Field], rows: &mut Vec<[String; 4]>) {
    for field in fields {
        let key = format!("{prefix}{}", field.name);
        let default = match field.default.text() {
            Some(text) => format!("default {text}"),
            None if matches!(field.default, Default::Required) => "required".to_owned(),
            None => "optional".to_owned(),
        };
        let nested = match field.kind {
            Kind::Table(fields) => Some((format!("{key}."), fields)),
            Kind::Tables(fields) => Some((format!("{key}[]."), fields)),
            _ => None,
        };
        rows.push([key, field.kind.to_string(), default, doc(field)]);
        if let Some((prefix, fields)) = nested {
            collect(&prefix, fields, rows);
        }
    }
}

/// One line an entry: its name, its figures where the family has some, and what it computes, as
/// `rappel list KIND` shows them.
pub fn list(family: &dyn Family) -> String {
    let infos = family.infos();
    let mut rows: Vec<Vec<String>> = Vec::new();
    let heads: Vec<String> =
        infos.first().map_or(&[][..], |info| &info.more.figures).iter().map(head).collect();
    if !heads.is_empty() {
        let first = vec!["name".to_owned()];
        rows.push(first.into_iter().chain(heads).chain([String::new()]).collect());
    }
    rows.extend(infos.iter().map(|info| {
        let figures = info.more.figures.iter().map(|(_, figure)| figure.clone());
        let (name, summary) = (info.name.to_owned(), info.summary.to_owned());
        [name].into_iter().chain(figures).chain([summary]).collect()
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> =
        (0..rows.first().map_or(0, Vec::len)).map(|column| width(column).unwrap_or(0)).collect();
    rows.iter().map(|row| line(row, &widths)).collect()
}

fn head((head, _): &(&'static str, String)) -> String {
    (*head).to_owned()
}

/// The name to the left, figures to the right, the summary as it is.
fn line(row: &[String], widths: &[usize]) -> String {
    let last = row.len() - 1;
    let cell = |(column, text): (usize, &String)| match column {
        0 => format!("{text:width$}", width = widths[0]),
        _ if column == last => text.clone(),
        _ => format!("{text:>width$}", width = widths[column]),
    };
    let cells: Vec<String> = row.iter().enumerate().map(cell).collect();
    cells.join("  ").trim_end().to_owned() + "\n"
}

/// Markdown as plain text: without examples, marks of code, and what links hide.
fn plain(markdown: &str) -> String {
    let mut lines = Vec::new();
    let mut example = false;
    for line in markdown.lines() {
        let line = line.strip_prefix(' ').unwrap_or(line);
        let doubly_empty = line.is_empty() && lines.last().is_none_or(String::is_empty);
        if line.starts_with("```") {
            example = !example;
        } else if !example && !doubly_empty {
            lines.push(unlinked(line).replace('`', ""));
        }
    }
    lines.join("\n").trim_end().to_owned()
}

/// `[text](address)` as `text (address)`, `[text]` as `text`.
fn unlinked(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some((before, after)) = rest.split_once('[') {
        let Some((text, after)) = after.split_once(']') else { break };
        out.push_str(before);
        // Brackets of intervals and masks stay: what they hold is not a word to link.
        let word = text.starts_with('`') || after.starts_with('(');
        if !word {
            out.push('[');
            out.push_str(text);
            out.push(']');
            rest = after;
            continue;
        }
        out.push_str(text);
        rest = after;
        if let Some((address, after)) = after.strip_prefix('(').and_then(|a| a.split_once(')')) {
            if address.starts_with("http") {
                out.extend([" (", address, ")"]);
            }
            rest = after;
        }
    }
    out + rest
}

/// The entry's page, as `rappel list KIND NAME` shows it.
impl fmt::Display for Info {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}\nreference: {}", self.name, self.summary, self.reference)?;
        for (head, figure) in &self.more.figures {
            writeln!(f, "{head}: {figure}")?;
        }
        if !self.more.about.is_empty() {
            writeln!(f, "\n{}\n", plain(self.more.about))?;
        }
        describe(&self.fields).lines().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

fn doc(field: &Field) -> String {
    let also = field.also.map_or_else(String::new, |name| format!("; also `{name}`"));
    format!("{}{also}", field.doc)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_reads_as_plain_text() {
        let about = " One [`Adam`] step, as [Kingma](https://x.org/a), on `[0, 1)`.\n\n ```\n let x;\n ```\n\n End [u g > 0].";
        let want = "One Adam step, as Kingma (https://x.org/a), on [0, 1).\n\nEnd [u g > 0].";
        assert_eq!(plain(about), want);
    }
}
