//! Which samples a step takes.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use rappel_config::Options;

use crate::mix::hash_words;
use crate::{DataError, Permutation};

/// Samples of one optimizer step, all micro-batches together.
#[derive(Clone)]
pub enum BatchSize {
    /// All samples that there are: batch gradient descent.
    All,
    /// So many, at least 1: mini-batches, or with 1 stochastic gradient descent.
    Fixed(usize),
    /// So many at each step, at least 1: a pure function of the step.
    Ramp(Arc<dyn Fn(u64) -> usize + Send + Sync>),
}

impl From<usize> for BatchSize {
    fn from(samples: usize) -> Self {
        Self::Fixed(samples)
    }
}

impl fmt::Debug for BatchSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("All"),
            Self::Fixed(samples) => write!(f, "Fixed({samples})"),
            Self::Ramp(_) => f.write_str("Ramp"),
        }
    }
}

/// How samples are drawn: options of every section `data`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Options)]
pub struct Drawing {
    /// an order of its own for each epoch
    ///
    /// Otherwise all samples go in their own order.
    #[option(default = true)]
    pub shuffle: bool,
    /// each sample of an epoch is drawn from all, so that some come twice and some never
    ///
    /// As by PyTorch's `RandomSampler(replacement=True)`. Wants `shuffle`.
    #[option(default = false)]
    pub replacement: bool,
    /// leave out an epoch's last, smaller batch
    #[option(default = false)]
    pub drop_last: bool,
    /// The run's seed, which with the epoch chooses the order; no option of the section.
    #[option(skip)]
    pub seed: u64,
}

/// The samples of each step as a pure function of the step, whatever a sample is.
///
/// An epoch `e` is a sequence of `N` samples: `p_e(0), p_e(1), ...` where `p_e` is the epoch's
/// [`Permutation`], the samples' own order without `shuffle` or where each step takes all, or `N`
/// independent draws with `replacement`. Each step takes the next ones of them, as many as its batch has; what is left at an
/// epoch's end and does not fill a batch is a smaller batch, or with `drop_last` none. So no batch has
/// samples of two epochs, nor more than all.
///
/// With a batch size that changes, where a step begins follows from the sizes of the steps before it:
/// that sum is kept at every 256th step that was asked for, and the rest is added when asked.
///
/// ```
/// use rappel_data::{BatchSize, Drawing, Order};
/// let drawing = Drawing { shuffle: false, ..Drawing::default() };
/// let order = Order::new(5, BatchSize::Fixed(2), drawing)?;
/// assert_eq!(order.steps(1.0), 3);
/// let first = |order: &Order| [1, 2, 3].map(|step| order.samples(step).collect::<Vec<_>>());
/// assert_eq!(first(&order), [vec![2, 3], vec![4], vec![0, 1]]);
///
/// let ramp = BatchSize::Ramp(std::sync::Arc::new(|step| 1 + step as usize));
/// let order = Order::new(5, ramp, drawing)?;
/// assert_eq!(first(&order), [vec![1, 2], vec![3, 4], vec![0, 1, 2, 3]]);
/// # Ok::<(), rappel_data::DataError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Order {
    samples: usize,
    batch_size: BatchSize,
    drawing: Drawing,
    /// Of a ramp, where every [`STRIDE`]th step begins, as far as somebody asked.
    marks: Arc<Mutex<Vec<Start>>>,
}

/// Where a step begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Start {
    epoch: u64,
    /// Samples of the epoch that came before.
    place: usize,
}

/// Steps of a ramp between those whose start is kept.
const STRIDE: u64 = 256;

/// Keep the hashes that choose samples apart from others under the same seed.
const ORDER_OF_SAMPLES: u64 = 0x6f72_6465_7200;
const DRAWS_OF_SAMPLES: u64 = 0x6472_6177_7300;

impl Order {
    /// The order of `samples` samples.
    ///
    /// # Errors
    /// [`DataError::Zero`]; [`DataError::TooFewSamples`] where every batch would be dropped;
    /// [`DataError::Unshuffled`] with replacement.
    pub fn new(samples: usize, batch_size: BatchSize, drawing: Drawing) -> Result<Self, DataError> {
        let zero = |name| Err(DataError::Zero { name });
        match batch_size {
            _ if samples == 0 => zero("samples"),
            BatchSize::Fixed(0) => zero("batch_size"),
            BatchSize::Fixed(batch_size) if drawing.drop_last && samples < batch_size => {
                Err(DataError::TooFewSamples { samples, batch_size })
            }
            _ if drawing.replacement && !drawing.shuffle => Err(DataError::Unshuffled),
            _ => Ok(Self { samples, batch_size, drawing, marks: Arc::default() }),
        }
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// Whether there are none: never.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// The steps that `epochs` passes take, at least 1: the last one is the first to reach them.
    ///
    /// With a fixed size they are `epochs` times the steps of one, rounded up.
    pub fn steps(&self, epochs: f64) -> u64 {
        let per_epoch = match self.batch_size {
            BatchSize::All => 1,
            BatchSize::Fixed(size) if self.drawing.drop_last => self.samples / size,
            BatchSize::Fixed(size) => self.samples.div_ceil(size),
            BatchSize::Ramp(_) => return self.steps_of_ramp(epochs),
        };
        ((epochs * per_epoch as f64).ceil() as u64).max(1)
    }

    fn steps_of_ramp(&self, epochs: f64) -> u64 {
        let passed = |at: Start| at.epoch as f64 + at.place as f64 / self.samples as f64;
        let mut marked = 0;
        while passed(self.mark(marked + 1)) < epochs {
            marked += 1;
        }
        let (mut at, mut step) = (self.mark(marked), marked * STRIDE);
        while passed(at) < epochs {
            at = self.after(at, step);
            step += 1;
        }
        step.max(1)
    }

    /// Where step `mark * STRIDE` begins.
    fn mark(&self, mark: u64) -> Start {
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.is_empty() {
            marks.push(Start::default());
        }
        while marks.len() as u64 <= mark {
            let first = (marks.len() as u64 - 1) * STRIDE;
            let last = marks[marks.len() - 1];
            marks.push((first..first + STRIDE).fold(last, |at, step| self.after(at, step)));
        }
        marks[mark as usize]
    }

    /// Where `step + 1` begins, if `step` begins `at`.
    fn after(&self, at: Start, step: u64) -> Start {
        let Start { epoch, place } = at;
        let place = place + self.taken(at, step);
        let left = self.samples - place;
        if left == 0 || (self.drawing.drop_last && left < self.size(step + 1)) {
            Start { epoch: epoch + 1, place: 0 }
        } else {
            Start { epoch, place }
        }
    }

    /// Samples that a step would take of enough.
    fn size(&self, step: u64) -> usize {
        let size = match &self.batch_size {
            BatchSize::All => self.samples,
            BatchSize::Fixed(size) => *size,
            BatchSize::Ramp(size) => size(step).max(1),
        };
        size.min(self.samples)
    }

    /// Samples that a step takes, if it begins `at`.
    fn taken(&self, at: Start, step: u64) -> usize {
        self.size(step).min(self.samples - at.place)
    }

    fn start(&self, step: u64) -> Start {
        if let BatchSize::Ramp(_) = self.batch_size {
            let mark = step / STRIDE;
            return (mark * STRIDE..step).fold(self.mark(mark), |at, step| self.after(at, step));
        }
        let (per_epoch, size) = (self.steps(1.0), self.size(step) as u64);
        Start { epoch: step / per_epoch, place: (step % per_epoch * size) as usize }
    }

    /// How many samples a step takes.
    pub fn batch_size(&self, step: u64) -> usize {
        self.taken(self.start(step), step)
    }

    /// The most samples that one of the first `steps` steps takes; of a size that changes, looked at in
    /// no more than some thousand steps, the first and the last among them.
    pub fn largest_batch(&self, steps: u64) -> usize {
        let BatchSize::Ramp(size) = &self.batch_size else { return self.batch_size(0) };
        let last = steps.saturating_sub(1);
        let looked_at = (0..=last).step_by((last / 4096).max(1) as usize).chain([last]);
        looked_at.map(|step| size(step)).max().unwrap_or(1).min(self.samples)
    }

    /// The samples of a step, counted from 0 on through all epochs, in the order of its rows; each is
    /// computed when it is asked for.
    pub fn samples(&self, step: u64) -> impl ExactSizeIterator<Item = usize> {
        let at = self.start(step);
        self.drawn(at.epoch, at.place..at.place + self.taken(at, step))
    }

    /// Part `index` of `count` of a step's samples: the parts, one after another, are all of them.
    ///
    /// With fewer samples than parts, some are empty.
    ///
    /// # Panics
    /// If `index` is not less than `count`.
    #[track_caller]
    pub fn part(&self, step: u64, index: usize, count: usize) -> Vec<usize> {
        assert!(index < count, "micro-batch {index} of {count}");
        let at = self.start(step);
        let samples = self.taken(at, step) as u128;
        let until = |part: usize| at.place + (part as u128 * samples / count as u128) as usize;
        self.drawn(at.epoch, until(index)..until(index + 1)).collect()
    }

    /// The samples at these places of an epoch.
    fn drawn(&self, epoch: u64, places: Range<usize>) -> Drawn {
        let Drawing { shuffle, replacement, seed, .. } = self.drawing;
        // Of all samples the order says nothing.
        let shuffled = shuffle && (replacement || !matches!(self.batch_size, BatchSize::All));
        let samples = self.samples;
        let how = match shuffled {
            false => How::InOrder,
            true if replacement => How::Independently { seed, epoch, samples },
            true => How::Shuffled(Permutation::new(
                samples,
                hash_words(seed, &[ORDER_OF_SAMPLES, epoch]),
            )),
        };
        Drawn { how, places, ahead: Vec::new(), left: 0 }
    }
}

/// How places of an epoch become samples.
enum How {
    InOrder,
    Independently { seed: u64, epoch: u64, samples: usize },
    Shuffled(Permutation),
}

/// Samples that are drawn at once.
const AHEAD: usize = 4096;

/// The samples at some places of an epoch, drawn a few at a time.
struct Drawn {
    how: How,
    /// The places of which no sample is drawn yet.
    places: Range<usize>,
    /// Samples that are drawn, the last ones of them `left` to be given.
    ahead: Vec<u64>,
    left: usize,
}

impl Drawn {
    fn draw(&mut self) {
        let Self { places, ahead, .. } = self;
        ahead.clear();
        ahead.extend(places.by_ref().take(AHEAD).map(|place| place as u64));
        self.left = ahead.len();
        match &self.how {
            How::InOrder => {}
            How::Shuffled(permutation) => permutation.apply(ahead),
            How::Independently { seed, epoch, samples } => {
                for place in ahead {
                    let bits = hash_words(*seed, &[DRAWS_OF_SAMPLES, *epoch, *place]);
                    *place = ((u128::from(bits) * *samples as u128) >> 64) as u64;
                }
            }
        }
    }
}

impl Iterator for Drawn {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        if self.left == 0 {
            self.draw();
        }
        let sample = *self.ahead.get(self.ahead.len() - self.left)?;
        self.left -= 1;
        Some(sample as usize)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.left + self.places.len();
        (left, Some(left))
    }
}

impl ExactSizeIterator for Drawn {}
