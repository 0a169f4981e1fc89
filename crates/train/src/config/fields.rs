//! The sections and keys of a config.

use rappel_optim::{AVERAGES, OPTIMIZERS};
use rappel_registry::{Field, Kind, Range};
use rappel_regularize::REGULARIZERS;
use rappel_schedule::{SCHEDULES, counted, scheduled};
use rappel_tensor::MatmulPrecision;

use crate::early_stopping;
use crate::tasks::TaskEntry;

/// The keys of a config, whatever is learned; see [`fields`] for those of a task.
pub static FIELDS: &[Field] = &[
    Field::new("task", Kind::Str, "\"language_model\"", "what is learned; see `rappel list tasks`"),
    Field::new("seed", Kind::int_from(0), "0", "chooses all random numbers and the order of data"),
    Field::optional("out", Kind::Str, "directory of the run; unset: runs/<config name>-<n>"),
    Field::optional(
        "from",
        Kind::Path(&[]),
        "run, or checkpoint of one, whose parameters, optimizer state and step this run goes on from",
    ),
    Field::optional(
        "from_sha256",
        Kind::Str,
        "SHA-256 of the manifest.json of the checkpoint `from`; the run's own config.toml holds it",
    ),
    Field::required("optimizer", Kind::Section(&OPTIMIZERS), "how it learns"),
    Field::new(
        "schedule",
        Kind::Section(&SCHEDULES),
        "{ name = \"constant\" }",
        "factor of the learning rate, by step",
    ),
    Field::new(
        "regularize",
        Kind::Sections(&REGULARIZERS),
        "[]",
        "what keeps the model from learning its training data by heart; see `rappel list regularizers`",
    )
    .aka(&["regularization", "regularizers"]),
    Field::optional(
        "average",
        Kind::Section(&AVERAGES),
        "the average of the weights that is validated, and kept in the end",
    ),
    Field::new("train", Kind::Table(TRAIN), "{}", "how long, and in what portions"),
    Field::optional(
        "early_stopping",
        Kind::Table(early_stopping::FIELDS),
        "when validation no longer gets better; the best model is kept",
    ),
    Field::new("checkpoint", Kind::Table(CHECKPOINT), "{}", "what a killed run goes on from"),
    Field::new("telemetry", Kind::Table(TELEMETRY), "{}", "who is told"),
];

/// The key that picks the task, and the task where a config does not give it.
pub(super) const TASK: (&str, &str) = ("task", "language_model");

/// Every key of a task's config, in the order in which a resolved one is written: its own sections
/// stand before that of the optimizer.
pub fn fields(task: &TaskEntry) -> Vec<Field> {
    let own = FIELDS.iter().position(|field| matches!(field.kind, Kind::Section(_)));
    let (run, descent) = FIELDS.split_at(own.unwrap_or(FIELDS.len()));
    [run, task.fields, descent].concat()
}

/// The portions of a step.
pub(crate) const BATCH_SIZE: Field = Field::new(
    "batch_size",
    counted(1, &["all"]),
    "8",
    "samples of one forward pass; \"all\": all samples in each step, 1: stochastic descent; a schedule is \
     rounded",
)
.aka(&["per_device_train_batch_size", "micro_batch_size"]);

const TRAIN: &[Field] = &[
    Field::optional("steps", Kind::int_from(1), "optimizer steps; give either this or epochs")
        .aka(&["max_steps", "num_steps", "iterations"]),
    Field::optional("epochs", Kind::Float(Range::above(0.0)), "passes over the training data")
        .aka(&["num_train_epochs"]),
    BATCH_SIZE,
    Field::new(
        "gradient_accumulation_steps",
        Kind::Int { min: 1, max: 1_000_000 },
        "1",
        "forward passes of one optimizer step; gradients are averaged over all their tokens",
    )
    .aka(&["grad_accum_steps", "accumulate_grad_batches"]),
    Field::new(
        "max_grad_norm",
        scheduled(Range::from(0.0)),
        "1.0",
        "longer gradients, all as one vector, are scaled down to this norm; 0: never",
    )
    .aka(&["grad_clip", "clip_grad_norm", "gradient_clip_val"]),
    Field::optional(
        "clip_value",
        Kind::Float(Range::above(0.0)),
        "each element of each gradient is moved into -clip_value..=clip_value",
    )
    .aka(&["clip_grad_value"]),
    Field::new(
        "matmul_precision",
        Kind::OneOf(&MatmulPrecision::NAMES),
        "\"highest\"",
        "what the model's matrix products round single precision to, sums and all else staying single: highest: \
         nothing; medium: bfloat16, twice as fast or more where the processor multiplies it faster, else slower; high: TF32, \
         which no processor has, so that it is highest",
    )
    .aka(&["float32_matmul_precision"]),
    Field::new(
        "update_in_backward",
        Kind::Bool,
        "false",
        "each parameter is updated as soon as its gradient is whole, which then is freed: memory for \
         the largest gradient instead of all, and the same result; wants max_grad_norm = 0",
    )
    .changeable(),
    Field::new(
        "noise_scale",
        Kind::Bool,
        "false",
        "measure the gradient noise scale: the samples beyond which larger batches save few steps; wants \
         gradient_accumulation_steps >= 2, and memory for two more gradients",
    )
    .aka(&["gradient_noise_scale"]),
    Field::new("log_every", Kind::int_from(1), "10", "steps between scalars; 1 logs every step")
        .aka(&["logging_steps", "log_interval"])
        .changeable(),
    Field::new(
        "eval_every",
        Kind::int_from(0),
        "0",
        "steps between validation losses; 0: only at the end",
    )
    .aka(&["eval_steps", "eval_interval"]),
    Field::optional("eval_batches", Kind::int_from(1), "batches of a validation; unset: all")
        .aka(&["eval_iters"]),
];

const CHECKPOINT: &[Field] = &[
    Field::new("every", Kind::int_from(1), "1000", "steps between checkpoints")
        .aka(&["save_steps", "save_every"])
        .changeable(),
    Field::new("keep", Kind::int_from(1), "2", "how many of the newest are kept")
        .aka(&["save_total_limit"])
        .changeable(),
];

const TELEMETRY: &[Field] = &[Field::new(
    "sinks",
    Kind::Strings,
    "[\"jsonl\", \"tensorboard\"]",
    "who is told of the scalars; see `rappel list sinks`",
)
.aka(&["report_to"])
.changeable()];
