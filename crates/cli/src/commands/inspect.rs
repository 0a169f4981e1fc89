//! `rappel inspect`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use rappel_model::EncoderTask;
use rappel_train::{
    EncoderSummary, Equation, Importance, Importances, LanguageSummary, Permuting, TabularModel,
    TensorGroup, TrainingMemory,
};
use serde_json::{Value, json};

use super::local_model;
use crate::escape::one_line;
use crate::output::{print, say};

/// Show what a model has learned: coefficients, the importance of columns, sizes
///
/// A linear model of tables: its intercept and coefficients in the units of the table, whatever was
/// standardized in training, so that for numbers
///
///   target = intercept + sum of coefficient x input.
///
/// A column of numbers is an input as it is. A column of categories is an input for each category that
/// the training rows had, `column=category`: its coefficient is added where the cell is that category,
/// and none is where the category is unknown, so compare the coefficients of one column with each other.
/// `column is missing` is added where the value is missing, beside what the value filled in adds.
/// Of two classes the sum is the logit of the one shown: ln(p / (1 - p)). Of more classes each has a sum
/// of its own, and probabilities are the softmax of these: only their differences count.
///
/// With --file, for any model of tables: the importance of each column. Its cells are shuffled --repeats times
/// among the rows, all its inputs together; shown are the mean and the standard deviation of how much worse the
/// metric gets, as in scikit-learn's permutation_importance. 0: the model does not use the column. Correlated
/// columns share their importance: each may be near 0. Use rows that the model was not trained on.
///
/// A language model or an encoder of texts: its architecture, parameters, shapes and types as stored, tokenizer, chat
/// template or head, and how much memory it takes.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "Examples:
  rappel inspect runs/tabular-1
  rappel inspect runs/tabular-1 --file test.csv --metric rmse --repeats 20
  rappel inspect runs/quickstart-1 --json"
)]
pub struct Args {
    /// A run, a folder with config.json and model.safetensors, a GGUF file, or org/name on the Hugging Face Hub
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// A table with the target's column, to measure the importance of columns on
    #[arg(long, value_name = "TABLE")]
    file: Option<PathBuf>,
    /// Permutations of each column
    #[arg(long, value_name = "N", default_value_t = 5, requires = "file", value_parser = clap::value_parser!(u32).range(1..))]
    repeats: u32,
    /// Chooses the permutations: the same seed gives the same figures
    #[arg(long, default_value_t = 0, requires = "file")]
    seed: u64,
    /// The metric, by the name that `rappel eval` prints. Default: r2 for regression, accuracy for
    /// classification
    #[arg(long, value_name = "NAME", requires = "file")]
    metric: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, quiet: bool) -> anyhow::Result<ExitCode> {
    let folder = local_model(&args.model, quiet)?;
    let told = if TabularModel::is_in(&folder) {
        table(args, &folder)?
    } else if EncoderSummary::is_in(&folder) {
        encoder(args, &folder)?
    } else {
        language(args, &folder)?
    };
    print(&told)?;
    Ok(ExitCode::SUCCESS)
}

fn table(args: &Args, folder: &Path) -> anyhow::Result<String> {
    let model = TabularModel::load(folder)?;
    let importances = match &args.file {
        None => None,
        Some(file) => {
            let Args { repeats, seed, metric, .. } = args;
            let permuting = Permuting { repeats: *repeats, seed: *seed, metric: metric.clone() };
            let found = model.importances(&model.read(file, true)?, &permuting);
            Some(found.with_context(|| file.display().to_string())?)
        }
    };
    for note in importances.iter().flat_map(|importances| &importances.notes) {
        say(format_args!("note: {}", one_line(note)));
    }
    Ok(if args.json {
        table_json(args, &model, importances.as_ref())
    } else {
        table_text(args, &model, importances.as_ref())
    })
}

fn table_json(args: &Args, model: &TabularModel, importances: Option<&Importances>) -> String {
    let preprocessing = model.preprocessing();
    let inputs = preprocessing.inputs();
    let mut object = json!({
        "model": model.name(),
        "task": task(model),
        "target": preprocessing.target.name,
        "parameters": model.parameter_count(),
        "dtype": model.dtype().to_string(),
        "columns": preprocessing.features.len(),
        "inputs": inputs.len(),
    });
    if let Some(classes) = model.classes() {
        object["classes"] = json!(classes);
    }
    if let Some(equations) = model.equations() {
        let equation = |equation: &Equation| {
            let pairs = inputs.iter().zip(&equation.coefficients);
            let coefficients: Vec<Value> = pairs
                .map(|(input, value)| json!({ "input": input, "coefficient": value }))
                .collect();
            json!({
                "output": equation.output,
                "intercept": equation.intercept,
                "coefficients": coefficients,
            })
        };
        object["equations"] = equations.iter().map(equation).collect();
    }
    if let Some(Importances { metric, baseline, columns, rows, .. }) = importances {
        let column = |Importance { column, values, mean, std }: &Importance| json!({ "column": column, "mean": mean, "std": std, "values": values });
        object["importances"] = json!({
            "metric": metric.name,
            "baseline": baseline,
            "repeats": args.repeats,
            "seed": args.seed,
            "rows": rows,
            "columns": columns.iter().map(column).collect::<Vec<_>>(),
        });
    }
    format!("{object}\n")
}

fn table_text(args: &Args, model: &TabularModel, importances: Option<&Importances>) -> String {
    let preprocessing = model.preprocessing();
    let inputs = preprocessing.inputs();
    let target = one_line(&preprocessing.target.name);
    let mut text = format!(
        "model       {}, {} of {target}\nparameters  {}, {}\ncolumns     {}, as {} inputs\n",
        model.name(),
        task(model),
        model.parameter_count(),
        model.dtype(),
        preprocessing.features.len(),
        inputs.len(),
    );
    if let Some(equations) = model.equations() {
        let head = |equation: &Equation| match model.classes() {
            None => "coefficient".to_owned(),
            Some(_) => format!("logit of {}", equation.output),
        };
        let row = |name: &str, value: &dyn Fn(&Equation) -> f64| {
            let values = equations.iter().map(|equation| figure(value(equation)));
            [name.to_owned()].into_iter().chain(values).collect::<Vec<_>>()
        };
        let heads = ["input".to_owned()].into_iter().chain(equations.iter().map(head)).collect();
        let intercept = row("(intercept)", &|equation| equation.intercept);
        let inputs = inputs.iter().enumerate();
        let coefficients =
            inputs.map(|(at, input)| row(input, &|equation| equation.coefficients[at]));
        text += "\n";
        text += &aligned([heads, intercept].into_iter().chain(coefficients).collect());
    }
    match importances {
        None => text += "\nWith --file TABLE: the importance of each column.\n",
        Some(Importances { metric, baseline, columns, rows, .. }) => {
            let mut columns: Vec<&Importance> = columns.iter().collect();
            columns.sort_by(|a, b| b.mean.total_cmp(&a.mean));
            let row = |of: &&Importance| vec![of.column.clone(), figure(of.mean), figure(of.std)];
            let worse = if metric.greater_is_better { "falls" } else { "grows" };
            let (name, baseline, repeats) = (metric.name, figure(*baseline), args.repeats);
            let head = format!(
                "\n{name} is {baseline} on {rows} rows; mean and deviation of how much it {worse}, \
                 {repeats} permutations a column:\n\n"
            );
            text += &head;
            let heads = ["column", "mean", "deviation"].map(str::to_owned).to_vec();
            text += &aligned([heads].into_iter().chain(columns.iter().map(row)).collect());
        }
    }
    text
}

fn task(model: &TabularModel) -> &'static str {
    if model.classes().is_some() { "classification" } else { "regression" }
}

fn language(args: &Args, folder: &Path) -> anyhow::Result<String> {
    reads_no_table(args, "a language model")?;
    let LanguageSummary {
        architecture,
        dtype,
        parameters,
        tensors,
        vocab_size,
        max_positions,
        tokenizer,
        chat_template,
        inference_bytes,
        training,
    } = LanguageSummary::read(folder)?;
    if args.json {
        let tokenizer = tokenizer.map(|(kind, size)| json!({ "kind": kind, "vocab_size": size }));
        let object = json!({
            "model": architecture,
            "parameters": parameters,
            "dtype": dtype.to_string(),
            "vocab_size": vocab_size,
            "max_positions": max_positions,
            "tokenizer": tokenizer,
            "chat_template": chat_template,
            "inference_bytes": inference_bytes,
            "training_bytes": training_json(&training),
            "tensors": tensors_json(&tensors),
        });
        return Ok(format!("{object}\n"));
    }
    let template = chat_template
        .map_or("none".to_owned(), |template| format!("{} characters", template.chars().count()));
    let inference = megabytes(inference_bytes as u64);
    Ok(format!(
        "model       {architecture}\nparameters  {parameters}, {dtype}\nvocabulary  {vocab_size} tokens\n\
         positions   {max_positions}\ntokenizer   {}\ntemplate    {template}\n\
         memory      {inference} to generate with all positions\n{}\n{}",
        tokenizer_text(tokenizer.as_ref()),
        training_text(&training),
        tensors_text(&tensors)
    ))
}

fn reads_no_table(args: &Args, is: &str) -> anyhow::Result<()> {
    let model = args.model.display();
    anyhow::ensure!(args.file.is_none(), "{model} is {is}, which reads no table: leave out --file");
    Ok(())
}

fn tokenizer_text(tokenizer: Option<&(String, usize)>) -> String {
    let text = tokenizer.map(|(kind, size)| format!("{kind}, {size} tokens"));
    one_line(&text.unwrap_or_else(|| "none".to_owned())).into_owned()
}

fn training_json(training: &[TrainingMemory]) -> Value {
    training.iter().map(|memory| (memory.optimizer.to_owned(), json!(memory.bytes))).collect()
}

/// A line for each amount, with the optimizers that take it.
fn training_text(training: &[TrainingMemory]) -> String {
    let size = |memory: &TrainingMemory| megabytes(memory.bytes as u64);
    let lines = training.chunk_by(|a, b| size(a) == size(b)).map(|alike| {
        let names: Vec<_> = alike.iter().map(|memory| memory.optimizer).collect();
        format!("{:>21}  {}\n", size(&alike[0]), names.join(", "))
    });
    format!(
        "            to train all of it, beside activations, with\n{}",
        lines.collect::<String>()
    )
}

fn tensors_json(tensors: &[TensorGroup]) -> Value {
    let tensor = |TensorGroup { name, shape, stored, count }: &TensorGroup| json!({ "name": name, "shape": shape.to_vec(), "stored": stored, "count": count });
    tensors.iter().map(tensor).collect()
}

fn tensors_text(tensors: &[TensorGroup]) -> String {
    let heads = ["parameter", "shape", "stored", "count", "numbers"].map(str::to_owned).to_vec();
    let row = |TensorGroup { name, shape, stored, count }: &TensorGroup| {
        let numbers = (shape.count() * count).to_string();
        vec![name.clone(), shape.to_string(), stored.clone(), count.to_string(), numbers]
    };
    aligned([heads].into_iter().chain(tensors.iter().map(row)).collect())
}

fn encoder(args: &Args, folder: &Path) -> anyhow::Result<String> {
    reads_no_table(args, "an encoder of texts")?;
    let EncoderSummary {
        architecture,
        task,
        embedding,
        dtype,
        parameters,
        tensors,
        vocab_size,
        max_positions,
        max_length,
        hidden_size,
        tokenizer,
        inference_bytes,
        training,
    } = EncoderSummary::read(folder)?;
    let (head, labels) = match &task {
        EncoderTask::Embedding => ("none", None),
        EncoderTask::MaskedLanguageModel => ("masked language model", None),
        EncoderTask::SequenceClassification(labels) => ("sequence classification", Some(labels)),
        EncoderTask::TokenClassification(labels) => ("token classification", Some(labels)),
    };
    if args.json {
        let tokenizer = tokenizer.map(|(kind, size)| json!({ "kind": kind, "vocab_size": size }));
        let labels =
            labels.map(|labels| json!({ "names": labels.names, "problem": labels.problem.name() }));
        let embedding = embedding.map(|layout| {
            json!({
                "pooling": layout.pooling.name(), "normalize": layout.normalize,
                "max_length": max_length, "prompt": layout.prompt,
            })
        });
        let object = json!({
            "model": architecture,
            "parameters": parameters,
            "dtype": dtype.to_string(),
            "head": head,
            "labels": labels,
            "embedding": embedding,
            "hidden_size": hidden_size,
            "vocab_size": vocab_size,
            "max_positions": max_positions,
            "tokenizer": tokenizer,
            "inference_bytes": inference_bytes,
            "training_bytes": training_json(&training),
            "tensors": tensors_json(&tensors),
        });
        return Ok(format!("{object}\n"));
    }
    let head = labels.map_or_else(
        || head.to_owned(),
        |labels| {
            let names: Vec<_> = labels.names.iter().map(|name| one_line(name)).collect();
            format!("{head}, {}: {}", labels.problem.name(), names.join(", "))
        },
    );
    let embedding = embedding.map_or_else(
        || format!("{hidden_size} numbers, with --pooling"),
        |layout| {
            let normalized = if layout.normalize { ", normalized" } else { "" };
            format!(
                "{hidden_size} numbers, {} of up to {max_length} tokens{normalized}",
                layout.pooling.name()
            )
        },
    );
    let inference = megabytes(inference_bytes as u64);
    Ok(format!(
        "model       {architecture}, encoder of texts\nparameters  {parameters}, {dtype}\nhead        {head}\n\
         embedding   {embedding}\nvocabulary  {vocab_size} tokens\npositions   {max_positions}\n\
         tokenizer   {}\nmemory      {inference} for its parameters\n{}\n{}",
        tokenizer_text(tokenizer.as_ref()),
        training_text(&training),
        tensors_text(&tensors)
    ))
}

/// Bytes in words.
fn megabytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.2} GB", bytes as f64 / 1e9),
    }
}

/// A number with six digits.
fn figure(value: f64) -> String {
    let rounded: f64 = format!("{value:.5e}").parse().expect("a number as it was just written");
    format!("{rounded:?}")
}

/// Lines of columns, of which the first begin alike and the others end alike.
fn aligned(rows: Vec<Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|row| row.iter().map(|cell| one_line(cell).into_owned()).collect())
        .collect();
    let widths: Vec<usize> = (0..rows[0].len())
        .map(|at| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &Vec<String>| {
        let rest = row.iter().zip(&widths).skip(1);
        let rest: Vec<_> = rest.map(|(cell, width)| format!("  {cell:>width$}")).collect();
        format!("{:width$}{}\n", row[0], rest.concat(), width = widths[0])
    };
    rows.iter().map(line).collect()
}
