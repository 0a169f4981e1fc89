//! The arguments, and the threads that a command runs on.

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand, value_parser};

use crate::commands::{
    cache, completions, convert, data, devices, embed, eval, generate, inspect, list, lr_find, man,
    merge, predict, replay, schedule, selftest, surface, train,
};
use crate::environment::MOST_THREADS;

const EXAMPLES: &str = "\
Examples:
  rappel train configs/quickstart.toml
  rappel train configs/quickstart.toml --set optimizer.lr=1e-3 --out runs/try
  rappel train --resume runs/quickstart-1
  rappel generate --model runs/quickstart-1/model --prompt 'fn main' --max-new-tokens 100
  rappel eval --model runs/quickstart-1/model --file src/main.rs
  rappel predict --model runs/tabular-1/model --file new.csv --out predictions.csv
  rappel embed --model all-MiniLM-L6-v2 --file texts.txt --out embeddings.npy
  rappel inspect runs/tabular-1 --file test.csv
  rappel convert runs/quickstart-1 --to model.gguf --dtype q8_0
  rappel data configs/sft.toml --row 1
  rappel merge --model SmolLM2-135M-Instruct --adapter runs/lora-1 --out merged
  rappel list optimizers adamw
  rappel schedule configs/quickstart.toml
  rappel lr-find configs/quickstart.toml
  rappel surface --function rosenbrock --optimizer sgd,adam,lbfgs --out rosenbrock.svg
  rappel replay optimizer.toml --input gradients.safetensors --output steps.safetensors

Exit codes: 0 done; 1 an error, printed on standard error; 2 wrong arguments; 129, 130 and 143 stopped by
SIGHUP, SIGINT and SIGTERM, after a checkpoint if a run was in progress.";

/// Trains and fine-tunes models.
#[derive(Debug, Parser)]
#[command(name = "rappel", version, after_help = EXAMPLES)]
pub struct Cli {
    /// Number of threads; results are the same bits for any number. Default: one per core
    #[arg(long, global = true, value_name = "N", value_parser = value_parser!(u32).range(1..=i64::from(MOST_THREADS)))]
    threads: Option<u32>,
    /// Show no progress, only errors and the result
    #[arg(long, short, global = true)]
    quiet: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Train(train::Args),
    Generate(Box<generate::Args>),
    Eval(eval::Args),
    Inspect(inspect::Args),
    Convert(convert::Args),
    Data(data::Args),
    Merge(merge::Args),
    List(list::Args),
    LrFind(lr_find::Args),
    Embed(embed::Args),
    Predict(predict::Args),
    Replay(replay::Args),
    Schedule(schedule::Args),
    Surface(surface::Args),
    Cache(cache::Args),
    Devices(devices::Args),
    Selftest(selftest::Args),
    Completions(completions::Args),
    Man(man::Args),
}

impl Cli {
    /// Runs the command on a thread of the pool, so that its parallel loops need not enter it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let threads = self.threads.unwrap_or(0) as usize;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.context("cannot start the threads")?.install(|| match self.command {
            Command::Train(args) => train::run(&args, self.quiet),
            Command::Generate(args) => generate::run(&args, self.quiet),
            Command::Eval(args) => eval::run(&args, self.quiet),
            Command::Inspect(args) => inspect::run(&args, self.quiet),
            Command::Convert(args) => convert::run(&args, self.quiet),
            Command::Data(args) => data::run(&args, self.quiet),
            Command::Merge(args) => merge::run(&args, self.quiet),
            Command::List(args) => list::run(&args),
            Command::LrFind(args) => lr_find::run(&args, self.quiet),
            Command::Embed(args) => embed::run(&args, self.quiet),
            Command::Predict(args) => predict::run(&args, self.quiet),
            Command::Replay(args) => replay::run(&args),
            Command::Schedule(args) => schedule::run(&args),
            Command::Surface(args) => surface::run(&args),
            Command::Cache(args) => cache::run(&args),
            Command::Devices(args) => devices::run(&args),
            Command::Selftest(args) => selftest::run(&args),
            Command::Completions(args) => completions::run(&args),
            Command::Man(args) => man::run(&args),
        })
    }
}
