//! `rappel generate`.

mod chat;
mod options;
mod prompts;
mod quantization;
mod record;

use std::fmt::Write as _;
use std::io::{Write as _, stdout};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use rappel_model::Stop;
use rappel_train::{Pretrained, Prompt, TextOptions, load_language_model, load_with_adapters};

use self::options::SamplingArgs;
use self::quantization::QuantizationArgs;
use self::record::Record;
use super::local_model;
use crate::output::{in_model, print, say};

/// Generate text with a trained model
///
/// The text is printed as it comes. It ends with the document, with the model's own end of an answer, or after
/// --max-new-tokens tokens. Where an option is not given, the model's generation_config.json decides; a model without
/// one draws from its own distribution.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel generate --model runs/quickstart-1/model --prompt 'fn main' --max-new-tokens 100
  rappel generate --model runs/quickstart-1/model --prompt 'use std' --greedy --json
  rappel generate --model DIR --prompts questions.jsonl --temperature 0.7 --num-return-sequences 4
  rappel generate --model DIR --load-in-4bit --prompt 'fn main'
  rappel generate --model DIR --chat --system 'Answer briefly.'")]
pub struct Args {
    /// A run, a folder with config.json, model.safetensors and tokenizer.json, a GGUF file, or org/name on the Hugging Face Hub
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// An adapter on the model, in peft's format: a run with model.lora, or a folder with adapter_config.json. Given
    /// several times, their changes are added up
    #[arg(long, value_name = "DIR")]
    adapter: Vec<PathBuf>,
    /// Type that weights are rounded to: bfloat16 takes half of the memory of float32, and of the time where that
    /// bounds it. Default: that of the files; matrices that these have in a few bits a number, such as Q8_0 and Q4_K of
    /// a GGUF file, stay so
    #[arg(long, value_name = "TYPE", value_parser = ["float32", "bfloat16", "float64"])]
    dtype: Option<String>,
    #[command(flatten)]
    quantization: QuantizationArgs,
    /// The text to continue; empty begins a new document
    #[arg(long, default_value = "", conflicts_with_all = ["prompts", "chat"])]
    prompt: String,
    /// A .jsonl file: a text, or an object with `prompt`, or with `messages` and perhaps `tools` and `documents`, a
    /// line. Prints a JSON object a line
    #[arg(long, value_name = "FILE", conflicts_with = "chat")]
    prompts: Option<PathBuf>,
    /// Talk with the model, a line of standard input at a time. Ctrl-C ends an answer, a second one ends the talk
    #[arg(long, conflicts_with_all = ["json", "num_return_sequences"])]
    chat: bool,
    /// The message that tells the model how to answer
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    /// A Jinja template of conversations, in place of the model's own
    #[arg(long, value_name = "FILE")]
    chat_template: Option<PathBuf>,
    /// Variables of the template as a JSON object, such as '{"enable_thinking": false}'
    #[arg(long, value_name = "JSON")]
    chat_template_kwargs: Option<String>,
    #[command(flatten)]
    sampling: SamplingArgs,
    /// How many texts for each prompt: those of --seed and of the seeds that follow it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    num_return_sequences: u64,
    /// Texts that are computed together, at most; those whose prompts have as many tokens can be
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..))]
    batch_size: u64,
    /// Print a JSON object a text, with its tokens, their log-probabilities by the model itself, and the speed
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args, quiet: bool) -> anyhow::Result<ExitCode> {
    args.sampling.check()?;
    let variables = args.chat_template_kwargs.as_deref().map(variables).transpose()?;
    let template = args.chat_template.as_deref().map(read_template).transpose()?;
    let loading = args.quantization.loading(args.dtype.as_deref());
    let local = local_model(&args.model, quiet)?;
    let adapters = args.adapter.iter().map(|adapter| local_model(adapter, quiet));
    let adapters = adapters.collect::<anyhow::Result<Vec<_>>>()?;
    let read = if adapters.is_empty() {
        load_language_model(&local, loading)
    } else {
        load_with_adapters(&local, &adapters, loading)
    };
    let mut model = read.map_err(|error| in_model(&args.model, error))?;
    if let Some(template) = template {
        model.set_chat_template(template);
    }
    let options = args.sampling.resolve(&model, args.json, args.batch_size as usize)?;
    let render = rappel_data::RenderOptions {
        variables: variables.unwrap_or_default(),
        ..Default::default()
    };
    if args.chat {
        return chat::run(&model, &options, &render, args.system.as_deref());
    }
    if let Some(path) = &args.prompts {
        return prompts::run(&model, &options, &render, path, args);
    }
    one(&model, &options, args)
}

/// Continues the prompt of the command line.
fn one(model: &Pretrained, options: &TextOptions, args: &Args) -> anyhow::Result<ExitCode> {
    let ids = model.prompt_ids(&args.prompt)?;
    let prompts = several(&ids, options.tokens.sampling.seed, args.num_return_sequences);
    if args.json || prompts.len() > 1 {
        let quiet = &mut |_: usize, _: &str| Ok(ControlFlow::Continue(()));
        let (texts, speed) = model.generate_texts(&prompts, options, quiet)?;
        let mut shown = String::new();
        for (n, text) in texts.iter().enumerate() {
            if args.json {
                let record =
                    Record { prompt: Some(&args.prompt), n, text, prompt_tokens: ids.len() };
                writeln!(shown, "{}", record.with_tokens(model, &speed))?;
            } else {
                let between = if n > 0 { "---\n" } else { "" };
                writeln!(shown, "{between}{}{}", args.prompt, text.text)?;
            }
        }
        print(&shown)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut out = stdout().lock();
    // With the first text, for before that the prompt may be refused.
    let mut prompt = Some(args.prompt.as_str());
    let (texts, _) = model.generate_texts(&prompts, options, &mut |_, text| {
        out.write_all(prompt.take().unwrap_or_default().as_bytes())?;
        out.write_all(text.as_bytes())?;
        out.flush()?;
        Ok(ControlFlow::Continue(()))
    })?;
    writeln!(out, "{}", prompt.unwrap_or_default())?;
    note_end(model, texts[0].stop);
    Ok(ExitCode::SUCCESS)
}

/// Prompts of several texts that follow the same tokens.
fn several(ids: &[u32], seed: u64, count: u64) -> Vec<Prompt> {
    (0..count).map(|n| Prompt { ids: ids.to_vec(), seed: seed.wrapping_add(n) }).collect()
}

/// Says why a text ended where that may surprise.
fn note_end(model: &Pretrained, stop: Stop) {
    if stop == Stop::Positions {
        let positions = model.model().config().max_positions();
        say(format_args!(
            "note: it ends here because the model has no more than {positions} positions"
        ));
    }
}

fn read_template(path: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// The variables of `--chat-template-kwargs`.
fn variables(
    json: &str,
) -> anyhow::Result<std::collections::BTreeMap<String, rappel_data::ChatValue>> {
    match serde_json::from_str(json) {
        Ok(variables) => Ok(variables),
        Err(error) => bail!("--chat-template-kwargs: not a JSON object: {error}"),
    }
}
