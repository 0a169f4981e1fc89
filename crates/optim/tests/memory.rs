//! What optimizers are said to cost against what they take.

use rappel_config::Family;
use rappel_optim::{Footprint, OPTIMIZERS, OptimError, Optimizer, OptimizerConfig};
use rappel_schedule::{Horizon, constant};
use rappel_tensor::{DType, Init, Params, Tensor, pool_stats};
use toml::Table;

/// One test, so that nothing else takes memory from the pool meanwhile.
#[test]
fn state_takes_the_bytes_that_the_list_says() {
    let mut checked = 0;
    for info in OPTIMIZERS.infos() {
        let given = Table::from_iter([("name".to_owned(), info.name.into())]);
        let options = OPTIMIZERS.resolve_options("optimizer", &given).unwrap();
        let config =
            OptimizerConfig::from_section(&options, Horizon { steps: 10 }, constant(1.0)).unwrap();
        // A search's history fills up over its steps; the list says what it then takes.
        let (size, steps) = if config.searches() { (128, 30) } else { (1024, 1) };
        let count = (size * size) as f64;
        let config = config.schedule(0.01);
        let mut params = Params::with_dtype(0, DType::F32);
        let p = params.scope("").add("p", [size, size], Init::ZEROS);
        let curvatures: Vec<f64> = (0..size * size).map(|i| 1.0 + (i % 1000) as f64).collect();
        let curvatures = Tensor::from_slice(&curvatures, [size, size]).to_dtype(DType::F32);
        drop(p.tensor());
        let before = pool_stats().used_bytes;
        let counted_before = Footprint::of(&config, &params).unwrap().state;
        let mut optimizer = Optimizer::new(config, &params).unwrap();
        for step in 0..steps {
            let evaluate = |_: &Params| {
                let loss = ((p.tensor() - 1.0).square() * &curvatures).sum();
                Ok::<_, OptimError>((loss.item(), loss.backward()))
            };
            optimizer.step_closure(step, &mut params, evaluate).unwrap();
        }
        let taken = (pool_stats().used_bytes - before) as f64 / count;
        let listed = |head: &str| -> f64 {
            let (_, figure) = info.more.figures.iter().find(|(name, _)| *name == head).unwrap();
            figure.parse().unwrap()
        };
        let state = listed("state B/param");
        assert_eq!(counted_before, optimizer.state_bytes(), "{}", info.name);
        let counted = optimizer.state_bytes() as f64 / count;
        assert!((counted - state).abs() < 1e-3, "{}: {counted} counted, {state} listed", info.name);
        // The pool rounds sizes up by an eighth at most.
        let room = state * 0.125 + 0.01;
        assert!(taken >= counted - 0.01, "{}: {taken} taken, {counted} counted", info.name);
        assert!(taken <= counted + room, "{}: {taken} taken, {state} listed", info.name);
        let moved = optimizer.bytes_moved() as f64 / count;
        assert!((moved - listed("moved B/param")).abs() < 1e-2, "{}: {moved} moved", info.name);
        checked += 1;
    }
    assert!(checked >= 3);
}
