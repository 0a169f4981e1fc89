//! `rappel cache`.

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::Context;
use rappel_data::{CachedText, TokenCache};
use serde_json::json;

use crate::output::print;

/// Show the cache of tokenized texts, or clear it
///
/// Large texts are tokenized once: their tokens are kept in $RAPPEL_CACHE, or in rappel in $XDG_CACHE_HOME or ~/.cache, by
/// the content of the text and the tokenizer, and a later run or a resume reads them. `--set data.cache=false` keeps none.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  rappel cache
  rappel cache --clear")]
pub struct Args {
    /// Remove everything in the cache
    #[arg(long)]
    clear: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let cache = TokenCache::of_user().context("no home folder; set RAPPEL_CACHE to a folder")?;
    let (folder, entries) = (cache.folder().display(), cache.entries()?);
    let bytes: u64 = entries.iter().map(|entry| entry.bytes).sum();
    if args.clear {
        cache.clear()?;
    }
    let text = if args.json {
        let entries = entries.iter().map(|entry| {
            json!({
                "path": entry.path, "bytes": entry.bytes, "tokens": entry.tokens, "text_bytes": entry.text_bytes,
                "tokenizer": entry.tokenizer, "seconds_since_use": seconds_since(entry.used),
            })
        });
        let entries: Vec<_> = entries.collect();
        format!(
            "{}\n",
            json!({ "folder": cache.folder(), "bytes": bytes, "cleared": args.clear, "entries": entries })
        )
    } else if args.clear {
        format!("removed {} of {} from {folder}\n", megabytes(bytes), texts(entries.len()))
    } else {
        let line = |entry: &CachedText| {
            let name = entry.path.file_name().unwrap_or_default().to_string_lossy();
            format!(
                "  {name:.12}  {:>10}  {} tokens of {} of text, tokenizer {}, used {} days ago\n",
                megabytes(entry.bytes),
                entry.tokens,
                megabytes(entry.text_bytes),
                entry.tokenizer,
                seconds_since(entry.used) / 86_400,
            )
        };
        let lines: String = entries.iter().map(line).collect();
        format!("{folder}: {}, {}\n{lines}", texts(entries.len()), megabytes(bytes))
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

fn texts(count: usize) -> String {
    if count == 1 { "1 text".to_owned() } else { format!("{count} texts") }
}

fn seconds_since(time: SystemTime) -> u64 {
    time.elapsed().map_or(0, |elapsed| elapsed.as_secs())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
