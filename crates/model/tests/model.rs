//! What the golden file does not show: caches, documents, dropout, initial values, bad sizes.

mod common;

use common::small;
use rappel_model::{
    ARCHITECTURES, Documents, GenerateError, GenerateOptions, Gpt2Config, ModelConfig, Sampling,
    Stop, generate, generate_after, generate_together,
};
use rappel_nn::Forward;
use rappel_tensor::{DType, Key, Params, Tensor};
use rappel_testkit::assert_close;

const IDS: [i64; 10] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 22];

#[test]
fn decoding_in_any_pieces_equals_the_whole_pass() {
    let config = small().with_dtype(DType::F64);
    let mut params = Params::with_dtype(1, DType::F64);
    let model = config.build(&mut params);
    let ids = Tensor::from_slice(&IDS, [2, 5]);
    let whole = model.logits(&ids);
    let mut cache = model.new_cache(2, 5);
    for pieces in [vec![5], vec![1; 5], vec![2, 1, 2], vec![3, 2]] {
        cache.clear();
        assert!(cache.is_empty());
        for new in pieces {
            let at = cache.len();
            let got = model.decode(&ids.narrow(1, at, new), &mut cache);
            let want = whole.narrow(1, at + new - 1, 1).squeeze(1);
            assert_eq!(*got.shape(), [2, 23]);
            assert_close(&got.to_f64_vec(), &want.to_f64_vec(), 1e-12, "logits");
        }
        assert_eq!((cache.len(), cache.positions()), (5, 5));
    }
}

#[test]
#[should_panic(expected = "cache: room for 3 tokens, not 4")]
fn a_full_cache_says_so() {
    let mut params = Params::new(1);
    let model = small().build(&mut params);
    model.decode(&Tensor::from_slice(&IDS[..4], [1, 4]), &mut model.new_cache(1, 3));
}

#[test]
fn documents_do_not_see_each_other() {
    let config = small().with_dtype(DType::F64);
    let mut params = Params::with_dtype(1, DType::F64);
    let model = config.build(&mut params);
    let numbers = Tensor::from_slice(&[7_i64, 7, 7, 8, 8, 8], [1, 6]);
    let documents = Documents { ids: numbers, positions: None };
    let second = |first: [i64; 3], documents: Option<&Documents>| {
        let ids = Tensor::from_slice(&[&first[..], &[5, 9, 2]].concat(), [1, 6]);
        model.hidden(&ids, documents, &Forward::evaluation()).narrow(1, 3, 3).to_vec::<f64>()
    };
    assert_eq!(second([3, 1, 4], Some(&documents)), second([8, 8, 8], Some(&documents)));
    assert_ne!(second([3, 1, 4], None), second([8, 8, 8], None));
    // With positions of its own a document is what it is alone.
    let positions = Some(Tensor::from_slice(&[0_i64, 1, 2, 0, 1, 2], [1, 6]));
    let restarted = second([3, 1, 4], Some(&Documents { positions, ..documents }));
    let alone = Tensor::from_slice(&[5_i64, 9, 2], [1, 3]);
    let alone = model.hidden(&alone, None, &Forward::evaluation()).to_vec::<f64>();
    rappel_testkit::assert_close(&restarted, &alone, 1e-12, "alone");
}

#[test]
fn each_dropout_acts_in_training_alone_and_repeats() {
    let ids = Tensor::from_slice(&IDS, [1, 10]);
    let set: [fn(&mut Gpt2Config); 3] =
        [|c| c.resid_pdrop = 0.5, |c| c.embd_pdrop = 0.5, |c| c.attn_pdrop = 0.5];
    for set in set {
        let mut config = small();
        set(&mut config);
        let mut params = Params::new(1);
        let model = config.build(&mut params);
        let hidden = |forward: &Forward| model.hidden(&ids, None, forward).to_vec::<f32>();
        let (one, other) = (Forward::training(Key::new(1)), Forward::training(Key::new(2)));
        let evaluation = hidden(&Forward::evaluation());
        assert_eq!(hidden(&one), hidden(&one));
        assert_ne!(hidden(&one), hidden(&other));
        assert_ne!(hidden(&one), evaluation);
        let same = Gpt2Config { resid_pdrop: 0.0, embd_pdrop: 0.0, attn_pdrop: 0.0, ..config };
        let mut params = Params::new(1);
        let model = same.build(&mut params);
        assert_eq!(model.hidden(&ids, None, &one).to_vec::<f32>(), evaluation);
    }
}

#[test]
fn initial_values_are_those_of_gpt2() {
    let config = Gpt2Config { n_embd: 64, vocab_size: 500, initializer_range: 0.02, ..small() };
    let mut params = Params::new(7);
    config.build(&mut params);
    for (name, tensor) in params.tensors() {
        let x = tensor.to_f64_vec();
        let mean = x.iter().sum::<f64>() / x.len() as f64;
        let std = (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt();
        let norm = name.contains(".ln_");
        let (want_mean, want_std) = match () {
            () if name.ends_with("bias") => (0.0, 0.0),
            () if norm => (1.0, 0.0),
            () if name.ends_with("c_proj.weight") => (0.0, 0.02 / 2.0),
            () => (0.0, 0.02),
        };
        assert!((mean - want_mean).abs() <= 0.08 * want_std, "{name}: mean {mean}");
        assert!((std - want_std).abs() <= 0.08 * want_std, "{name}: deviation {std}");
    }
}

#[test]
fn counts_are_those_of_the_parameters() {
    for tie_word_embeddings in [true, false] {
        for n_inner in [None, Some(7)] {
            let config = Gpt2Config { tie_word_embeddings, n_inner, ..small() };
            let mut params = Params::new(0);
            config.build(&mut params);
            assert_eq!(config.parameter_count(), params.count() as u64);
            assert_eq!(params.get("lm_head.weight").is_some(), !tie_word_embeddings);
        }
    }
    // As transformers counts the released model.
    assert_eq!(Gpt2Config::default().parameter_count(), 124_439_808);
    // 6 (12 * 12 * 768^2 + 50257 * 768) + 12 * 6 * 1025 * 768.
    assert_eq!(Gpt2Config::default().flops_per_token(1024), 741_192_192 + 56_678_400);
}

fn configure(text: &str, tokens: Option<usize>) -> Result<Box<dyn ModelConfig>, String> {
    let table = toml::from_str(&format!("name = 'gpt2'\n{text}")).unwrap();
    let (entry, options) = ARCHITECTURES.resolve("model", &table).map_err(|e| e.to_string())?;
    (entry.build.configure)(&options, tokens).map_err(|e| e.to_string())
}

#[test]
fn sizes_that_cannot_be_are_refused_before_anything_is_made() {
    let cases = [
        (
            "n_head = 5",
            "config key `model.n_embd`: 768 does not split evenly into n_head = 5 heads; make it a multiple",
        ),
        (
            "n_layer = 0",
            "config key `model.n_layer`: 0 is out of range; expected integer in [1, 1000]",
        ),
        (
            "resid_pdrop = 1.0",
            "config key `model.resid_pdrop`: 1.0 is out of range; expected float in [0, 1)",
        ),
        (
            "n_embd = 4294967296\nn_head = 1",
            "config key `model.n_embd`: these sizes make 2656331153889850032128 parameters, at most 1099511627776 are supported; make them smaller",
        ),
        (
            "vocab_size = 300",
            "config key `model.vocab_size`: 300 is less than the tokenizer's 512 tokens; leave it out or raise it",
        ),
        (
            "activation_function = 'gelu_fast'",
            "config key `model.activation_function`: \"gelu_fast\" is out of range; expected \"gelu_new\" | \"gelu_pytorch_tanh\" | \"gelu\" | \"relu\" | \"silu\" | \"swish\" | \"tanh\"",
        ),
        ("hidden_size = 3", "config key `model.hidden_size`: unknown; did you mean `n_embd`?"),
    ];
    for (text, want) in cases {
        let got = configure(text, Some(512)).unwrap_err();
        assert!(got.starts_with(want), "{got}\nwanted\n{want}");
    }
}

#[test]
fn dropout_stands_for_the_three_and_the_tokenizer_gives_the_vocabulary() {
    let config = configure("dropout = 0.3\nembd_pdrop = 0.0\nn_inner = 9", Some(512)).unwrap();
    let json = config.to_json();
    let number = |key: &str| json[key].as_f64().unwrap();
    assert_eq!(["resid_pdrop", "embd_pdrop", "attn_pdrop"].map(number), [0.3, 0.0, 0.3]);
    assert_eq!((config.vocab_size(), number("n_inner")), (512, 9.0));
    assert_eq!(configure("vocab_size = 600", Some(512)).unwrap().vocab_size(), 600);
}

#[test]
fn the_defaults_of_the_options_are_those_of_the_struct() {
    assert_eq!(configure("", None).unwrap().to_json(), Gpt2Config::default().to_json());
}

#[test]
fn generation_stops_where_it_says() {
    let mut params = Params::new(1);
    let model = small().build(&mut params);
    let run = |prompt: &[u32], options: GenerateOptions| {
        let mut tokens = generate(&*model, prompt, options).unwrap();
        let text: Vec<u32> = tokens.by_ref().map(Result::unwrap).collect();
        assert!(tokens.next().is_none(), "it stays ended");
        (text, tokens.stopped().unwrap())
    };
    let random = Sampling::random(4);
    let options = |n| GenerateOptions { max_new_tokens: n, sampling: random, ..Default::default() };
    let (four, stop) = run(&[3, 1, 4], options(4));
    assert_eq!((four.len(), stop), (4, Stop::MaxNewTokens));
    // Twelve positions: nine are left to read at, and the last token needs none.
    let (all, stop) = run(&[3, 1, 4], options(100));
    assert_eq!((all.len(), stop), (10, Stop::Positions));
    assert_eq!(all[..4], four, "longer runs begin as shorter ones");
    let at = all.iter().position(|token| *token == all[5]).unwrap();
    let until = GenerateOptions { eos_token_id: vec![all[5]], ..options(100) };
    assert_eq!(run(&[3, 1, 4], until), (all[..=at].to_vec(), Stop::EndOfText));
    assert_eq!(run(&[3, 1, 4], options(0)), (vec![], Stop::MaxNewTokens));
    let other = Sampling::random(5);
    assert_ne!(run(&[3, 1, 4], GenerateOptions { sampling: other, ..options(100) }).0, all);
}

#[test]
fn a_batch_gives_each_prompt_the_tokens_that_it_has_alone() {
    let mut params = Params::new(1);
    let model = small().build(&mut params);
    let sampling = Sampling { repetition_penalty: 1.3, ..Sampling::random(0) };
    let options = GenerateOptions { max_new_tokens: 6, sampling, ..Default::default() };
    let alone = |prompt: &[u32], seed, eos: &[u32]| {
        let sampling = Sampling { seed, ..sampling };
        let options = GenerateOptions { sampling, eos_token_id: eos.to_vec(), ..options.clone() };
        let mut tokens = generate(&*model, prompt, options).unwrap();
        let text: Vec<u32> = tokens.by_ref().map(Result::unwrap).collect();
        (text, tokens.stopped().unwrap())
    };
    let prompts: [(&[u32], u64); 3] = [(&[3, 1, 4], 7), (&[3, 1, 4], 8), (&[2, 2, 9], 7)];
    // The first ends early; the others continue.
    let eos = vec![alone(prompts[0].0, 7, &[]).0[1]];
    let options = GenerateOptions { eos_token_id: eos.clone(), log_probs: true, ..options.clone() };
    let mut together = generate_together(&*model, &prompts, options).unwrap();
    let mut texts = [const { Vec::new() }; 3];
    while let Some(step) = together.next() {
        for (text, chosen) in texts.iter_mut().zip(step.unwrap()) {
            text.extend(chosen);
        }
    }
    for (row, (prompt, seed)) in prompts.iter().enumerate() {
        let ids: Vec<u32> = texts[row].iter().map(|chosen| chosen.id).collect();
        assert_eq!((ids, together.stopped(row).unwrap()), alone(prompt, *seed, &eos), "{row}");
    }
    assert_eq!(texts[0].len(), 2);
    // Log-probabilities are the model's own.
    let ids: Vec<i64> = prompts[2].0.iter().map(|id| i64::from(*id)).collect();
    let logits = model.logits(&Tensor::from_slice(&ids, [1, 3])).to_f64_vec();
    let last = &logits[logits.len() - 23..];
    let sum: f64 = last.iter().map(|logit| logit.exp()).sum();
    let first = texts[2][0];
    assert!((first.log_prob - (last[first.id as usize] - sum.ln())).abs() < 1e-6);
}

#[test]
fn a_talk_reads_what_is_new_and_goes_on_as_if_it_had_read_all() {
    let mut params = Params::new(1);
    let model = small().build(&mut params);
    let sampling = Sampling { repetition_penalty: 1.3, ..Sampling::random(3) };
    let options = GenerateOptions { max_new_tokens: 2, sampling, ..Default::default() };
    // Another turn that goes on, one that begins anew after a token, the same again, and a larger one.
    let turns: [&[u32]; 5] =
        [&[3, 1, 4], &[3, 1, 4, 9, 7], &[3, 2], &[3, 2], &[3, 2, 8, 8, 8, 8, 8, 5]];
    let mut past = None;
    let mut read = Vec::new();
    for prompt in turns {
        let mut after = generate_after(&*model, past, prompt, options.clone()).unwrap();
        read.push(after.unread());
        let mut text = Vec::new();
        while let Some(step) = after.next() {
            text.extend(step.unwrap()[0].map(|chosen| chosen.id));
        }
        let alone = generate(&*model, prompt, options.clone()).unwrap();
        assert_eq!(text, alone.map(Result::unwrap).collect::<Vec<u32>>(), "{prompt:?}");
        past = Some(after.into_past());
    }
    // The answer's first token was read, too, where the next prompt does not go on with it.
    assert_eq!(read, [3, 2, 1, 1, 6]);
}

#[test]
fn prompts_that_cannot_be_are_refused() {
    let mut params = Params::new(1);
    let model = small().build(&mut params);
    let text = |prompt: &[u32]| {
        generate(&*model, prompt, GenerateOptions::default()).err().unwrap().to_string()
    };
    assert_eq!(text(&[]), "the prompt has no tokens; give at least one");
    let long = "the prompt has 13 tokens, the model positions for 12; shorten it to at most 12";
    assert_eq!(text(&[1; 13]), long);
    assert_eq!(text(&[1, 23]), "token 23 of the prompt is outside the model's vocabulary of 23");
    let hot = Sampling { temperature: -1.0, ..Sampling::random(0) };
    let options = GenerateOptions { sampling: hot, ..GenerateOptions::default() };
    assert!(matches!(generate(&*model, &[1], options), Err(GenerateError::Sampling(_))));
}

#[test]
fn weights_that_are_not_finite_end_the_text_with_an_error() {
    let mut params = Params::new(1);
    let model = small().build(&mut params);
    let index = params.get("transformer.ln_f.bias").unwrap().index();
    let spoil = |arenas: &mut rappel_tensor::Arenas<'_>| {
        let range = arenas.layout().entries()[index].range();
        arenas.all::<f32>()[range][0] = f32::NAN;
    };
    params.update(spoil).unwrap();
    let mut tokens = generate(&*model, &[1, 2], GenerateOptions::default()).unwrap();
    let error = tokens.next().unwrap().unwrap_err().to_string();
    let want = "the model gives NaN for token 0 after 2 tokens: its weights are not sound";
    assert_eq!(error, want);
    assert!(tokens.next().is_none());
}
