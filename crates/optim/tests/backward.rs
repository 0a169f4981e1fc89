//! Steps within the backward pass against steps after it.

use rappel_config::Family;
use rappel_optim::{
    AdaLomo, AdamW, Lamb, Lbfgs, Lomo, Lookahead, Muon, OPTIMIZERS, OptimError, Optimizer,
    OptimizerConfig, ParamGroup, Prodigy, Sam, Sgd, StateDtype, Wrappers,
};
use rappel_schedule::{Horizon, constant};
use rappel_tensor::{DType, Init, Key, Param, Params, Tensor, checkpoint};
use toml::Table;

/// More than a piece of a walk, matrices of one shape, vectors, a scalar, an empty one.
const SHAPES: &[&[usize]] = &[&[300, 200], &[64, 48], &[64, 48], &[70], &[], &[0, 3]];

fn model(shapes: &[&[usize]], dtype: DType) -> (Params, Vec<Param>) {
    let mut params = Params::with_dtype(3, dtype);
    let mut scope = params.scope("net");
    let mut add = |(i, shape): (usize, &&[usize])| {
        scope.add(&format!("p{i}"), *shape, Init::Normal { std: 0.5 })
    };
    let all = shapes.iter().enumerate().map(&mut add).collect();
    (params, all)
}

/// Every parameter is read twice; the gradients change from step to step.
fn loss(all: &[Param], step: u64) -> Tensor {
    let term = |(i, p): (usize, &Param)| {
        let key = Key::new(9).with(step).with(i as u64);
        let weights = Tensor::randn(p.shape(), DType::F32, key).to_dtype(p.tensor().dtype());
        ((p.tensor().square() * &weights).sum() + (p.tensor() * weights).sum()).to_dtype(DType::F32)
    };
    let terms: Vec<Tensor> = all.iter().enumerate().map(term).collect();
    terms.into_iter().reduce(|sum, term| sum + term).unwrap()
}

/// The bits of all parameters, and of all state.
fn bits(params: &Params, optimizer: &Optimizer) -> Vec<(String, Vec<u64>)> {
    let tensors = params.tensors().into_iter().chain(optimizer.state_tensors());
    tensors
        .map(|(name, tensor)| (name, tensor.to_f64_vec().into_iter().map(f64::to_bits).collect()))
        .collect()
}

/// Eight steps each way end on the same bits.
fn check(what: &str, shapes: &[&[usize]], dtype: DType, config: &dyn Fn() -> OptimizerConfig) {
    let (mut params, all) = model(shapes, dtype);
    let (mut others, all_others) = model(shapes, dtype);
    let start = params.tensors()[0].1.to_f64_vec();
    let mut after = Optimizer::new(config(), &params).unwrap();
    let mut within = Optimizer::new(config(), &others).unwrap();
    for step in 0..8 {
        let value = loss(&all, step);
        let report = after.step(step, &mut params, &value.backward()).unwrap();
        let report_within =
            within.step_backward(step, &mut others, loss(&all_others, step)).unwrap();
        let with_loss = rappel_optim::StepReport { loss: Some(value.item()), ..report };
        assert_eq!(report_within, with_loss, "{what}, step {step}");
    }
    let (want, found) = (bits(&params, &after), bits(&others, &within));
    for ((name, want), (_, found)) in want.iter().zip(&found) {
        assert!(want == found, "{what}: `{name}` differs");
    }
    assert!(params.tensors()[0].1.to_f64_vec() != start, "{what} moved nothing");
}

/// Rules that add up numbers over tensors.
const TWO_WALKS: &[&str] =
    &["dadapt_adam", "dadapt_sgd", "lamb", "lars", "lbfgs", "mars", "prodigy", "stable_adamw"];

#[test]
fn every_rule_gives_the_same_bits_or_says_why_not() {
    for info in OPTIMIZERS.infos() {
        let config = || {
            let given = Table::from_iter([("name".to_owned(), info.name.into())]);
            let options = OPTIMIZERS.resolve_options("optimizer", &given).unwrap();
            OptimizerConfig::from_section(&options, Horizon { steps: 10 }, constant(1.0)).unwrap()
        };
        let (mut params, all) = model(SHAPES, DType::F32);
        let shapes = match Optimizer::new(config(), &params) {
            Err(OptimError::Refused { .. }) => &SHAPES[..3],
            Err(error) => panic!("{}: {error}", info.name),
            Ok(mut optimizer) if TWO_WALKS.contains(&info.name) => {
                let refused = optimizer.step_backward(0, &mut params, loss(&all, 0));
                let refused = matches!(refused, Err(OptimError::NeedsAllGradients { .. }));
                assert!(refused, "{}", info.name);
                continue;
            }
            Ok(_) => SHAPES,
        };
        check(info.name, shapes, DType::F32, &config);
    }
}

#[test]
fn precision_modifiers_and_groups_change_nothing() {
    let adamw = || ParamGroup::from(AdamW { lr: 0.01.into(), ..Default::default() });
    let lookahead = Some(Lookahead { k: 2, alpha: 0.5 });
    let around = Wrappers {
        l1: 0.01.into(),
        l1_proximal: 0.01.into(),
        cautious: true,
        gradient_centralization: true,
        lookahead,
        ..Default::default()
    };
    let plain = |what: &str, dtype: DType, plan: &dyn Fn() -> ParamGroup| {
        check(what, SHAPES, dtype, &|| OptimizerConfig::new(plan()));
    };
    plain("f64", DType::F64, &adamw);
    plain("bf16", DType::BF16, &adamw);
    plain("master", DType::BF16, &|| adamw().master_weights());
    plain("bf16 state", DType::F32, &|| {
        adamw().state_dtype(StateDtype::Bf16).stochastic_rounding()
    });
    // A single number has no block.
    check("8bit", &SHAPES[..4], DType::F32, &|| {
        OptimizerConfig::new(adamw().state_dtype(StateDtype::Block8 { from: 4096 }))
    });
    check("8bit, rounded at random", &SHAPES[..4], DType::F32, &|| {
        OptimizerConfig::new(
            adamw().state_dtype(StateDtype::Block8 { from: 64 }).stochastic_rounding(),
        )
    });
    plain("wrappers", DType::F32, &|| adamw().wrappers(around.clone()));
    plain("wrappers of bf16", DType::BF16, &|| adamw().wrappers(around.clone()));
    check("groups", SHAPES, DType::F32, &|| {
        OptimizerConfig::new(Sgd { momentum: 0.9.into(), ..Default::default() })
            .group(["net.p0"], AdaLomo::default())
            .group(["net.p1", "net.p2"], Muon::default())
            .clip_value(0.5)
            .schedule(0.5)
    });
    check("unchecked", SHAPES, DType::F32, &|| OptimizerConfig::new(Lomo::default()).unchecked());
}

/// `b` is read last by an operation that no gradient of it comes from: its update waits for that.
#[test]
fn no_operation_reads_a_value_of_the_next_step() {
    let (mut params, all) = model(&[&[8, 8], &[8, 8]], DType::F64);
    let (mut others, all_others) = model(&[&[8, 8], &[8, 8]], DType::F64);
    let detached = |all: &[Param]| {
        let [a, b] = all else { panic!("two") };
        let hidden = a.tensor() * b.tensor().detach();
        let (c, d) = (a.clone(), b.clone());
        // A block that is run again reads both once more.
        let again = checkpoint(&[&hidden], move |x| (&x[0] * c.tensor()) + d.tensor().exp());
        (again * b.tensor()).square().mean()
    };
    let config = || Lomo { lr: 0.1.into(), ..Default::default() };
    let mut after = Optimizer::new(config(), &params).unwrap();
    let mut within = Optimizer::new(config(), &others).unwrap();
    for step in 0..5 {
        after.step(step, &mut params, &detached(&all).backward()).unwrap();
        within.step_backward(step, &mut others, detached(&all_others)).unwrap();
        assert_eq!(bits(&params, &after), bits(&others, &within), "step {step}");
    }
}

#[test]
fn what_needs_all_gradients_is_refused_before_anything_changes() {
    let sam =
        Wrappers { sam: Some(Sam { rho: 0.1.into(), adaptive: false }), ..Default::default() };
    let cases: [(&str, DType, OptimizerConfig); 7] = [
        ("norm of all", DType::F32, OptimizerConfig::new(Lomo::default()).max_grad_norm(1.0)),
        ("several times", DType::F32, OptimizerConfig::new(Lbfgs::default())),
        ("over all parameters", DType::F32, OptimizerConfig::new(Prodigy::default())),
        ("over tensors", DType::F32, OptimizerConfig::new(Lamb::default())),
        (
            "two places",
            DType::F32,
            OptimizerConfig::new(ParamGroup::from(Lomo::default()).wrappers(sam)),
        ),
        (
            "at random",
            DType::BF16,
            OptimizerConfig::new(ParamGroup::from(Lomo::default()).stochastic_rounding()),
        ),
        (
            "master copies together",
            DType::BF16,
            OptimizerConfig::new(
                ParamGroup::from(AdamW::default())
                    .master_weights()
                    .wrappers(Wrappers { cautious: true, ..Default::default() }),
            ),
        ),
    ];
    for (what, dtype, config) in cases {
        let (mut params, all) = model(SHAPES, dtype);
        let mut optimizer = Optimizer::new(config, &params).unwrap();
        let before = bits(&params, &optimizer);
        let error = optimizer.step_backward(0, &mut params, loss(&all, 0)).unwrap_err();
        assert!(matches!(error, OptimError::NeedsAllGradients { .. }), "{what}: {error}");
        assert!(error.to_string().contains(what), "{what}: {error}");
        assert_eq!(bits(&params, &optimizer), before, "{what}");
    }
}

#[test]
fn losses_that_will_not_do_change_nothing() {
    let (mut params, all) = model(&[&[4], &[4]], DType::F32);
    let mut lomo = Optimizer::new(Lomo::default(), &params).unwrap();
    let before = bits(&params, &lomo);
    let infinite = loss(&all, 0) * f64::INFINITY;
    let error = lomo.step_backward(0, &mut params, infinite).unwrap_err();
    assert!(matches!(error, OptimError::NonFiniteLoss { .. }), "{error}");
    let error = lomo.step_backward(0, &mut params, loss(&all[..1], 0)).unwrap_err();
    let OptimError::MissingGradient { name, others: 0 } = &error else { panic!("{error}") };
    assert_eq!(name, "net.p1");
    let (mut strangers, strange) = model(&[&[4], &[4]], DType::F32);
    let error = lomo.step_backward(0, &mut strangers, loss(&strange, 0)).unwrap_err();
    assert!(matches!(error, OptimError::OtherParams), "{error}");
    assert_eq!(bits(&params, &lomo), before);
    let mut allowing =
        Optimizer::new(OptimizerConfig::new(Lomo::default()).allow_missing(), &params).unwrap();
    allowing.step_backward(0, &mut params, loss(&all[..1], 0)).unwrap();
    let after = bits(&params, &allowing);
    assert_ne!(after[0], before[0]);
    assert_eq!(after[1], before[1]);
}

#[test]
fn a_step_that_cannot_be_finished_says_how_far_it_came() {
    let (mut params, all) = model(&[&[4], &[4]], DType::F32);
    let mut lomo = Optimizer::new(Lomo::default(), &params).unwrap();
    let held = all[0].tensor();
    let error = lomo.step_backward(7, &mut params, loss(&all, 0)).unwrap_err();
    let OptimError::Unfinished { why, updated: 1, step: 7 } = &error else { panic!("{error}") };
    assert!(why.contains("`net.p0`"), "{why}");
    assert_eq!(held.to_vec::<f32>(), all[0].tensor().to_vec::<f32>());
    drop(held);
    // The root of 0 has an infinite slope; the last term is walked first.
    let [a, b] = &all[..] else { panic!("two") };
    let bad = ((a.tensor() * 0.0).sqrt() * 1.0).sum() + b.tensor().sum();
    let (before, b_before) = (a.tensor().to_vec::<f32>(), b.tensor().to_vec::<f32>());
    let error = lomo.step_backward(8, &mut params, bad).unwrap_err();
    let OptimError::Unfinished { why, updated, .. } = &error else { panic!("{error}") };
    assert!(why.contains("the gradient of `net.p0` is not finite at element 0"), "{why}");
    assert_eq!(a.tensor().to_vec::<f32>(), before);
    assert_eq!(*updated, usize::from(b.tensor().to_vec::<f32>() != b_before));
}
