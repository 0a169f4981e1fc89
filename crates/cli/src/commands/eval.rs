//! `rappel eval`.

use std::path::PathBuf;
use std::process::ExitCode;

use rappel_train::{EvaluateOptions, Metric, Scores, TrainedModel, load_adapted, load_model};
use serde_json::{Value, json};

use super::local_model;
use crate::output::{in_model, print, say};

/// Evaluate a model on a text, a table, images or interactions
///
/// Language models: nats per token, perplexity, tokens. The text is read in overlapping windows, each scored on
/// the tokens that the one before did not cover; the first token is not predicted.
///
/// Table models: RMSE, MAE and R2 for regression; accuracy, log-loss, F1 and AUC for classification. Classifiers of texts:
/// the same for the labels of the texts of a .jsonl file or a table.
///
/// Models of embeddings: NDCG, MRR and recall of pairs and triplets, correlations of scores, average precision of labels.
///
/// Image models: accuracy, top 5, log-loss, F1 and AUC; how many images of each class are right.
///
/// Recommenders: NDCG, recall, hits, MRR, MAP and precision of the lists that the run measured, and coverage and Gini index of
/// all lists, for the interactions of a file.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  rappel eval --model runs/quickstart-1/model --file src/main.rs --json
  rappel eval --model runs/tabular-1/model --file test.csv")]
pub struct Args {
    /// A run, a folder with config.json, model.safetensors, and tokenizer.json or preprocessing.json, a GGUF file, or org/name on the Hugging Face Hub
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// An adapter on the model, in peft's format: a run with model.lora, or a folder with adapter_config.json
    #[arg(long, value_name = "DIR")]
    adapter: Option<PathBuf>,
    /// The text, the table (.csv, .tsv or .parquet; of a classifier of texts also .jsonl), the interactions, or the images: a folder with a folder for each class, a .csv of `path` and `label`, or an idx file
    #[arg(long, value_name = "FILE")]
    file: PathBuf,
    /// Tokens of a window. Default: the model's positions
    #[arg(long, value_name = "N")]
    window: Option<usize>,
    /// Tokens from one window to the next. Default: half a window
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// Field of a .jsonl record, or column, that holds the text. Default: `text`
    #[arg(long, value_name = "NAME")]
    text_field: Option<String>,
    /// Field or column that holds the label of a text. Default: `label`
    #[arg(long, value_name = "NAME")]
    label_field: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, quiet: bool) -> anyhow::Result<ExitCode> {
    let local = local_model(&args.model, quiet)?;
    let model: Box<dyn TrainedModel> = match &args.adapter {
        Some(adapter) => Box::new(load_adapted(&local, &local_model(adapter, quiet)?, None)?),
        None => load_model(&local)?,
    };
    let options = EvaluateOptions {
        window: args.window,
        stride: args.stride,
        text_field: args.text_field.clone(),
        label_field: args.label_field.clone(),
    };
    let Scores { values, unit, count, notes } =
        model.evaluate_on(&args.file, &options).map_err(|error| in_model(&args.model, error))?;
    for note in &notes {
        say(format_args!("note: {note}"));
    }
    let shown = if args.json {
        let values = values.iter().map(|(metric, value)| (metric.name.into(), json!(value)));
        let count = (unit.to_owned(), json!(count));
        Value::Object(values.chain([count]).collect()).to_string() + "\n"
    } else {
        let line = |(Metric { name, unit, .. }, value): &(Metric, f64)| {
            format!("{name:11} {value:.4} {unit}").trim_end().to_owned() + "\n"
        };
        values.iter().map(line).collect::<String>() + &format!("{unit:11} {count}\n")
    };
    print(&shown)?;
    Ok(ExitCode::SUCCESS)
}
