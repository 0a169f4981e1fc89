//! Texts for the prompts of a file.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};
use rappel_data::{ChatValue, Conversation, RenderOptions};
use rappel_model::check_prompt;
use rappel_train::{Pretrained, Prompt, TextOptions};

use super::record::Record;
use super::{Args, several};
use crate::output::print;

/// Prompts that are sorted by length at a time, in batches: more find more of their own length, and their texts are
/// printed later.
const WINDOW: usize = 32;

pub(super) fn run(
    model: &Pretrained,
    options: &TextOptions,
    render: &RenderOptions,
    path: &Path,
    args: &Args,
) -> anyhow::Result<ExitCode> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut asked = Vec::new();
    // All before anything is computed.
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let found = read(model, render, line);
        asked.push(found.with_context(|| format!("{}, line {}", path.display(), i + 1))?);
    }
    let window = WINDOW * args.batch_size as usize;
    for (w, asked) in asked.chunks(window).enumerate() {
        let prompts: Vec<Prompt> = asked
            .iter()
            .flat_map(|ids| several(ids, options.tokens.sampling.seed, args.num_return_sequences))
            .collect();
        let quiet = &mut |_: usize, _: &str| Ok(ControlFlow::Continue(()));
        let (texts, speed) = model.generate_texts(&prompts, options, quiet)?;
        let mut shown = String::new();
        for (i, text) in texts.iter().enumerate() {
            let (i, n) =
                (i / args.num_return_sequences as usize, i % args.num_return_sequences as usize);
            let record = Record { prompt: None, n, text, prompt_tokens: asked[i].len() };
            let mut object =
                if args.json { record.with_tokens(model, &speed) } else { record.plain().into() };
            object["index"] = (w * window + i).into();
            writeln!(shown, "{object}")?;
        }
        print(&shown)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The tokens of a line's prompt.
fn read(model: &Pretrained, render: &RenderOptions, line: &str) -> anyhow::Result<Vec<u32>> {
    let value: ChatValue =
        serde_json::from_str(line).map_err(|error| anyhow!("not valid JSON: {error}"))?;
    let field = |key: &str| value.get_attr(key).ok().filter(|found| !found.is_undefined());
    let text = match (value.as_str(), field("prompt"), field("messages")) {
        (Some(text), ..) => Some(text.to_owned()),
        (_, Some(_), Some(_)) => bail!("has both `prompt` and `messages`; give one of them"),
        (_, Some(prompt), None) => {
            Some(prompt.as_str().ok_or_else(|| anyhow!("`prompt` is not a text"))?.to_owned())
        }
        (_, None, Some(_)) => None,
        _ => bail!("expected a text, or an object with `prompt` or `messages`"),
    };
    let ids = if let Some(text) = text {
        model.prompt_ids(&text)?
    } else {
        let conversation = Conversation::from_value(&value).map_err(|reason| anyhow!(reason))?;
        model.chat_ids(&conversation, render)?
    };
    check_prompt(model.model(), &ids)?;
    Ok(ids)
}
