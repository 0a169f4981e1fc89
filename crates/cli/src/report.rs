//! What a finished run is told as.

use std::time::Duration;

use rappel_train::Report;
use serde_json::json;

/// One JSON object.
pub fn json(report: &Report, seconds: Duration) -> String {
    let Report { dir, model, steps, train_loss, validation_loss, baseline_loss, sample } = report;
    json!({
        "out": dir,
        "model": model,
        "steps": steps,
        "seconds": seconds.as_secs_f64(),
        "train_loss": train_loss,
        "validation_loss": validation_loss,
        "trigram_loss": baseline_loss,
        "sample": sample,
    })
    .to_string()
}

/// Lines for eyes, the sample first.
pub fn text(report: &Report, seconds: Duration) -> String {
    let Report { dir, model, steps, train_loss, validation_loss, baseline_loss, sample } = report;
    let seconds = seconds.as_secs_f64();
    let loss = |loss: &f64| format!("{loss:.4} nats per token");
    let lines = [
        sample.as_ref().map(|sample| format!("--- sample\n{sample}\n---")),
        Some(format!("steps            {steps} in {seconds:.1} s")),
        Some(format!("train loss       {}", loss(train_loss))),
        validation_loss.as_ref().map(|of| format!("validation loss  {}", loss(of))),
        baseline_loss.as_ref().map(|of| format!("trigram loss     {}, on the same text", loss(of))),
        Some(format!("run              {}", dir.display())),
        Some(format!("model            {}", model.display())),
    ];
    lines.into_iter().flatten().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_run_has_not_is_left_out() {
        let mut report = Report {
            dir: "runs/a-1".into(),
            model: "runs/a-1/model".into(),
            steps: 7,
            train_loss: 1.25,
            validation_loss: Some(1.5),
            baseline_loss: Some(2.0),
            sample: Some("fn main".into()),
        };
        let seconds = Duration::from_millis(2500);
        assert_eq!(
            text(&report, seconds),
            "--- sample\nfn main\n---\nsteps            7 in 2.5 s\n\
             train loss       1.2500 nats per token\n\
             validation loss  1.5000 nats per token\n\
             trigram loss     2.0000 nats per token, on the same text\n\
             run              runs/a-1\nmodel            runs/a-1/model\n"
        );
        (report.validation_loss, report.baseline_loss, report.sample) = (None, None, None);
        assert_eq!(text(&report, seconds).lines().count(), 4);
        assert!(json(&report, seconds).contains("\"validation_loss\":null"));
    }
}
