//! Which samples a step sees, and what a sample holds.

use std::sync::Arc;

use proptest::prelude::*;
use rappel_data::{
    Batch, DataError, Dataset, Drawing, HeldOut, Order, Permutation, TextSamples, TokenStream,
    Tokens,
};

/// Tokens that are their own places.
fn stream(tokens: usize, document_starts: &[usize]) -> Arc<TokenStream> {
    Arc::new(TokenStream {
        tokens: Tokens::U32((0..tokens as u32).collect()),
        document_starts: document_starts.to_vec(),
        text_bytes: tokens as u64,
    })
}

const DRAWING: Drawing = Drawing { shuffle: true, replacement: false, drop_last: false, seed: 7 };

/// Samples of 8 tokens, and their order.
#[derive(Debug)]
struct Batches {
    samples: TextSamples,
    order: Order,
}

impl Batches {
    fn micro_batch(&self, step: u64, index: usize, count: usize) -> Batch {
        self.samples.batch(&self.order.part(step, index, count))
    }

    fn batch(&self, step: u64) -> Batch {
        self.samples.batch(&self.order.samples(step).collect::<Vec<_>>())
    }
}

fn samples(split: &'static str, stream: Arc<TokenStream>) -> Result<TextSamples, DataError> {
    Ok(TextSamples::new(split, stream, 8)?.with_segments(true))
}

fn batches(
    stream: Arc<TokenStream>,
    batch_size: usize,
    drawing: Drawing,
) -> Result<Batches, DataError> {
    let samples = samples("training", stream)?;
    let order = Order::new(samples.len(), batch_size.into(), drawing)?;
    Ok(Batches { samples, order })
}

fn append(all: &mut Batch, part: Batch) {
    all.input_ids.extend(part.input_ids);
    all.targets.extend(part.targets);
    all.segment_ids.extend(part.segment_ids);
    all.batch += part.batch;
    all.time = part.time;
}

#[test]
fn an_epoch_predicts_every_token_once() {
    for shuffle in [true, false] {
        let batches = batches(stream(8 * 10 + 5, &[0]), 4, Drawing { shuffle, ..DRAWING }).unwrap();
        assert_eq!((batches.order.len(), batches.order.steps(1.0)), (10, 3));
        assert_eq!(batches.samples.targets(10), 1..81);
        for epoch in 0..3 {
            let steps = epoch * 3..(epoch + 1) * 3;
            let epoch: Vec<Batch> = steps.map(|step| batches.batch(step)).collect();
            assert_eq!(epoch.iter().map(|batch| batch.batch).collect::<Vec<_>>(), [4, 4, 2]);
            let mut targets: Vec<_> = epoch.iter().flat_map(|batch| &batch.targets).collect();
            let inputs = epoch.iter().flat_map(|batch| &batch.input_ids);
            assert!(inputs.zip(&targets).all(|(input, &target)| input + 1 == *target));
            assert_eq!(targets.iter().is_sorted(), !shuffle);
            targets.sort_unstable();
            assert!(targets.into_iter().copied().eq(1..81));
        }
    }
}

#[test]
fn epochs_differ_seeds_differ_and_steps_repeat() {
    let batches =
        |seed| batches(stream(8 * 400 + 1, &[0]), 4, Drawing { seed, ..DRAWING }).unwrap();
    let [first, other] = [batches(1), batches(2)];
    assert_ne!(first.batch(0), first.batch(first.order.steps(1.0)));
    assert_ne!(first.batch(0), other.batch(0));
    let later = first.batch(1234);
    first.batch(3);
    assert_eq!(later, batches(1).batch(1234));
}

#[test]
fn dropping_the_last_leaves_whole_batches() {
    let drawing = Drawing { drop_last: true, ..DRAWING };
    let batches = batches(stream(8 * 10 + 1, &[0]), 4, drawing).unwrap();
    assert_eq!((batches.order.steps(1.0), batches.order.steps(2.5)), (2, 5));
    assert!((0..20).all(|step| batches.batch(step).batch == 4));
}

#[test]
fn segments_change_where_documents_start() {
    let drawing = Drawing { shuffle: false, ..DRAWING };
    let batches = batches(stream(25, &[0, 3, 4, 8, 15]), 3, drawing).unwrap();
    let batch = batches.batch(0);
    assert_eq!(batch.segment_ids[..8], [0, 0, 0, 1, 2, 2, 2, 2]);
    assert_eq!(batch.segment_ids[8..16], [0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(batch.segment_ids[16..], [0; 8]);
    assert_eq!(batch.segment_starts()[..8], [0, 0, 0, 3, 4, 4, 4, 4]);
    assert_eq!(batch.segment_starts()[8..16], [0, 0, 0, 0, 0, 0, 0, 7]);
    assert_eq!(batch.segment_starts()[16..], [0; 8]);
}

#[test]
fn segments_are_only_there_where_they_are_asked_for() {
    let samples = TextSamples::new("training", stream(25, &[0, 3]), 8).unwrap();
    assert!(samples.batch(&[0, 1]).segment_ids.is_empty());
}

#[test]
fn validation_is_sequential_and_capped() {
    let stream = stream(8 * 10 + 3, &[0]);
    let held_out = HeldOut::new(samples("validation", stream).unwrap(), 4);
    let all: Vec<Batch> = held_out.batches().collect();
    assert_eq!((all.len(), held_out.samples()), (3, 0..10));
    assert_eq!(all[2].targets, (65..81).collect::<Vec<_>>());
    let two = held_out.clone().at_most(2);
    assert_eq!((two.batches().count(), two.samples()), (2, 0..8));
    assert_eq!(two.data().targets(8), 1..65);
    assert_eq!(held_out.at_most(99).batches().count(), 3);
}

#[test]
fn plans_that_cannot_be_say_why() {
    let message = |result: Result<Batches, DataError>| result.unwrap_err().to_string();
    assert_eq!(
        message(batches(stream(8, &[0]), 4, DRAWING)),
        "the training tokens are 8, but one sample of sequence_length = 8 takes 9; give more text, \
         lower sequence_length, or change validation_fraction"
    );
    assert_eq!(
        message(samples("validation", stream(0, &[])).map(|_| unreachable!())),
        "the validation tokens are 0, but one sample of sequence_length = 8 takes 9; give more text, \
         lower sequence_length, or change validation_fraction"
    );
    assert_eq!(
        message(batches(stream(17, &[0]), 4, Drawing { drop_last: true, ..DRAWING })),
        "2 samples make no batch of 4 with drop_last = true; lower batch_size, set drop_last = \
         false, or give more text"
    );
    let zero = batches(stream(17, &[0]), 0, DRAWING);
    assert_eq!(message(zero), "batch_size = 0: expected at least 1");
    let unshuffled = Drawing { shuffle: false, replacement: true, ..DRAWING };
    assert_eq!(
        message(batches(stream(17, &[0]), 1, unshuffled)),
        "replacement = true draws samples at random, but shuffle = false keeps their order; set one \
         of them to the other"
    );
}

proptest! {
    #[test]
    fn micro_batches_are_the_batch(
        samples in 1_usize..60, batch_size in 1_usize..33, count in 1_usize..9, step in 0_u64..200,
    ) {
        let batches = batches(stream(8 * samples + 1, &[0, 11]), batch_size, DRAWING).unwrap();
        let mut joined = Batch::default();
        for index in 0..count {
            let part = batches.micro_batch(step, index, count);
            prop_assert_eq!(part.batch * 8, part.input_ids.len());
            append(&mut joined, part);
        }
        prop_assert_eq!(joined, batches.batch(step));
    }

    #[test]
    fn large_permutations_do_not_collide(len in 1_usize..1 << 48, key: u64, first: usize) {
        let shuffle = Permutation::new(len, key);
        let first = first % len;
        let mut places: Vec<_> = (first..len.min(first + 2000)).map(|i| shuffle.at(i)).collect();
        let asked = places.len();
        places.sort_unstable();
        places.dedup();
        prop_assert_eq!(places.len(), asked);
        prop_assert!(places.last().is_none_or(|&place| place < len));
    }
}

#[test]
fn four_of_eight_are_one_of_thirty_two() {
    let batches = batches(stream(8 * 500 + 1, &[0]), 32, DRAWING).unwrap();
    let mut joined = Batch::default();
    for index in 0..4 {
        let part = batches.micro_batch(9, index, 4);
        assert_eq!(part.batch, 8);
        append(&mut joined, part);
    }
    assert_eq!(joined, batches.batch(9));
}
