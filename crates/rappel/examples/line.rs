//! A line through noisy points, by gradient descent: `cargo run --example line`.

use rappel::prelude::*;

/// Fits the line.
pub fn main() -> Result<(), OptimError> {
    let x = Tensor::rand([100, 1], 0.0, 1.0, DType::F32, Key::new(0));
    let y = 2.0 * &x + 1.0 + 0.1 * Tensor::randn([100, 1], DType::F32, Key::new(1));

    let mut params = Params::new(42);
    let net = Linear::new(&mut params.scope("net"), 1, 1);
    let mut sgd =
        Optimizer::new(Sgd { lr: 0.01.into(), momentum: 0.9.into(), ..default() }, &params)?;
    for epoch in 0..1000 {
        let loss = mse(&net.forward(&x), &y) + l2(&params, 1e-4);
        sgd.step(epoch, &mut params, &loss.backward())?;
    }

    for (name, value) in params.tensors() {
        println!("{name} = {value}");
    }
    let [slope, intercept] =
        ["net.weight", "net.bias"].map(|n| params.get(n).unwrap().tensor().item());
    assert!((slope - 2.0).abs() < 0.1 && (intercept - 1.0).abs() < 0.1);
    Ok(())
}
