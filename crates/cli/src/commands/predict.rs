//! `rappel predict`.

use std::path::PathBuf;
use std::process::ExitCode;

use rappel_data::{write_csv, write_table};
use rappel_train::{PredictOptions, load_model};
use serde_json::json;

use super::local_model;
use crate::output::{destination, in_model, report, say};

/// Write the predictions of a model of tables or images, or a classifier of texts, one row each; or the best items for users
///
/// The output has the columns of --id, `prediction`, and for classes a column `probability of CLASS` each.
/// A table must have the model's features by name, or the column of the text; it need not have the target. Images are told
/// by their path, or their number in an idx file.
///
/// A recommender writes `user`, `rank`, `item` and `score` for each user of the file, without the items that the user took in
/// training or in the file. Users that it does not know get the items that were taken most.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel predict --model runs/tabular-1/model --file new.csv --out predictions.csv --id customer
  rappel predict --model runs/recommendation-1 --file users.csv --out items.parquet --top-k 20")]
pub struct Args {
    /// A run, or a folder with config.json, model.safetensors, and preprocessing.json, tokenizer.json or preprocessor_config.json
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The table (.csv, .tsv or .parquet; of a classifier of texts also .jsonl), the users, or the images: a folder, a .csv of `path`, an idx file or an image
    #[arg(long, value_name = "TABLE")]
    file: PathBuf,
    /// Where the predictions are written: a CSV, or with a name in .parquet such a file; `-` is standard output
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A column of the table to copy before the predictions; can be repeated
    #[arg(long, value_name = "COLUMN")]
    id: Vec<String>,
    /// The column, or field of records, that holds the text. Default: `text`
    #[arg(long, value_name = "NAME")]
    text_field: Option<String>,
    /// Items that a recommender writes for each user. Default: 10
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    top_k: Option<u32>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, quiet: bool) -> anyhow::Result<ExitCode> {
    let out = destination(&args.out)?;
    let model = load_model(&local_model(&args.model, quiet)?)?;
    if let (Ok(from), Ok(to)) = (args.file.canonicalize(), args.out.canonicalize())
        && from == to
    {
        anyhow::bail!("{}: --out is the table itself; give another", args.out.display());
    }
    let options = PredictOptions {
        ids: args.id.clone(),
        text_field: args.text_field.clone(),
        top_k: args.top_k.map(|top_k| top_k as usize),
    };
    let told =
        model.predict_on(&args.file, &options).map_err(|error| in_model(&args.model, error))?;
    let parquet = args.out.extension().is_some_and(|end| end.eq_ignore_ascii_case("parquet"));
    let write = if parquet { write_table } else { write_csv };
    out.write(|out| write(out, &told.columns, &told.rows))?;
    for note in &told.notes {
        say(format_args!("note: {note}"));
    }
    let rows = told.rows.len();
    let told = if args.json {
        json!({ "rows": rows, "out": args.out }).to_string()
    } else {
        format!("{rows} rows, written to {}", args.out.display())
    };
    report(&out, &told)?;
    Ok(ExitCode::SUCCESS)
}
