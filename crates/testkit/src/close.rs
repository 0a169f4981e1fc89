//! What "agrees with the reference" means, in one place.

use thiserror::Error;

/// Elements below this share of the tensor's largest one are compared on that share's scale.
///
/// An element that is small because large terms cancelled carries their rounding error, so no
/// implementation agrees with another to `rtol` of the element itself.
pub const SCALE_FLOOR: f64 = 1e-3;

/// Why two slices do not agree; its text names the worst element.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Mismatch {
    /// The slices differ in length.
    #[error("{got} elements where {want} were expected")]
    Length {
        /// Elements given.
        got: usize,
        /// Elements expected.
        want: usize,
    },
    /// At least one element is further off than allowed.
    #[error(
        "element {index}: got {got:e}, want {want:e}, relative error {error:.3e} over {rtol:e} \
         (relative to {scale:e}; {failing} of {len} elements are off)"
    )]
    Value {
        /// Index of the element with the largest error.
        index: usize,
        /// Its value.
        got: f64,
        /// The value expected.
        want: f64,
        /// `|got - want| / scale`; infinite where exactly one of the two is not finite.
        error: f64,
        /// The error allowed.
        rtol: f64,
        /// `max(|want|, floor * max |wanted|)`.
        scale: f64,
        /// Elements over the allowed error.
        failing: usize,
        /// Elements compared.
        len: usize,
    },
}

/// Compares element by element and returns the largest relative error.
///
/// Element `i` agrees where `|got_i - want_i| <= rtol * scale_i` with
/// `scale_i = max(|want_i|, floor * max_j |want_j|)`, the inner maximum over finite `want_j`.
/// A NaN agrees with a NaN and an infinity with the same infinity, and with nothing else. Where
/// `scale_i` is 0, only equality agrees (`-0.0` equals `0.0`).
///
/// `rtol` is at least 0; `floor` lies in `0..=1`: 0 compares each element with itself alone, 1
/// compares with the tensor's largest. Both are asserted, so that a NaN there cannot pass a test.
///
/// # Errors
/// [`Mismatch`] for unequal lengths or at least one element that does not agree.
///
/// ```
/// use rappel_testkit::compare;
///
/// assert!(compare(&[1.0, 1e-9], &[1.0, 2e-9], 1e-5, 1e-3).is_ok());
/// assert!(compare(&[1.0, 1e-9], &[1.0, 2e-9], 1e-5, 0.0).is_err());
/// ```
#[track_caller]
pub fn compare(got: &[f64], want: &[f64], rtol: f64, floor: f64) -> Result<f64, Mismatch> {
    assert!(rtol >= 0.0, "rtol must be at least 0, got {rtol}");
    assert!((0.0..=1.0).contains(&floor), "floor must lie in 0..=1, got {floor}");
    if got.len() != want.len() {
        return Err(Mismatch::Length { got: got.len(), want: want.len() });
    }
    let largest = want.iter().filter(|w| w.is_finite()).fold(0.0_f64, |m, w| m.max(w.abs()));
    let scale_of = |want: f64| want.abs().max(floor * largest);
    let errors = || got.iter().zip(want).map(|(&g, &w)| relative_error(g, w, scale_of(w)));
    let (index, error) = errors()
        .enumerate()
        .fold((0, 0.0), |worst, (i, e)| if e > worst.1 { (i, e) } else { worst });
    if error <= rtol {
        return Ok(error);
    }
    let failing = errors().filter(|&e| e > rtol).count();
    let (got, want, len) = (got[index], want[index], want.len());
    Err(Mismatch::Value { index, got, want, error, rtol, scale: scale_of(want), failing, len })
}

/// Never NaN, so that every comparison of its result means what it says.
fn relative_error(got: f64, want: f64, scale: f64) -> f64 {
    if got == want || (got.is_nan() && want.is_nan()) {
        0.0
    } else if got.is_finite() && want.is_finite() && scale > 0.0 {
        (got - want).abs() / scale
    } else {
        f64::INFINITY
    }
}

/// Panics unless `got` agrees with `want` to `rtol`, by [`compare`] with [`SCALE_FLOOR`].
///
/// Returns the largest relative error. `what` opens the message.
#[track_caller]
pub fn assert_close(got: &[f64], want: &[f64], rtol: f64, what: &str) -> f64 {
    assert_close_floor(got, want, rtol, SCALE_FLOOR, what)
}

/// [`assert_close`] with a `floor` of the caller's choice; 0 where elements do not mix, as in an
/// optimizer's update.
#[track_caller]
pub fn assert_close_floor(got: &[f64], want: &[f64], rtol: f64, floor: f64, what: &str) -> f64 {
    match compare(got, want, rtol, floor) {
        Ok(error) => error,
        Err(mismatch) => panic!("{what}: {mismatch}"),
    }
}

/// f32 values as f64, to compare them.
pub fn widen(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_itself_agrees_and_the_next_value_does_not() {
        let want = [2.0];
        assert_eq!(compare(&[2.5], &want, 0.25, 0.0), Ok(0.25));
        assert!(compare(&[2.5 + 1e-15], &want, 0.25, 0.0).is_err());
    }

    #[test]
    fn the_floor_is_a_share_of_the_largest_expected_element() {
        let want = [100.0, 0.0];
        assert!(compare(&[100.0, 0.0099], &want, 0.1, 1e-3).is_ok());
        assert!(compare(&[100.0, 0.0101], &want, 0.1, 1e-3).is_err());
        // A large wrong value must not widen its own tolerance.
        assert!(compare(&[1e9, 0.0], &want, 0.1, 1e-3).is_err());
    }

    #[test]
    fn without_a_floor_zero_agrees_with_zero_only() {
        assert!(compare(&[-0.0], &[0.0], 0.1, 0.0).is_ok());
        assert!(compare(&[1e-300], &[0.0], 0.1, 0.0).is_err());
    }

    #[test]
    fn values_that_are_not_finite_agree_with_themselves_only() {
        let (nan, inf) = (f64::NAN, f64::INFINITY);
        for (got, want, agrees) in [
            (nan, nan, true),
            (inf, inf, true),
            (-inf, inf, false),
            (nan, inf, false),
            (nan, 1.0, false),
            (1.0, nan, false),
            (inf, 1.0, false),
            (1.0, inf, false),
        ] {
            let result = compare(&[1.0, got], &[1.0, want], 1e9, 1e-3);
            assert_eq!(result.is_ok(), agrees, "{got} against {want}");
        }
    }

    #[test]
    fn a_mismatch_names_the_worst_element() {
        let error = compare(&[1.1, 2.0, 4.5], &[1.0, 2.0, 3.0], 1e-3, 0.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "element 2: got 4.5e0, want 3e0, relative error 5.000e-1 over 1e-3 \
             (relative to 3e0; 2 of 3 elements are off)"
        );
        let error = compare(&[1.0], &[], 1.0, 0.0).unwrap_err();
        assert_eq!(error.to_string(), "1 elements where 0 were expected");
    }

    #[test]
    #[should_panic(expected = "weights: element 0")]
    fn assert_close_opens_with_what_was_compared() {
        assert_close(&[1.0], &[2.0], 1e-6, "weights");
    }

    #[test]
    #[should_panic(expected = "rtol must be at least 0")]
    fn a_tolerance_that_is_not_a_number_is_refused() {
        assert_close(&[1.0], &[1.0], f64::NAN, "weights");
    }
}
