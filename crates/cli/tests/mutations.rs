//! Files that are almost right: mutated at random, each must end in success or in an error that is
//! told, within bounded time and memory.
//!
//! Every case is a run of the binary in an address space of [`MEMORY`]: what allocates by a number in a
//! file before comparing it with the file dies there, and so do panics and endless loops. A case is a
//! pure function of its seed; `RAPPEL_MUTATIONS=1000000` tries as many of each kind as asked for, and a
//! seed that found something joins [`SAVED`].
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use common::{Place, stderr, testdata};
use rappel_testkit::mutated;
use serde_json::json;

/// Cases of each kind unless the environment says otherwise: all kinds together take half a minute.
const CASES: u64 = 60;

/// Of the address space, in KiB: room for the program and its threads, and for honest files many times.
const MEMORY: &str = "2000000";

/// After so long it is a loop without end, even on a machine that is busy.
const SECONDS: &str = "60";

/// Cases that once found something: the file's kind, and the seed.
const SAVED: &[(&str, u64)] = &[("tiny.toml", 229), ("tiny.toml", 511), ("tiny.toml", 642)];

/// A chat template with what templates have: loops, conditions, filters, slices and refusals.
const TEMPLATE: &str = "{%- set ns = namespace(n=0) -%}
{%- for message in messages[0:64] -%}
{%- if message.role not in ['system', 'user', 'assistant'] -%}{{ raise_exception('role ' ~ message.role) }}{%- endif -%}
{%- for i in range(3) -%}{%- set ns.n = ns.n + 2 * i -%}{%- endfor -%}
{{- '<|' ~ message.role ~ '|>' ~ message.content | trim ~ eos_token * 2 -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ 'answer ' ~ ns.n ~ tools | default([]) | tojson(indent=4) }}{%- endif -%}
";

/// A folder with a small model of text, one of a table, and the files that they read.
fn place() -> Place {
    let place = Place::new();
    let steps = ["--set", "train.steps=6", "--set", "checkpoint.every=4"];
    place.ok(&[&["train", "tiny.toml", "--out", "text"], &steps[..]].concat());
    let row = |i: u32| format!("{},{},{}\n", i % 7, ["red", "green", "blue"][i as usize % 3], i);
    place.write(
        "rows.csv",
        "size,colour,price\n".to_owned() + &(0..60).map(row).collect::<String>(),
    );
    place.write(
        "table.toml",
        "task = 'regression'\n[data]\nfile = 'rows.csv'\ntarget = 'price'\n\
         [model]\nname = 'mlp'\nhidden_sizes = [4]\n[optimizer]\nname = 'adam'\nlr = 0.01\n\
         [train]\nsteps = 3\nbatch_size = 8\n",
    );
    place.ok(&["train", "table.toml", "--out", "table"]);
    for (from, to) in
        [("tabular/snappy.parquet", "rows.parquet"), ("tabular/gzip.parquet", "gzip.parquet")]
    {
        fs::copy(testdata(from), place.at(to)).unwrap();
    }
    fs::copy(testdata("tokenizers/metaspace/tokenizer.json"), place.at("unigram.json")).unwrap();
    place
}

/// Runs the binary with little memory and time.
fn bounded(place: &Place, args: &[&str]) -> Output {
    let script = format!("ulimit -v {MEMORY} && exec timeout {SECONDS} \"$0\" --threads 1 \"$@\"");
    Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_rappel")])
        .args(args)
        .current_dir(place.at(""))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Whether a command ended as commands must; else what it did.
fn fault(output: &Output) -> Option<String> {
    let told = stderr(output);
    let ended = match output.status.code() {
        Some(0) => true,
        Some(1) => told.contains("error: "),
        _ => false,
    };
    let panicked = told.contains("panicked") || told.contains("RUST_BACKTRACE");
    (!ended || panicked).then(|| format!("{}: {told}", output.status))
}

/// Mutates `file` again and again, and runs a command that reads it; `prepare` is called after each
/// mutation. The file is as it was in the end.
fn attack(place: &Place, file: &str, args: &[&str], prepare: &dyn Fn()) {
    let cases = std::env::var("RAPPEL_MUTATIONS").ok();
    let cases = cases.map_or(CASES, |cases| cases.parse().expect("a number of cases"));
    let path = place.at(file);
    let whole = fs::read(&path).unwrap();
    let saved = SAVED.iter().filter(|(of, _)| *of == file).map(|(_, seed)| *seed);
    let mut faults = Vec::new();
    for seed in saved.chain(0..cases) {
        fs::write(&path, mutated(&whole, seed)).unwrap();
        prepare();
        if let Some(fault) = fault(&bounded(place, args)) {
            let kept: PathBuf = [env!("CARGO_TARGET_TMPDIR"), "mutated"].iter().collect();
            fs::copy(&path, &kept).unwrap();
            faults.push(format!("{file}, seed {seed}, kept as {}: {fault}", kept.display()));
        }
    }
    fs::write(&path, whole).unwrap();
    assert!(
        faults.is_empty(),
        "{} cases:\n{}",
        faults.len(),
        faults[..faults.len().min(8)].join("\n")
    );
}

#[test]
fn models_of_text() {
    let place = place();
    place.write("few.txt", "let x1 = 1 + 1;\n");
    let eval = ["eval", "--model", "text/model", "--file", "few.txt"];
    for file in ["tokenizer.json", "tokenizer_config.json", "config.json", "model.safetensors"] {
        attack(&place, &format!("text/model/{file}"), &eval, &|| ());
    }
    // Another kind of vocabulary, which others' code reads.
    let train = ["train", "tiny.toml", "--out", "other", "--set", "data.tokenizer=unigram.json"];
    let short = ["--set", "train.steps=1", "--set", "schedule.warmup_steps=0"];
    let other = place.at("other");
    attack(&place, "unigram.json", &[&train[..], &short].concat(), &|| {
        let _ = fs::remove_dir_all(&other);
    });
}

#[test]
fn models_of_others() {
    let place = place();
    fs::copy(testdata("gguf/smollm.gguf"), place.at("tiny.gguf")).unwrap();
    place.ok(&["convert", "tiny.gguf", "--to", "base"]);
    let generate = |model: &'static str| {
        ["generate", "--model", model, "--prompts", "asked.jsonl", "--max-tokens", "2"]
    };
    place.write("asked.jsonl", "{\"prompt\": \"a\"}\n");
    attack(&place, "tiny.gguf", &["inspect", "tiny.gguf"], &|| ());
    attack(&place, "tiny.gguf", &generate("tiny.gguf"), &|| ());
    for file in ["config.json", "generation_config.json", "model.safetensors"] {
        if !place.at("base").join(file).exists() {
            place.write(
                &format!("base/{file}"),
                "{\"temperature\": 0.7, \"top_k\": 20, \"top_p\": 0.9}",
            );
        }
        attack(&place, &format!("base/{file}"), &generate("base"), &|| ());
    }
    place.write("asked.jsonl", "{\"messages\": [{\"role\": \"user\", \"content\": \"a 12\"}]}\n");
    place.write("base/chat_template.jinja", TEMPLATE);
    attack(&place, "base/chat_template.jinja", &generate("base"), &|| ());
}

#[test]
fn models_of_tables() {
    let place = place();
    let predict = ["predict", "--model", "table/model", "--file", "rows.csv", "--out", "told.csv"];
    for file in ["config.json", "preprocessing.json", "model.safetensors"] {
        attack(&place, &format!("table/model/{file}"), &predict, &|| ());
    }
}

#[test]
fn tables() {
    let place = place();
    let predict = ["predict", "--model", "table/model", "--file", "rows.csv", "--out", "told.csv"];
    attack(&place, "rows.csv", &predict, &|| ());
    for file in ["rows.parquet", "gzip.parquet"] {
        let predict = ["predict", "--model", "table/model", "--file", file, "--out", "told.csv"];
        attack(&place, file, &predict, &|| ());
    }
}

#[test]
fn interactions() {
    let place = place();
    let row = |i: u32| format!("u{}\ti{}\t{}\t{}\n", i % 9, i * 7 % 11, 1 + i % 5, 1000 + i);
    let head = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n".to_owned();
    place.write("taken.inter", head + &(0..60).map(row).collect::<String>());
    let kind = |i: u32| format!("i{i}\t{}\t{}\n", ["red round", "red"][i as usize % 2], i);
    let head = "item_id:token\tkinds:token_seq\tsize:float\n".to_owned();
    place.write("kinds.item", head + &(0..11).map(kind).collect::<String>());
    let shared = "data.on_duplicate = 'skip'\n[optimizer]\nname = 'adam'\nlr = 0.01\n[train]\nsteps = 3\nbatch_size = 8\n";
    let of = |text: &str| text.to_owned() + shared;
    place.write(
        "recommend.toml",
        of("task = 'recommendation'\ndata.file = 'taken.inter'\nmodel = { name = 'sasrec', hidden_size = 4, max_length = 4 }\n"),
    );
    place.write(
        "rate.toml",
        of("task = 'rating'\ndata.file = 'taken.inter'\ndata.item_file = 'kinds.item'\nmodel.name = 'fm'\n"),
    );
    for (config, model, files) in [
        ("recommend.toml", "told", &["config.json", "ids.json", "histories.safetensors"][..]),
        ("rate.toml", "rated", &["config.json", "fields.json", "features.safetensors"]),
    ] {
        place.ok(&["train", config, "--out", model]);
        let predict = ["predict", "--model", model, "--file", "taken.inter", "--out", "told.csv"];
        attack(&place, "taken.inter", &predict, &|| ());
        for file in files {
            attack(&place, &format!("{model}/model/{file}"), &predict, &|| ());
        }
        let train = ["train", config, "--out", "few"];
        let made = place.at("few");
        attack(&place, "taken.inter", &train, &|| {
            let _ = fs::remove_dir_all(&made);
        });
        if config == "rate.toml" {
            attack(&place, "kinds.item", &train, &|| {
                let _ = fs::remove_dir_all(&made);
            });
        }
    }
}

#[test]
fn configs() {
    let place = place();
    attack(&place, "tiny.toml", &["schedule", "tiny.toml"], &|| ());
    attack(&place, "table.toml", &["schedule", "table.toml"], &|| ());
    // Runs of a few small steps, whatever the number of them became.
    for (file, out) in [("tiny.toml", "few"), ("table.toml", "few")] {
        let train = ["train", file, "--out", out];
        let few = ["--set", "train.steps=2", "--set", "train.batch_size=2"];
        let made = place.at(out);
        attack(&place, file, &[&train[..], &few].concat(), &|| {
            let _ = fs::remove_dir_all(&made);
        });
    }
}

#[test]
fn checkpoints() {
    let place = place();
    let step = (0..9).rev().map(|step| format!("text/checkpoints/step-{step}"));
    let step = step.into_iter().find(|step| place.at(step).exists()).unwrap();
    let names = ["params.safetensors", "optimizer.safetensors", "state.json"];
    let folder = place.at(&step);
    let manifest = fs::read(folder.join("manifest.json")).unwrap();
    // One that lists what is there, as of a checkpoint that was made so.
    let agree = || {
        let sum = |name: &&str| {
            let bytes = fs::read(folder.join(name)).unwrap();
            (
                (*name).to_owned(),
                json!({ "bytes": bytes.len(), "blake3": blake3::hash(&bytes).to_hex().as_str() }),
            )
        };
        let files: serde_json::Map<_, _> = names.iter().map(sum).collect();
        fs::write(folder.join("manifest.json"), json!({ "files": files }).to_string()).unwrap();
    };
    for name in names {
        attack(&place, &format!("{step}/{name}"), &["train", "--resume", "text"], &agree);
    }
    fs::write(folder.join("manifest.json"), manifest).unwrap();
    attack(&place, &format!("{step}/manifest.json"), &["train", "--resume", "text"], &|| ());
}
