//! A talk with a model.

use std::io::{IsTerminal, Write, stderr, stdin, stdout};
use std::ops::ControlFlow;
use std::process::ExitCode;

use rappel_data::{Conversation, Message, RenderOptions};
use rappel_model::{Stop, check_prompt};
use rappel_train::{Pretrained, Prompt, TextOptions};

use super::note_end;
use crate::output::say;
use crate::signals::Interrupts;

pub(super) fn run(
    model: &Pretrained,
    options: &TextOptions,
    render: &RenderOptions,
    system: Option<&str>,
) -> anyhow::Result<ExitCode> {
    let mut talk = Conversation::default();
    talk.messages.extend(system.map(|text| Message::new("system", text)));
    // A template that is missing or not valid is told before the first question.
    model.tokenizer().chat_template(None, &talk)?;
    let interrupts = Interrupts::catch()?;
    let by_hand = stdin().is_terminal();
    let mut out = stdout().lock();
    let mut past = None;
    loop {
        if by_hand {
            let _ = stderr().write_all(b"> ");
        }
        let mut line = String::new();
        if stdin().read_line(&mut line)? == 0 {
            break;
        }
        let question = line.trim_end_matches(['\n', '\r']);
        if question.trim().is_empty() {
            continue;
        }
        talk.messages.push(Message::new("user", question));
        let prompt =
            Prompt { ids: model.chat_ids(&talk, render)?, seed: options.tokens.sampling.seed };
        check_prompt(model.model(), &prompt.ids)?;
        let answer = interrupts.during(|interrupted| {
            model.answer(&prompt, options, &mut past, &mut |_, text| {
                out.write_all(text.as_bytes())?;
                out.flush()?;
                Ok(if interrupted() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            })
        });
        let answer = answer?;
        writeln!(out)?;
        match answer.stop {
            Stop::Interrupted => say("note: the answer was ended; Ctrl-C again ends the talk"),
            Stop::MaxNewTokens => {
                let most = options.tokens.max_new_tokens;
                say(format_args!(
                    "note: the answer ends after {most} tokens; see --max-new-tokens"
                ));
            }
            stop => note_end(model, stop),
        }
        talk.messages.push(Message::new("assistant", answer.text.as_str()));
    }
    if by_hand {
        let _ = stderr().write_all(b"\n");
    }
    Ok(ExitCode::SUCCESS)
}
