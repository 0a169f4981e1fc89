//! Tensors as they are written: operators, printing, panics at the caller's line.

use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;

use rappel_tensor::{DType, Tensor};

#[test]
fn numbers_stand_on_either_side() {
    let x = Tensor::from_slice(&[0.5, 2.0, 4.0], [3]);
    assert_eq!((1.0 - &x).to_vec::<f64>(), [0.5, -1.0, -3.0]);
    assert_eq!((1.0 + &x).to_vec::<f64>(), (&x + 1.0).to_vec::<f64>());
    assert_eq!((2.0 * &x).to_vec::<f64>(), (&x * 2.0).to_vec::<f64>());
    assert_eq!((3.0 / &x).to_vec::<f64>(), [6.0, 1.5, 0.75]);
    assert_eq!((1.0 - x.clone()).to_vec::<f64>(), (1.0 - &x).to_vec::<f64>());
    let whole = Tensor::from_slice(&[1_i64, 2], [2]);
    assert_eq!((10.0 - &whole).to_vec::<i64>(), [9, 8]);
}

#[test]
fn tensors_print_as_their_rows() {
    let cube: Vec<i64> = (0..8).collect();
    let cube = Tensor::from_slice(&cube, [2, 2, 2]);
    assert_eq!(cube.to_string(), "[[[0, 1],\n  [2, 3]],\n\n [[4, 5],\n  [6, 7]]]");
    assert_eq!(Tensor::scalar(0.1, DType::F32).to_string(), "0.1000");
    assert_eq!(Tensor::from_slice(&[1.0_f32, -2.0], [2]).to_string(), "[ 1.0, -2.0]");
    let mixed = Tensor::from_slice(&[1e-9, f64::NAN, f64::INFINITY], [3]);
    assert_eq!(mixed.to_string(), "[1.0000e-9,       NaN,       inf]");
    assert_eq!(Tensor::zeros([0, 3], DType::F32).to_string(), "[]");
    let long: Vec<i64> = (0..1001).collect();
    let long = Tensor::from_slice(&long, [1001]);
    assert_eq!(long.to_string(), "[   0,    1,    2, ...,  998,  999, 1000]");
    assert!(Tensor::ones([50, 50], DType::F32).to_string().lines().count() == 7);
}

/// The file and the message of the panic that `f` ends with.
fn panic_of(f: impl FnOnce()) -> (String, String) {
    static FOUND: Mutex<Option<String>> = Mutex::new(None);
    let before = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        let file = info.location().map(|at| at.file().to_owned());
        *FOUND.lock().unwrap() = file;
    }));
    let payload = panic::catch_unwind(AssertUnwindSafe(f)).expect_err("a panic");
    panic::set_hook(before);
    let message = payload.downcast_ref::<String>().cloned();
    let message = message.or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_owned()));
    (FOUND.lock().unwrap().take().unwrap(), message.unwrap())
}

#[test]
fn a_second_backward_pass_panics_at_the_callers_line() {
    let x = Tensor::ones([3], DType::F32).requires_grad();
    let loss = (&x * &x).sum();
    drop(loss.backward());
    for again in [
        &(|| drop(loss.backward())) as &dyn Fn(),
        &|| loss.backward_into(&mut rappel_tensor::Grads::default()),
        &|| loss.backward_each(&mut |_, _| {}),
    ] {
        let (file, message) = panic_of(again);
        assert!(file.ends_with("notation.rs"), "{file}: {message}");
        assert!(message.contains("run the forward pass again"), "{message}");
    }
}
