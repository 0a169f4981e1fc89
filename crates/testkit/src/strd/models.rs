//! The models of the problems.

use std::f64::consts::PI;

use super::dual::Dual;

/// What the model of the problem called `name` predicts at `x`.
pub(super) fn predicted(name: &str, b: &[Dual], x: &[f64]) -> Dual {
    let number = Dual::constant;
    let (t, one) = (number(x[0]), number(1.0));
    match name {
        "Bennett5" => b[0] * (b[1] + t).pow(-one / b[2]),
        "BoxBOD" | "Misra1a" => b[0] * (one - (-b[1] * t).exp()),
        "Chwirut1" | "Chwirut2" => (-b[0] * t).exp() / (b[1] + b[2] * t),
        "DanWood" => b[0] * t.pow(b[1]),
        "ENSO" => {
            let year = wave(b[1], b[2], number(12.0), t);
            b[0] + year + wave(b[4], b[5], b[3], t) + wave(b[7], b[8], b[6], t)
        }
        "Eckerle4" => b[0] / b[1] * (number(-0.5) * ((t - b[2]) / b[1]).square()).exp(),
        "Gauss1" | "Gauss2" | "Gauss3" => {
            decay(b[0], b[1], t) + peak(&b[2..], t) + peak(&b[5..], t)
        }
        "Hahn1" | "Thurber" => polynomial(&b[..4], t) / (one + t * polynomial(&b[4..7], t)),
        "Kirby2" => polynomial(&b[..3], t) / (one + t * polynomial(&b[3..5], t)),
        "Lanczos1" | "Lanczos2" | "Lanczos3" => {
            decay(b[0], b[1], t) + decay(b[2], b[3], t) + decay(b[4], b[5], t)
        }
        "MGH09" => b[0] * (t.square() + t * b[1]) / (t.square() + t * b[2] + b[3]),
        "MGH10" => b[0] * (b[1] / (t + b[2])).exp(),
        "MGH17" => b[0] + decay(b[1], b[3], t) + decay(b[2], b[4], t),
        "Misra1b" => b[0] * (one - (one + b[1] * t * number(0.5)).powf(-2.0)),
        "Misra1c" => b[0] * (one - (one + b[1] * t * number(2.0)).powf(-0.5)),
        "Misra1d" => b[0] * b[1] * t / (one + b[1] * t),
        "Nelson" => b[0] - b[1] * t * (-b[2] * number(x[1])).exp(),
        "Rat42" => b[0] / (one + (b[1] - b[2] * t).exp()),
        "Rat43" => b[0] / (one + (b[1] - b[2] * t).exp()).pow(one / b[3]),
        "Roszman1" => b[0] - b[1] * t - (b[2] / (t - b[3])).atan() * number(1.0 / PI),
        other => panic!("no model for {other}"),
    }
}

fn decay(height: Dual, rate: Dual, t: Dual) -> Dual {
    height * (-rate * t).exp()
}

/// Height, centre and width.
fn peak(b: &[Dual], t: Dual) -> Dual {
    b[0] * (-((t - b[1]) / b[2]).square()).exp()
}

fn wave(cosine: Dual, sine: Dual, period: Dual, t: Dual) -> Dual {
    let angle = Dual::constant(2.0 * PI) * t / period;
    cosine * angle.cos() + sine * angle.sin()
}

/// `b0 + b1 t + b2 t^2 + ...`.
fn polynomial(b: &[Dual], t: Dual) -> Dual {
    b.iter().rev().fold(Dual::constant(0.0), |sum, b| sum * t + *b)
}
