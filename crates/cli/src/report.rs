//! How a finished run is reported.

use std::time::Duration;

use rappel_train::{Baseline, Report};
use serde_json::json;

use crate::escape::one_line;

/// One JSON object.
pub fn json(report: &Report, prepared: Duration, seconds: Duration) -> String {
    let mut object = json!({
        "out": report.dir,
        "model": report.model,
        "steps": report.steps,
        "preparation_seconds": prepared.as_secs_f64(),
        "seconds": seconds.as_secs_f64(),
        "train_loss": report.train_loss,
        "validation_loss": report.validation_loss(),
        "sample": report.sample,
    });
    for (metric, value) in &report.validation {
        object[format!("validation_{}", metric.name)] = json!(value);
    }
    if let Some(step) = report.best_step {
        object["best_step"] = json!(step);
    }
    for (metric, value) in &report.test {
        object[format!("test_{}", metric.name)] = json!(value);
    }
    if let Some(protocol) = &report.protocol {
        object["protocol"] = json!(protocol);
    }
    if let Some(Baseline { name, values }) = &report.baseline {
        for (metric, value) in values {
            object[format!("{name}_{}", metric.name)] = json!(value);
        }
    }
    object.to_string()
}

/// Lines for eyes, the sample first.
pub fn text(report: &Report, prepared: Duration, seconds: Duration) -> String {
    let mut text = report
        .sample
        .iter()
        .fold(String::new(), |text, sample| text + &format!("--- sample\n{sample}\n---\n"));
    let unit = report.validation.first().map_or("", |(loss, _)| loss.unit);
    let mut line = |name: &str, value: &str, unit: &str| {
        text += format!("{name:16} {value} {unit}").trim_end();
        text.push('\n');
    };
    let [prepared, seconds] = [prepared, seconds].map(|time| time.as_secs_f64());
    line("steps", &format!("{} in {seconds:.1} s, prepared in {prepared:.1} s", report.steps), "");
    if let Some(step) = report.best_step {
        line("best step", &step.to_string(), "");
    }
    line("train loss", &format!("{:.4}", report.train_loss), unit);
    for (metric, value) in &report.validation {
        line(&format!("validation {}", metric.name), &format!("{value:.4}"), metric.unit);
    }
    for (metric, value) in &report.test {
        line(&format!("test {}", metric.name), &format!("{value:.4}"), metric.unit);
    }
    for (name, metric, value) in report.baseline.iter().flat_map(Baseline::named) {
        let unit = if metric.name == "loss" { unit } else { metric.unit };
        let about = format!("{unit}, on the same data");
        let name = format!("{name} {}", metric.name);
        line(&name, &format!("{value:.4}"), about.trim_start_matches(", "));
    }
    if let Some(protocol) = &report.protocol {
        line("measured", protocol, "");
    }
    line("run", &one_line(&report.dir.display().to_string()), "");
    line("model", &one_line(&report.model.display().to_string()), "");
    text
}

#[cfg(test)]
mod tests {
    use rappel_train::Metric;

    use super::*;

    #[test]
    fn what_a_run_has_not_is_left_out() {
        let loss = Metric { name: "loss", unit: "nats per token", greater_is_better: false };
        let accuracy = Metric { name: "accuracy", unit: "", greater_is_better: true };
        let mut report = Report {
            dir: "runs/a-1".into(),
            model: "runs/a-1/model".into(),
            steps: 7,
            train_loss: 1.25,
            best_step: Some(5),
            validation: vec![(loss, 1.5), (accuracy, 0.25)],
            test: vec![],
            protocol: None,
            baseline: Some(Baseline::of_loss("trigram", 2.0)),
            sample: Some("fn main".into()),
        };
        let [prepared, seconds] = [1200, 2500].map(Duration::from_millis);
        assert_eq!(
            text(&report, prepared, seconds),
            "--- sample\nfn main\n---\nsteps            7 in 2.5 s, prepared in 1.2 s\n\
             best step        5\n\
             train loss       1.2500 nats per token\n\
             validation loss  1.5000 nats per token\n\
             validation accuracy 0.2500\n\
             trigram loss     2.0000 nats per token, on the same data\n\
             run              runs/a-1\nmodel            runs/a-1/model\n"
        );
        (report.validation, report.baseline, report.sample) = (vec![], None, None);
        report.best_step = None;
        assert_eq!(text(&report, prepared, seconds).lines().count(), 4);
        assert!(json(&report, prepared, seconds).contains("\"validation_loss\":null"));
    }
}
