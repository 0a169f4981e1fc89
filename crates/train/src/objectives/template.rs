//! Whether a chat template suits a model, judged by what the model makes of answers.

use rappel_data::SftBatch;
use rappel_nn::Forward;
use rappel_tensor::{Tensor, no_grad};

use crate::models::{Pretrained, inputs};

/// Nats per token by which answers may be less likely behind their prompts than alone, and in what proportion.
const MARGIN: f64 = 0.5;
const FACTOR: f64 = 1.2;

/// A warning where a pretrained model finds the answers of a batch less likely behind their prompts than without any: as
/// it does where a template writes what it was never trained on.
pub(super) fn doubt_of_template(model: &Pretrained, batch: &SftBatch) -> Option<String> {
    let behind = nats(model, batch)?;
    let alone = nats(model, &answers_alone(batch))?;
    (behind > alone + MARGIN && behind > FACTOR * alone).then(|| {
        format!(
            "the model finds answers less likely behind their prompts ({behind:.2} nats per token) than alone ({alone:.2}): \
             the chat template is probably not the one that it was trained with; see the rows by `rappel data`, and \
             data.chat_template"
        )
    })
}

/// The mean of `-ln p` over the tokens that are trained, by the model without adapters.
fn nats(model: &Pretrained, batch: &SftBatch) -> Option<f64> {
    let count = batch.weights.iter().filter(|weight| **weight > 0.0).count();
    if count == 0 {
        return None;
    }
    let (ids, documents) = inputs(batch);
    let forward = Forward::evaluation().without_adapters();
    let targets = Tensor::from_slice(&batch.targets, [batch.targets.len()]);
    let sum: f64 = no_grad(|| {
        let hidden = model.model().hidden(&ids, Some(&documents), &forward).squeeze(0);
        model.model().head().log_probs(&hidden, &targets).to_f64_vec().iter().sum()
    });
    Some(-sum / count as f64)
}

/// The answers of a batch without what comes before them, nor the token that ends them.
fn answers_alone(batch: &SftBatch) -> SftBatch {
    let mut alone = SftBatch::default();
    let mut start = 0;
    while start < batch.targets.len() {
        let of = batch.segment_ids[start];
        let len = batch.segment_ids[start..].iter().take_while(|other| **other == of).count();
        let places = start..start + len;
        let answered = places.filter(|at| batch.weights[*at] > 0.0).map(|at| batch.targets[at]);
        let answer: Vec<i64> = answered.collect();
        for (position, pair) in answer[..answer.len().saturating_sub(1)].windows(2).enumerate() {
            alone.input_ids.push(pair[0]);
            alone.targets.push(pair[1]);
            alone.weights.push(1.0);
            alone.segment_ids.push(of);
            alone.positions.push(position as i64);
        }
        start += len;
    }
    alone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_cut_out_of_their_rows() {
        let batch = SftBatch {
            input_ids: vec![1, 2, 3, 4, 1, 5],
            targets: vec![-100, 3, 4, 9, -100, 9],
            weights: vec![0.0, 1.0, 1.0, 1.0, 0.0, 1.0],
            segment_ids: vec![0, 0, 0, 0, 1, 1],
            positions: vec![0, 1, 2, 3, 0, 1],
        };
        let alone = answers_alone(&batch);
        assert_eq!((alone.input_ids, alone.targets), (vec![3], vec![4]));
        assert_eq!((alone.segment_ids, alone.positions), (vec![0], vec![0]));
    }
}
