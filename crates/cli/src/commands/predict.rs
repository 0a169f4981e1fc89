//! `rappel predict`.

use std::path::PathBuf;
use std::process::ExitCode;

use rappel_data::{Format, ReadAs, Reading, Table, write_csv};
use rappel_train::{TabularModel, model_folder};
use serde_json::json;

use crate::output::{destination, report, say};

/// Write what a model of tables predicts for each row
///
/// The output has the columns of --id, `prediction`, and for classes a column `probability of CLASS` each.
/// The table needs the model's features by name; the target need not be there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  rappel predict --model runs/tabular-1/model --file new.csv --out predictions.csv --id customer")]
pub struct Args {
    /// A run, or a folder with config.json, model.safetensors and preprocessing.json
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The table: .csv, .tsv or .parquet
    #[arg(long, value_name = "TABLE")]
    file: PathBuf,
    /// Where the predictions are written; `-` is standard output
    #[arg(long, value_name = "CSV")]
    out: PathBuf,
    /// A column of the table that is put before the predictions; can be given several times
    #[arg(long, value_name = "COLUMN")]
    id: Vec<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let out = destination(&args.out)?;
    let model = TabularModel::load(&model_folder(&args.model)?)?;
    let table = model.read(&args.file, false)?;
    if let (Ok(from), Ok(to)) = (args.file.canonicalize(), args.out.canonicalize())
        && from == to
    {
        anyhow::bail!("{}: --out is the table itself; give another", args.out.display());
    }
    let passed = passed(args, &model)?;
    let passed = passed.iter().flat_map(|table| args.id.iter().map(|name| table.column(name)));
    let told = model.predict(&table, &passed.collect::<Result<Vec<_>, _>>()?)?;
    out.write(|out| write_csv(out, &told.columns, &told.rows))?;
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

/// The columns of --id, as the file writes them.
fn passed(args: &Args, model: &TabularModel) -> anyhow::Result<Option<Table>> {
    if args.id.is_empty() {
        return Ok(None);
    }
    let delimiter = model.preprocessing().format.delimiter;
    let format = Format { delimiter, missing_values: vec![], ..Format::default() };
    let columns = args.id.iter().map(|name| (name.clone(), ReadAs::Text)).collect();
    let reading = Reading { format, columns, others: ReadAs::Nothing };
    Ok(Some(Table::read_as(&args.file, &reading)?))
}
