//! Which samples a step takes, for batches of all kinds.

use std::sync::Arc;

use proptest::prelude::*;
use rappel_data::{BatchSize, Drawing, Order};

fn order(samples: usize, batch_size: BatchSize, drawing: Drawing) -> Order {
    Order::new(samples, batch_size, drawing).unwrap()
}

fn ramp(size: impl Fn(u64) -> usize + Send + Sync + 'static) -> BatchSize {
    BatchSize::Ramp(Arc::new(size))
}

/// The samples of a step.
fn samples(order: &Order, step: u64) -> Vec<usize> {
    order.samples(step).collect()
}

/// The steps of each epoch, as their samples, walked one by one.
fn epochs(order: &Order, count: usize) -> Vec<Vec<Vec<usize>>> {
    let mut epochs = Vec::new();
    let mut step = 0;
    for epoch in 1..=count {
        let end = order.steps(epoch as f64);
        epochs.push((step..end).map(|step| samples(order, step)).collect());
        step = end;
    }
    epochs
}

#[test]
fn all_is_every_sample_in_each_step() {
    let all = order(7, BatchSize::All, Drawing { drop_last: true, ..Drawing::default() });
    assert_eq!((all.steps(1.0), all.steps(2.5)), (1, 3));
    for step in 0..5 {
        let mut seen = samples(&all, step);
        assert_eq!(all.batch_size(step), 7);
        seen.sort_unstable();
        assert_eq!(seen, (0..7).collect::<Vec<_>>());
    }
    let parts: Vec<usize> = (0..3).flat_map(|part| all.part(4, part, 3)).collect();
    assert_eq!(parts, samples(&all, 4));
}

#[test]
fn one_is_stochastic_descent() {
    let one = order(5, 1.into(), Drawing::default());
    assert_eq!(one.steps(2.0), 10);
    for epoch in epochs(&one, 3) {
        let mut seen: Vec<usize> = epoch.concat();
        seen.sort_unstable();
        assert_eq!(seen, [0, 1, 2, 3, 4]);
    }
}

#[test]
fn a_constant_ramp_is_a_fixed_size() {
    for drop_last in [false, true] {
        let drawing = Drawing { drop_last, seed: 3, ..Drawing::default() };
        let (fixed, ramp) = (order(23, 4.into(), drawing), order(23, ramp(|_| 4), drawing));
        for step in [0, 5, 6, 30, 255, 256, 257, 1000, 3, 0] {
            assert_eq!(samples(&fixed, step), samples(&ramp, step), "{step}");
        }
        for passes in [1.0, 2.0, 100.0] {
            assert_eq!(fixed.steps(passes), ramp.steps(passes));
        }
    }
}

#[test]
fn draws_with_replacement_are_uniform_and_pure() {
    let drawing = Drawing { replacement: true, seed: 11, ..Drawing::default() };
    let draws = order(20, 8.into(), drawing);
    assert_eq!(draws.steps(1.0), 3);
    assert_eq!([0, 1, 2].map(|step| draws.batch_size(step)), [8, 8, 4]);
    let mut counts = [0_f64; 20];
    let steps = 3_000;
    let mut total = 0.0;
    for step in 0..steps {
        for sample in samples(&draws, step) {
            counts[sample] += 1.0;
            total += 1.0;
        }
    }
    // chi-square with 19 degrees of freedom: above 50 less than twice in 10^4 seeds.
    let expected = total / 20.0;
    let chi: f64 = counts.iter().map(|count| (count - expected).powi(2) / expected).sum();
    assert!(chi < 50.0, "{chi}");
    // Unlike a permutation, an epoch misses about 1/e of the samples.
    let mut seen: Vec<usize> = (0..3).flat_map(|step| samples(&draws, step)).collect();
    seen.sort_unstable();
    seen.dedup();
    assert!((8..18).contains(&seen.len()), "{} of 20", seen.len());
    let again = order(20, 8.into(), drawing);
    assert_eq!(samples(&again, 2_500), samples(&draws, 2_500));
}

proptest! {
    #[test]
    fn epochs_of_a_ramp_are_whole(
        samples in 1_usize..200, begin in 1_usize..40, every in 1_u64..30, drop_last: bool,
    ) {
        let size = move |step: u64| begin + (step / every) as usize % 60;
        let drawing = Drawing { drop_last, ..Drawing::default() };
        let order = order(samples, ramp(size), drawing);
        let mut step = 0;
        for epoch in epochs(&order, 4) {
            let mut left = samples;
            for (i, batch) in epoch.iter().enumerate() {
                let wanted = size(step).min(samples);
                // Only an epoch's last batch is smaller, and with drop_last none.
                let last = i + 1 == epoch.len();
                prop_assert!(batch.len() == wanted || (last && !drop_last && batch.len() == left));
                prop_assert_eq!(batch.len(), order.batch_size(step));
                left -= batch.len();
                step += 1;
            }
            let whole = if drop_last { left < size(step).min(samples) } else { left == 0 };
            prop_assert!(whole);
            let mut seen = epoch.concat();
            let count = seen.len();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), count);
        }
    }

    #[test]
    fn a_step_can_be_asked_for_at_any_time(step in 0_u64..5_000, seed: u64) {
        let made = || {
            let drawing = Drawing { seed, ..Drawing::default() };
            order(1_000, ramp(|step| 1 + step as usize / 10), drawing)
        };
        let walked = made();
        (0..step.min(600)).for_each(|step| drop(samples(&walked, step)));
        prop_assert_eq!(samples(&walked, step), samples(&made(), step));
    }
}
