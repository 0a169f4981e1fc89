//! What optimizers are said to cost against what they take.

mod common;

use common::grads_of;
use rappel_optim::{OPTIMIZERS, Optimizer, Recipe};
use rappel_registry::Family;
use rappel_schedule::{Horizon, constant};
use rappel_tensor::{DType, Init, Params, pool_stats};
use toml::Table;

/// One test, so that nothing else takes memory from the pool meanwhile.
#[test]
fn state_takes_the_bytes_that_the_list_says() {
    let mut checked = 0;
    for info in OPTIMIZERS.infos() {
        let given = Table::from_iter([("name".to_owned(), info.name.into())]);
        let options = OPTIMIZERS.resolve_options("optimizer", &given).unwrap();
        let recipe = Recipe::from_section(&options, Horizon { steps: 10 }, constant(1.0)).unwrap();
        let mut params = Params::with_dtype(0, DType::F32);
        params.scope("").add("p", [1024, 1024], Init::ZEROS);
        let grads = grads_of::<f32>(&params, &[vec![1e-3; 1 << 20]]);
        let before = pool_stats().used_bytes;
        let mut optimizer = Optimizer::new(recipe, &params).unwrap();
        optimizer.step(0, &mut params, &grads).unwrap();
        let taken = (pool_stats().used_bytes - before) as f64 / f64::from(1 << 20);
        let listed = |head: &str| -> f64 {
            let (_, figure) = info.more.figures.iter().find(|(name, _)| *name == head).unwrap();
            figure.parse().unwrap()
        };
        let state = listed("state B/param");
        let counted = optimizer.state_bytes() as f64 / f64::from(1 << 20);
        assert!((counted - state).abs() < 1e-3, "{}: {counted} counted, {state} listed", info.name);
        // The pool rounds sizes up by an eighth at most.
        let room = state * 0.125 + 0.01;
        assert!(taken >= counted - 0.01, "{}: {taken} taken, {counted} counted", info.name);
        assert!(taken <= counted + room, "{}: {taken} taken, {state} listed", info.name);
        let moved = optimizer.bytes_moved() as f64 / f64::from(1 << 20);
        assert!((moved - listed("moved B/param")).abs() < 1e-2, "{}: {moved} moved", info.name);
        checked += 1;
    }
    assert!(checked >= 3);
}
