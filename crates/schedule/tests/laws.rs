//! The algebra of curves.

use proptest::prelude::*;
use rappel_schedule::{Schedule, constant, cosine, cosine_cycles, linear_decay, linear_warmup};

fn piece() -> impl Strategy<Value = Schedule> {
    prop_oneof![
        (0_u64..20).prop_map(linear_warmup),
        (0_u64..20).prop_map(linear_decay),
        (0_u64..20).prop_map(cosine),
        (0_u64..20, 0.1..3.0).prop_map(|(steps, cycles)| cosine_cycles(steps, cycles)),
        (-2.0..2.0, 0_u64..20).prop_map(|(value, steps)| constant(value).lasting(steps)),
    ]
}

fn values(curve: &Schedule) -> Vec<f64> {
    (0..80).map(|step| curve.at(step)).collect()
}

proptest! {
    #[test]
    fn then_associates(a in piece(), b in piece(), c in piece()) {
        let left = a.clone().then(b.clone()).then(c.clone());
        let right = a.then(b.then(c));
        prop_assert_eq!(values(&left), values(&right));
        prop_assert_eq!(left.length(), right.length());
    }

    #[test]
    fn a_piece_of_no_steps_is_the_identity_of_then(a in piece()) {
        let nothing = constant(7.0).lasting(0);
        prop_assert_eq!(values(&nothing.then(a.clone())), values(&a));
    }

    #[test]
    fn then_is_the_first_and_then_the_second(a in piece(), b in piece()) {
        let switch = a.length().unwrap();
        let both = a.clone().then(b.clone());
        for step in 0..80 {
            let expected = if step < switch { a.at(step) } else { b.at(step - switch) };
            prop_assert_eq!(both.at(step), expected);
        }
    }

    #[test]
    fn scaling_is_pointwise_and_keeps_the_length(a in piece(), b in piece(), factor in -3.0..3.0) {
        let scaled: Vec<_> = values(&a).iter().map(|value| value * factor).collect();
        prop_assert_eq!(&values(&(a.clone() * factor)), &scaled);
        prop_assert_eq!(&values(&(factor * a.clone())), &scaled);
        prop_assert_eq!(values(&(a.clone() * Schedule::from(factor))), scaled);
        prop_assert_eq!((a.clone() * constant(factor)).length(), a.length());
        prop_assert_eq!((a.clone() * b.clone()).length(), a.length().max(b.length()));
    }

    #[test]
    fn a_floor_maps_zero_and_one(a in piece(), floor in 0.0..1.0) {
        for (value, lifted) in values(&a).into_iter().zip(values(&a.floor(floor))) {
            prop_assert!((lifted - (floor + (1.0 - floor) * value)).abs() <= 1e-15);
        }
    }
}

#[test]
#[should_panic(expected = "the first curve never ends")]
fn nothing_follows_a_curve_without_end() {
    let _ = constant(1.0).then(cosine(3));
}
