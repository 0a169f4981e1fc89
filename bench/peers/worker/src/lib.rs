//! What the Rust workers share: the protocol, the jobs' sizes and their data.
//!
//! A worker is started as `worker JOB`, warms up, and prints `ready LOSS`. For each line `N` on
//! standard input it runs N steps and prints `SECONDS LOSS`; at the end of input it prints
//! `peak BYTES BEFORE`, its resident memory at its peak and before the job was built, and exits.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

/// What a worker returns: any error ends it with a message.
pub type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Steps a worker runs before it says that it is ready.
pub const WARM_UP: usize = 3;

/// One job, built and ready to step.
pub trait Job {
    /// Runs one step, leaving the loss (or any value that shows the work was done) unread.
    fn step(&mut self) -> Result<()>;

    /// The loss of the last step.
    fn loss(&mut self) -> Result<f64>;

    /// Work the peer's interface needs before a step, but which is not part of the job.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Builds a job, warms it up, then serves requests until the end of input.
pub fn serve<J: Job>(build: impl FnOnce() -> Result<J>) -> Result<()> {
    let before = memory("VmRSS:")?;
    let mut job = build()?;
    run(&mut job, WARM_UP)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "ready {}", job.loss()?)?;
    out.flush()?;
    for line in std::io::stdin().lock().lines() {
        let seconds = run(&mut job, line?.trim().parse()?)?;
        writeln!(out, "{seconds} {}", job.loss()?)?;
        out.flush()?;
    }
    writeln!(out, "peak {} {before}", memory("VmHWM:")?)?;
    Ok(())
}

fn run(job: &mut impl Job, steps: usize) -> Result<f64> {
    let mut seconds = 0.0;
    for _ in 0..steps {
        job.prepare()?;
        let start = Instant::now();
        job.step()?;
        seconds += start.elapsed().as_secs_f64();
    }
    Ok(seconds)
}

/// The job's name, the worker's first argument.
pub fn job_name() -> Result<String> {
    std::env::args().nth(1).ok_or_else(|| "usage: worker JOB".into())
}

fn memory(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field)).ok_or("no such field")?;
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kibibytes * 1024)
}

/// The size of a GPT-2 and of its batch.
#[derive(Clone, Copy, Debug)]
pub struct Gpt {
    /// Layers.
    pub n_layer: usize,
    /// Heads.
    pub n_head: usize,
    /// Width.
    pub n_embd: usize,
    /// Tokens known.
    pub vocab: usize,
    /// Learned positions.
    pub positions: usize,
    /// Whether the head is the embedding's matrix.
    pub tied: bool,
    /// Sequences in a batch.
    pub batch: usize,
    /// Tokens in a sequence.
    pub time: usize,
}

/// Job (b): 5.3M parameters.
pub const GPT_SMALL: Gpt = Gpt {
    n_layer: 4,
    n_head: 4,
    n_embd: 256,
    vocab: 4096,
    positions: 128,
    tied: false,
    batch: 8,
    time: 128,
};

/// Job (c): GPT-2's smallest published shape.
pub const GPT2: Gpt = Gpt {
    n_layer: 12,
    n_head: 12,
    n_embd: 768,
    vocab: 50257,
    positions: 1024,
    tied: true,
    batch: 4,
    time: 256,
};

/// GPT-2 on sequences of its full length.
pub const GPT2_LONG: Gpt = Gpt { batch: 1, time: 1024, ..GPT2 };

/// GPT-2 on one short sequence, as fine-tuning on small things has it.
pub const GPT2_SHORT: Gpt = Gpt { batch: 1, time: 64, ..GPT2 };

/// A wide batch of a small GPT: the shape of the rows by number of threads.
pub const GPT_WIDE: Gpt = Gpt {
    n_layer: 6,
    n_head: 6,
    n_embd: 384,
    vocab: 4096,
    positions: 256,
    tied: false,
    batch: 12,
    time: 256,
};

/// Job (a): epochs of the seed program.
pub const SEED_EPOCHS: usize = 1000;
/// Job (a): points in its one batch.
pub const SEED_POINTS: usize = 100;
/// Job (a): learning rate of its SGD.
pub const SEED_LR: f64 = 0.01;
/// Job (d): rows in a batch.
pub const MLP_BATCH: usize = 64;
/// Job (d): widths, input to output.
pub const MLP_WIDTHS: [usize; 4] = [784, 512, 512, 10];
/// Job (e): elements of the one tensor.
pub const ADAMW_SIZE: usize = 1 << 26;
/// AdamW's learning rate, jobs (b) to (e).
pub const LR: f64 = 3e-4;
/// AdamW's weight decay on every parameter, jobs (b) to (e).
pub const WEIGHT_DECAY: f64 = 0.1;

/// A linear congruential generator (Knuth's MMIX constants), so that all workers see the same data.
pub struct Random(u64);

impl Random {
    /// A generator of the given seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 31 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.0 >> 33
    }

    /// Uniform in [0, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() as f64 / (1u64 << 31) as f64) as f32
    }

    /// `n` values uniform in [low, high).
    pub fn uniform(&mut self, n: usize, low: f32, high: f32) -> Vec<f32> {
        (0..n).map(|_| low + (high - low) * self.unit()).collect()
    }
}

/// Job (a)'s points: x uniform in [0, 1), y = 2x + 1 + noise in [-0.05, 0.05).
pub fn seed_data() -> (Vec<f32>, Vec<f32>) {
    let mut random = Random::new(1);
    let x = random.uniform(SEED_POINTS, 0.0, 1.0);
    let y = x.iter().map(|x| 2.0 * x + 1.0 + 0.1 * (random.unit() - 0.5)).collect();
    (x, y)
}

/// A batch of `[batch, time]` tokens and the tokens that follow them.
pub fn tokens(gpt: &Gpt) -> (Vec<i64>, Vec<i64>) {
    let mut random = Random::new(2);
    let stream: Vec<i64> = (0..gpt.batch * (gpt.time + 1))
        .map(|_| (random.bits() % gpt.vocab as u64) as i64)
        .collect();
    let rows = || stream.chunks(gpt.time + 1);
    (
        rows().flat_map(|row| row[..gpt.time].to_vec()).collect(),
        rows().flat_map(|row| row[1..].to_vec()).collect(),
    )
}

/// Job (d)'s batch: `[batch, 784]` values in [0, 1) and a class each.
pub fn mlp_data() -> (Vec<f32>, Vec<i64>) {
    let mut random = Random::new(3);
    let x = random.uniform(MLP_BATCH * MLP_WIDTHS[0], 0.0, 1.0);
    let classes = MLP_WIDTHS[3] as u64;
    (x, (0..MLP_BATCH).map(|_| (random.bits() % classes) as i64).collect())
}
