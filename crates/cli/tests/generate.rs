//! Texts, conversations and batches of prompts from a tiny model, through the binary.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Stdio};

use common::{Place, stderr};
use serde_json::{Value, json};

const TEMPLATE: &str = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}\
                        {% if add_generation_prompt %}assistant:{{ mood }}{% endif %}";

/// A model of bytes that knows conversations.
fn trained(more: &[&str]) -> Place {
    let place = Place::new();
    let mut args = vec!["train", "tiny.toml", "--out", "run", "--set", "train.steps=40"];
    args.extend(["--set", "sample.max_tokens=0", "--set", "model.n_positions=256"]);
    for setting in more {
        args.extend(["--set", setting]);
    }
    place.ok(&args);
    place.write("run/model/chat_template.jinja", TEMPLATE);
    place
}

fn generate<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["generate", "--model", "run/model"], more].concat()
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A talk over pipes: what it prints and says once its input is over.
fn talk(place: &Place, args: &[&str], input: &str) -> (String, String, Option<i32>) {
    let mut child = place.command(args).stdin(Stdio::piped()).spawn().unwrap();
    // A command that refuses reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    (String::from_utf8(output.stdout.clone()).unwrap(), stderr(&output), output.status.code())
}

#[test]
fn a_record_has_the_text_its_tokens_and_their_probabilities() {
    let place = trained(&[]);
    let args = generate(&["--prompt", "let x", "--max-new-tokens", "12", "--seed", "3"]);
    let text = place.ok(&args);
    let record = place.json(&[&args[..], &["--json"]].concat());
    assert_eq!(format!("let x{}\n", record["text"].as_str().unwrap()), text);
    assert_eq!((&record["prompt"], &record["prompt_tokens"]), (&json!("let x"), &json!(5)));
    assert_eq!((&record["new_tokens"], &record["stop"]), (&json!(12), &json!("max_new_tokens")));
    let tokens = record["tokens"].as_array().unwrap();
    assert_eq!(tokens.len(), 12);
    let bytes: Vec<u8> = tokens.iter().map(|token| token["id"].as_u64().unwrap() as u8).collect();
    assert_eq!(String::from_utf8_lossy(&bytes), record["text"].as_str().unwrap());
    assert!(tokens.iter().all(|token| token["log_prob"].as_f64().unwrap() < 0.0));
    assert!(record["speed"]["new_tokens_per_second"].as_f64().unwrap() > 0.0);
    // The likeliest tokens have the highest log-probabilities, whatever the temperature.
    let greedy = place.json(&generate(&[
        "--prompt",
        "let x",
        "--greedy",
        "--json",
        "--max-new-tokens",
        "1",
    ]));
    let first = |record: &Value| record["tokens"][0]["log_prob"].as_f64().unwrap();
    assert!(first(&greedy) >= first(&record));
}

#[test]
fn weights_are_rounded_to_the_type_that_is_asked_for() {
    let place = trained(&[]);
    let log_prob = |dtype: &[&str]| {
        let args = ["--prompt", "let x", "--greedy", "--json", "--max-new-tokens", "1"];
        let record = place.json(&generate(&[&args[..], dtype].concat()));
        record["tokens"][0]["log_prob"].as_f64().unwrap()
    };
    let [files, single, double, half] =
        [&[][..], &["--dtype", "float32"], &["--dtype", "float64"], &["--dtype", "bfloat16"]]
            .map(log_prob);
    assert_eq!(files, single);
    assert!((double - single).abs() < 1e-5 && double != single, "{double} {single}");
    assert!((half - single).abs() < 0.1 && (half - single).abs() > 1e-5, "{half} {single}");
}

#[test]
fn several_texts_are_those_of_the_seeds_that_follow() {
    let place = trained(&[]);
    let sampling = ["--prompt", "let", "--max-new-tokens", "10", "--temperature", "1.5"];
    let several = ["--num-return-sequences", "3", "--json", "--seed", "5"];
    let records = lines(&place.ok(&generate(&[&sampling[..], &several].concat())));
    assert_eq!(records.len(), 3);
    for (n, record) in records.iter().enumerate() {
        let seed = (5 + n).to_string();
        let alone = place.ok(&generate(&[&sampling[..], &["--seed", &seed]].concat()));
        assert_eq!(format!("let{}\n", record["text"].as_str().unwrap()), alone);
        assert_eq!(record["sample"], n);
    }
    assert_ne!(records[0]["text"], records[1]["text"]);
    let plain = place.ok(&generate(&[&sampling[..], &several[..2], &several[3..]].concat()));
    assert_eq!(plain.matches("\n---\nlet").count(), 2, "{plain}");
}

#[test]
fn prompts_of_a_file_give_the_texts_that_each_gives_alone() {
    let place = trained(&[]);
    let prompts = ["let x1", "let x2 = 5", "let x3", "", "=", "let x4"];
    let mut file: String =
        prompts.iter().map(|prompt| json!({"prompt": prompt}).to_string() + "\n").collect();
    file += "\n\"let x5\"\n";
    file += &(json!({"messages": [{"role": "user", "content": "let"}]}).to_string() + "\n");
    place.write("prompts.jsonl", &file);
    let sampling = ["--max-new-tokens", "9", "--seed", "2", "--repetition-penalty", "1.2"];
    let run = |more: &[&str]| place.ok(&generate(&[&sampling[..], more].concat()));
    let records = lines(&run(&["--prompts", "prompts.jsonl"]));
    assert_eq!(records.len(), 8);
    for (i, prompt) in prompts.into_iter().chain(["let x5"]).enumerate() {
        let text = records[i]["text"].as_str().unwrap();
        assert_eq!(format!("{prompt}{text}\n"), run(&["--prompt", prompt]), "{i}");
        assert_eq!(records[i]["index"], i);
    }
    let (answer, ..) = talk(&place, &generate(&[&sampling[..], &["--chat"]].concat()), "let\n");
    assert_eq!(answer, records[7]["text"].as_str().unwrap().to_owned() + "\n");
    // Whatever is computed together.
    for size in ["1", "3"] {
        assert_eq!(lines(&run(&["--prompts", "prompts.jsonl", "--batch-size", size])), records);
    }
    let whole =
        lines(&run(&["--prompts", "prompts.jsonl", "--json", "--num-return-sequences", "2"]));
    assert_eq!(whole.len(), 16);
    assert_eq!((&whole[2]["text"], &whole[2]["index"]), (&records[1]["text"], &json!(1)));
    assert_eq!(whole[2]["tokens"].as_array().unwrap().len(), 9);
}

#[test]
fn a_wrong_line_of_prompts_is_told_before_anything_is_printed() {
    let place = trained(&[]);
    let long = json!({"prompt": "x".repeat(257)}).to_string();
    for (line, told) in [
        ("{", "not valid JSON"),
        ("3", "expected a text, or an object with `prompt` or `messages`"),
        ("{\"prompt\": 3}", "`prompt` is not a text"),
        ("{\"prompt\": \"x\", \"messages\": []}", "has both `prompt` and `messages`"),
        ("{\"messages\": [{\"content\": \"x\"}]}", "message 1: has no `role`"),
        (&long, "the prompt has 257 tokens, the model positions for 256"),
    ] {
        place.write("prompts.jsonl", format!("\"let\"\n{line}\n"));
        let output = place.rappel(&generate(&["--prompts", "prompts.jsonl"]));
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains("prompts.jsonl, line 2") && error.contains(told), "{error}");
        assert!(output.stdout.is_empty());
    }
    assert!(place.error(&generate(&["--prompts", "none.jsonl"])).contains("none.jsonl"));
}

#[test]
fn a_text_ends_before_a_string_that_ends_it() {
    let place = trained(&[]);
    let greedy = ["--prompt", "let x1", "--greedy", "--max-new-tokens", "40"];
    let whole = place.json(&generate(&[&greedy[..], &["--json"]].concat()));
    let whole = whole["text"].as_str().unwrap();
    // A string over several tokens, and one that never comes but begins like the text.
    let stop = &whole[5..8];
    let at = whole.find(stop).unwrap();
    let stops = ["--stop-strings", "let it be", "--stop-strings", stop];
    let record = place.json(&generate(&[&greedy[..], &stops, &["--json"]].concat()));
    assert_eq!(record["text"], whole[..at]);
    assert_eq!(
        (&record["stop"], record["new_tokens"].as_u64()),
        (&json!("stop_string"), Some(at as u64 + 3))
    );
    let streamed = place.ok(&generate(&[&greedy[..], &stops].concat()));
    assert_eq!(streamed, format!("let x1{}\n", &whole[..at]));
    let held =
        place.ok(&generate(&[&greedy[..], &["--stop-strings", &format!("{whole}!")]].concat()));
    assert_eq!(held, format!("let x1{whole}\n"), "what was held back comes in the end");
    let told = place.error(&generate(&["--stop-strings", ""]));
    assert!(told.contains("--stop-strings"), "{told}");
}

#[test]
fn a_generation_config_gives_the_defaults() {
    let place = trained(&[]);
    let run = |more: &[&str]| place.rappel(&generate(&[&["--prompt", "let x"], more].concat()));
    let text = |more: &[&str]| String::from_utf8(run(more).stdout).unwrap();
    let greedy = text(&["--greedy", "--max-new-tokens", "7"]);
    let drawn =
        text(&["--temperature", "1.7", "--top-k", "9", "--max-new-tokens", "7", "--seed", "4"]);
    assert_ne!(greedy, drawn);
    let write = |config: Value| place.write("run/model/generation_config.json", config.to_string());
    write(json!({"max_new_tokens": 7, "bos_token_id": 1, "transformers_version": "5.24.0"}));
    assert_eq!(text(&[]), greedy);
    assert_eq!(text(&["--temperature", "1.7", "--top-k", "9", "--seed", "4"]), drawn);
    write(json!({"max_new_tokens": 7, "do_sample": true, "temperature": 1.7, "top_k": 9}));
    assert_eq!(text(&["--seed", "4"]), drawn);
    assert_eq!(text(&["--greedy"]), greedy);
    // The first token ends the text now.
    let first = greedy.as_bytes()[5];
    write(json!({"eos_token_id": [first, 3]}));
    let record = place.json(&generate(&["--prompt", "let x", "--json"]));
    assert_eq!((&record["stop"], &record["new_tokens"]), (&json!("eos_token"), &json!(1)));
    write(
        json!({"num_beams": 4, "max_new_tokens": 7, "typical_p": 1.0, "no_repeat_ngram_size": 2}),
    );
    let output = run(&[]);
    let note = "note: generation_config.json has keys that are not followed: no_repeat_ngram_size, num_beams\n";
    assert_eq!((stderr(&output).as_str(), output.status.code()), (note, Some(0)));
    for (wrong, told) in [
        (json!({"temperature": "hot"}), "`temperature` is \"hot\"; it must be a number"),
        (json!({"top_k": -1}), "`top_k` is -1; it must be a whole number"),
        (json!({"top_p": 2.0, "do_sample": true}), "top_p is 2; it must be above 0"),
    ] {
        write(wrong);
        let error = stderr(&run(&[]));
        assert!(error.contains("generation_config.json: ") && error.contains(told), "{error}");
    }
}

#[test]
fn a_talk_remembers_what_was_said() {
    let place = trained(&[]);
    let chat = generate(&["--chat", "--greedy", "--max-new-tokens", "8"]);
    let (text, notes, code) = talk(&place, &chat, "let x1\n\nlet x2\n");
    assert_eq!(code, Some(0), "{notes}");
    let answers: Vec<&str> = text.lines().collect();
    assert!(!text.is_empty() && notes.contains("the answer ends after 8 tokens"), "{text} {notes}");
    // The second answer is that to the whole conversation.
    let (first, _, _) = talk(&place, &chat, "let x1\n");
    assert!(text.starts_with(&first), "{answers:?}");
    let said = first.strip_suffix('\n').unwrap();
    let message = |role: &str, content: &str| json!({"role": role, "content": content});
    let whole = [message("user", "let x1"), message("assistant", said), message("user", "let x2")];
    place.write("whole.jsonl", json!({"messages": whole}).to_string());
    let options = ["--prompts", "whole.jsonl", "--greedy", "--max-new-tokens", "8"];
    let record = place.json(&generate(&options));
    assert_eq!(text, format!("{first}{}\n", record["text"].as_str().unwrap()));
    // A system message and the template's variables are in the prompt, too.
    let system =
        generate(&["--chat", "--greedy", "--max-new-tokens", "8", "--system", "Be short."]);
    let whole = [message("system", "Be short."), message("user", "let x1")];
    place.write("whole.jsonl", json!({"messages": whole}).to_string());
    let record = place.json(&generate(&options));
    assert_eq!(
        talk(&place, &system, "let x1\n").0,
        record["text"].as_str().unwrap().to_owned() + "\n"
    );
    let tokens = |more: &[&str]| {
        let mut object = place.json(&generate(&[&options[..], more].concat()));
        object["prompt_tokens"].take().as_u64().unwrap()
    };
    assert_eq!(tokens(&["--chat-template-kwargs", "{\"mood\": \"!!!\"}"]), tokens(&[]) + 3);
}

#[test]
fn conversations_that_cannot_be_written_are_told_before_anything_runs() {
    let place = trained(&[]);
    let chat = generate(&["--chat", "--chat-template", "other.jinja"]);
    let told = |template: &str| {
        place.write("other.jinja", template);
        let (text, told, code) = talk(&place, &chat, "let\n");
        assert_eq!((text.as_str(), code), ("", Some(1)), "{told}");
        told
    };
    assert!(
        told("{{ raise_exception('No users.') }}")
            .contains("refuses the conversation in line 1: No users.")
    );
    assert!(told("{% for m in %}").contains("syntax error"));
    let endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    assert!(told(endless).contains("does not end"));
    let deep = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
    assert!(told(deep).contains("recursion"));
    assert!(told("{{ bos_token }}{{ bos_token }}x").contains("begins with `<|endoftext|>` twice"));
    let variables = generate(&["--chat", "--chat-template-kwargs", "[1]"]);
    assert!(talk(&place, &variables, "").1.contains("--chat-template-kwargs: not a JSON object"));
    std::fs::remove_file(place.at("run/model/chat_template.jinja")).unwrap();
    let (_, told, code) = talk(&place, &generate(&["--chat"]), "let\n");
    assert!(
        code == Some(1) && told.contains("there is none: it is a model that continues texts"),
        "{told}"
    );
}

#[test]
fn models_that_write_no_text_are_told() {
    let place = Place::new();
    place.write("rows.csv", "x,y\n1,2\n2,4\n3,6\n4,8\n5,10\n6,12\n7,14\n8,16\n9,18\n10,20\n");
    place.write(
        "t.toml",
        "task = \"regression\"\n[data]\nfile = \"rows.csv\"\ntarget = \"y\"\n[model]\nname = \"linear\"\n[optimizer]\nname = \"sgd\"\n[train]\nsteps = 2\n",
    );
    let trained = place.rappel(&["train", "t.toml", "--out", "t"]);
    assert!(trained.status.success(), "{}", stderr(&trained));
    let told = place.error(&["generate", "--model", "t/model"]);
    assert!(told.contains("it cannot generate text; give a language model"), "{told}");
}

#[cfg(unix)]
fn spawn_talk(place: &Place) -> (Child, BufReader<std::process::ChildStdout>) {
    let chat = generate(&["--chat", "--greedy", "--max-new-tokens", "30000"]);
    let mut child = place.command(&chat).stdin(Stdio::piped()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

#[cfg(unix)]
#[test]
fn one_interrupt_ends_the_answer_and_the_next_one_the_talk() {
    let place = trained(&["model.n_positions=40000", "train.steps=6"]);
    // A model of six steps repeats its likeliest token, which does not end the text.
    let (mut child, mut out) = spawn_talk(&place);
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"let\n").unwrap();
    let mut some = [0; 4];
    out.read_exact(&mut some).unwrap();
    common::signal("-INT", child.id());
    let mut rest = Vec::new();
    out.read_until(b'\n', &mut rest).unwrap();
    let mut notes = BufReader::new(child.stderr.take().unwrap());
    let mut note = String::new();
    while !note.contains("the answer was ended") {
        assert!(notes.read_line(&mut note).unwrap() > 0, "{note}");
    }
    // The talk continues.
    stdin.write_all(b"x\n").unwrap();
    out.read_exact(&mut some).unwrap();
    common::signal("-INT", child.id());
    while note.matches("the answer was ended").count() < 2 {
        assert!(notes.read_line(&mut note).unwrap() > 0, "{note}");
    }
    common::signal("-INT", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
