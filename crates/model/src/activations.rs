//! How much memory a forward and backward pass takes, known before it runs.

use rappel_tensor::{Entry, Params, linear_cross_entropy_bytes};

use crate::{EncoderConfig, ModelConfig};

/// Copies of the logits that R-Drop keeps for its backward pass and makes on it, at most.
const LOGITS: usize = 6;

/// How many numbers go into and come out of a parameter's matrix product for each row; none where it is no
/// matrix. Matrices that are stacked in one parameter count each.
pub fn product_size(entry: &Entry) -> Option<usize> {
    let [stacked @ .., inputs, outputs] = &entry.shape[..] else { return None };
    let count = stacked.iter().fold(1, |product: usize, size| product.saturating_mul(*size));
    Some(count.saturating_mul(inputs.saturating_add(*outputs)))
}

/// Bytes that a forward and backward pass of `tokens` tokens through a language model takes at most, beside its
/// parameters and their gradients.
///
/// What matrix products read and make is about all that a block keeps for its backward pass: a norm's input and
/// result, and what an activation function makes, are among that, and attention keeps one number more for each
/// head and token. On the way back come the gradients of one block at a time. With R-Drop there are two such
/// passes, and the logits of both are in memory.
pub fn activation_bytes(
    config: &dyn ModelConfig,
    params: &Params,
    tokens: usize,
    r_drop: bool,
) -> usize {
    let (entries, vocab, dtype) = (params.entries(), config.vocab_size(), config.dtype());
    let heads = entries.iter().filter(|entry| entry.shape.len() == 2 && entry.shape[0] == vocab);
    let width = heads.map(|entry| entry.shape[1]).max().unwrap_or(0);
    let mut blocks: Vec<(&str, usize)> = Vec::new();
    for entry in &entries {
        let Some((block, size)) = block(&entry.name).zip(product_size(entry)) else { continue };
        let size = (size as f64 * config.share_of_tokens(&entry.name)).ceil() as usize;
        match blocks.iter_mut().find(|(name, _)| *name == block) {
            Some((_, sum)) => *sum = sum.saturating_add(size),
            None => blocks.push((block, size)),
        }
    }
    let sizes = blocks.iter().map(|(_, size)| *size);
    let largest = sizes.clone().max().unwrap_or(0);
    let kept = if config.gradient_checkpointing() {
        width.saturating_mul(blocks.len()).saturating_add(largest)
    } else {
        sizes.fold(0, usize::saturating_add)
    };
    // The embeddings, the last norm's input and result, their gradients.
    let numbers = kept.saturating_add(largest).saturating_add(width.saturating_mul(4));
    let of_tokens = numbers.saturating_mul(tokens).saturating_mul(dtype.size());
    if r_drop {
        let logits = LOGITS.saturating_mul(vocab).saturating_mul(dtype.accumulator().size());
        return of_tokens.saturating_add(logits.saturating_mul(tokens)).saturating_mul(2);
    }
    of_tokens.saturating_add(linear_cross_entropy_bytes(tokens, width, vocab, dtype))
}

/// The same of `tokens` tokens through an encoder, whose head is small beside it.
pub fn encoder_activation_bytes(config: &EncoderConfig, params: &Params, tokens: usize) -> usize {
    let mut blocks: Vec<(String, usize)> = Vec::new();
    for entry in &params.entries() {
        let Some((block, size)) = block(&entry.name).zip(product_size(entry)) else { continue };
        match blocks.iter_mut().find(|(name, _)| name == block) {
            Some((_, sum)) => *sum = sum.saturating_add(size),
            None => blocks.push((block.to_owned(), size)),
        }
    }
    let width = config.hidden_size();
    let largest = blocks.iter().map(|(_, size)| *size).max().unwrap_or(0);
    let kept = if config.gradient_checkpointing() {
        width.saturating_mul(blocks.len()).saturating_add(largest)
    } else {
        blocks.iter().fold(0, |sum: usize, (_, size)| sum.saturating_add(*size))
    };
    // The embeddings, the last states, their gradients; and what the head makes of some of them.
    let numbers = kept.saturating_add(largest).saturating_add(width.saturating_mul(8));
    numbers.saturating_mul(tokens).saturating_mul(config.dtype().size())
}

/// A parameter's name up to the number of its block, such as `transformer.h.0`; none where it is in none.
fn block(name: &str) -> Option<&str> {
    let mut ends = name.match_indices('.').map(|(at, _)| at);
    ends.find_map(|end| {
        let last = name[..end].rsplit('.').next().unwrap_or_default();
        (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())).then_some(&name[..end])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_told_by_their_number() {
        assert_eq!(block("transformer.h.11.attn.c_attn.weight"), Some("transformer.h.11"));
        assert_eq!(block("model.layers.0.mlp.experts.3.up.weight"), Some("model.layers.0"));
        assert_eq!(block("transformer.wpe.weight"), None);
        assert_eq!(block("ln_1.weight"), None);
    }
}
