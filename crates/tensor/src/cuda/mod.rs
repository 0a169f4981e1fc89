//! NVIDIA's GPUs: the driver, NVRTC and cuBLASLt, opened at run time, and kernels written in CUDA C, which is compiled
//! where it runs.
//!
//! A kernel's text includes no header but `kernels/prelude.cuh`, so that the system's C++ compiler can build it, too: the
//! [`emulator`] runs the same text on the processor, in several orders of threads, and serves wherever a GPU would.
#![allow(unsafe_code)]

mod args;
pub(crate) mod attention;
mod compiler;
pub(crate) mod copy;
mod driver;
pub(crate) mod elementwise;
mod emulator;
pub(crate) mod index;
mod library;
mod machine;
mod matmul;
mod memory;
pub(crate) mod product;
mod rates;
pub(crate) mod reduce;
mod report;
pub(crate) mod rows;
#[cfg(test)]
mod tests;
mod transfer;
pub(crate) mod update;

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use crate::device::{Device, DeviceError, fail};
use crate::tensor::Tensor;
pub(crate) use args::Args;
use machine::{Function, Grid, Machine, Product, Source};
pub use rates::{KernelRate, kernel_rates};
pub use report::{DeviceInfo, DevicesReport, LibraryInfo, devices};

/// What every kernel's text begins with.
const PRELUDE: &str = include_str!("kernels/prelude.cuh");
/// The most GPUs of a machine.
const MOST: usize = 64;
/// Launches that an error names.
const REMEMBERED: usize = 32;
/// Waits after each launch, so that an error names the launch that made it.
const SYNC_VARIABLE: &str = "RAPPEL_CUDA_SYNC";
/// Fills new memory with bytes that are no number.
const POISON_VARIABLE: &str = "RAPPEL_CUDA_POISON";
/// Makes an operation that no kernel serves an error.
const STRICT_VARIABLE: &str = "RAPPEL_CUDA_STRICT";

/// Functions of one name, by the texts that they are in.
type Texts = HashMap<String, Function>;

/// A GPU in use: its memory, and the functions that were compiled for it.
pub(crate) struct Gpu {
    index: usize,
    machine: Box<dyn Machine>,
    memory: memory::Blocks,
    /// By their names, and by the texts that they are in.
    functions: Mutex<HashMap<(&'static str, bool), Texts>>,
    launched: Mutex<VecDeque<&'static str>>,
    waits: bool,
    strict: bool,
    poisons: bool,
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu")
            .field("index", &self.index)
            .field("machine", &self.machine)
            .finish_non_exhaustive()
    }
}

/// GPU `index`, opened at the first call.
pub(crate) fn gpu(index: usize) -> Result<&'static Gpu, DeviceError> {
    static GPUS: [OnceLock<Result<&'static Gpu, DeviceError>>; MOST] =
        [const { OnceLock::new() }; MOST];
    let Some(gpu) = GPUS.get(index) else {
        return Err(DeviceError::new(format!(
            "there is no cuda:{index}: no machine has more than {MOST} GPUs"
        )));
    };
    gpu.get_or_init(|| Gpu::open(index).map(|gpu| &*Box::leak(Box::new(gpu)))).clone()
}

thread_local! {
    /// The operation that this thread is in, for messages.
    static OPERATION: Cell<&'static str> = const { Cell::new("tensors") };
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a variable is set to something else than nothing or 0.
fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty() && value != "0")
}

/// A kernel: where its text is, and the function in it.
#[derive(Clone, Copy)]
pub(crate) struct Kernel<'a> {
    /// The operation, as in the profile.
    pub name: &'static str,
    /// The text behind the prelude.
    pub text: &'a str,
    pub function: &'static str,
    /// Whether results are the cores' bit for bit.
    pub exact: bool,
}

impl Gpu {
    fn open(index: usize) -> Result<Self, DeviceError> {
        let machine: Box<dyn Machine> = match emulator::Emulator::wanted(index)? {
            Some(emulator) => Box::new(emulator),
            None => Box::new(driver::Gpu::open(index)?),
        };
        Ok(Self {
            index,
            memory: memory::Blocks::default(),
            functions: Mutex::default(),
            launched: Mutex::default(),
            waits: is_set(SYNC_VARIABLE),
            strict: is_set(STRICT_VARIABLE),
            poisons: cfg!(test) || is_set(POISON_VARIABLE),
            machine,
        })
    }

    pub fn device(&self) -> Device {
        Device::Cuda(self.index)
    }

    /// What the card is called.
    pub fn hardware(&self) -> &str {
        self.machine.name()
    }

    /// What came of an action, or the end of all work on this GPU.
    fn done<T>(&self, result: Result<T, DeviceError>, what: &str) -> T {
        result.unwrap_or_else(|error| {
            let launched: Vec<&str> = locked(&self.launched).iter().copied().collect();
            let hint = if self.waits || launched.is_empty() {
                String::new()
            } else {
                format!(
                    "; errors of a GPU show late: the last kernels were {}; {SYNC_VARIABLE}=1 names the one",
                    launched.join(", ")
                )
            };
            fail(DeviceError::new(format!("cuda:{} failed ({what}): {error}{hint}", self.index)))
        })
    }

    /// Runs a kernel on `blocks` of `threads`.
    pub fn run(
        &self,
        kernel: Kernel<'_>,
        blocks: [usize; 3],
        threads: usize,
        shared: usize,
        args: &mut Args,
    ) {
        if blocks.contains(&0) {
            return;
        }
        let grid = Grid {
            blocks: blocks.map(|n| n as u32),
            threads: threads as u32,
            shared: shared as u32,
        };
        let fits = blocks[0] < 1 << 31 && blocks[1] < 1 << 16 && blocks[2] < 1 << 16;
        assert!(fits, "{}: a grid of {blocks:?} blocks is beyond a GPU", kernel.name);
        let function = self.function(kernel);
        {
            let mut launched = locked(&self.launched);
            if launched.len() == REMEMBERED {
                launched.pop_front();
            }
            launched.push_back(kernel.name);
        }
        // SAFETY: arguments are what the kernel's text takes; addresses are buffers' that hold what the operation's shapes
        // say.
        self.done(
            unsafe { self.machine.launch(function, grid, &mut args.pointers()) },
            kernel.name,
        );
        if self.waits {
            self.done(self.machine.finish(), kernel.name);
        }
    }

    /// Runs a kernel with a thread for each of `count` elements.
    pub fn run_for(&self, kernel: Kernel<'_>, count: usize, args: &mut Args) {
        const THREADS: usize = 256;
        self.run(kernel, [count.div_ceil(THREADS), 1, 1], THREADS, 0, args);
    }

    fn function(&self, kernel: Kernel<'_>) -> Function {
        #[cfg(test)]
        texts::note(kernel);
        let name = (kernel.function, kernel.exact);
        if let Some(function) =
            locked(&self.functions).get(&name).and_then(|texts| texts.get(kernel.text))
        {
            return *function;
        }
        let text = format!("{PRELUDE}\n{}", kernel.text);
        let source = Source { text: &text, exact: kernel.exact };
        let function = self.done(self.machine.compile(source, kernel.function), kernel.name);
        locked(&self.functions).entry(name).or_default().insert(kernel.text.to_owned(), function);
        function
    }

    /// Runs a product.
    fn product(&self, product: &Product, addresses: [u64; 3]) {
        // SAFETY: the operands' shapes and layouts say how much memory there is.
        self.done(unsafe { self.machine.product(product, addresses) }, "matmul");
        if self.waits {
            self.done(self.machine.finish(), "matmul");
        }
    }

    /// Waits until all that was asked for is done.
    pub fn finish(&self) {
        self.done(self.machine.finish(), "waiting");
    }

    /// Milliseconds that `work` takes on the GPU.
    pub fn timed(&self, work: &mut dyn FnMut()) -> f64 {
        let timed = self.machine.timed(&mut || {
            work();
            Ok(())
        });
        self.done(timed, "timing")
    }
}

/// The GPU that one of the operands lies on, if one does: work runs there.
pub(crate) fn of(operands: &[&Tensor]) -> Option<&'static Gpu> {
    operands.iter().find_map(|operand| operand.buffer.gpu())
}

/// Notes that the cores do `name` though an operand lies on a GPU: a row of the profile, and an error where that was asked
/// for.
pub(crate) fn falls_back(name: &'static str, operands: &[&Tensor]) -> crate::profile::Timer {
    match of(operands) {
        None => crate::profile::no_timer(),
        Some(gpu) => gpu.falls_back(name),
    }
}

impl Gpu {
    /// As [`falls_back`], where the operands are known to lie here.
    pub fn falls_back(&self, name: &'static str) -> crate::profile::Timer {
        if self.strict {
            fail(DeviceError::new(format!(
                "{name} has no kernel for cuda:{}, and {STRICT_VARIABLE} is set; unset it to run {name} on the processor",
                self.index
            )));
        }
        crate::profile::timed(note_fallback(name), 0.0, 0.0)
    }
}

/// The texts that tests launch.
#[cfg(test)]
mod texts {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::{Kernel, locked};

    static TEXTS: Mutex<Option<BTreeSet<(String, bool)>>> = Mutex::new(None);

    /// Begins to collect.
    pub fn collect() {
        *locked(&TEXTS) = Some(BTreeSet::new());
    }

    pub fn note(kernel: Kernel<'_>) {
        if let Some(texts) = &mut *locked(&TEXTS) {
            texts.insert((kernel.text.to_owned(), kernel.exact));
        }
    }

    /// What was collected.
    pub fn take() -> BTreeSet<(String, bool)> {
        locked(&TEXTS).take().unwrap_or_default()
    }
}

/// What fell back so far, and how often.
static FALLBACKS: Mutex<BTreeMap<&'static str, Fallback>> = Mutex::new(BTreeMap::new());

#[derive(Clone, Copy)]
struct Fallback {
    /// The operation's row in the profile.
    row: &'static str,
    count: u64,
}

/// Counts a fallback; gives the name of its row.
fn note_fallback(name: &'static str) -> &'static str {
    let mut known = locked(&FALLBACKS);
    let row = || String::leak(format!("{name} (processor)"));
    let fallback = known.entry(name).or_insert_with(|| Fallback { row: row(), count: 0 });
    fallback.count += 1;
    fallback.row
}

/// Operations that ran on the processor, though their operands lay on a GPU, for want of a kernel, and how often each.
pub fn fallbacks() -> Vec<(&'static str, u64)> {
    locked(&FALLBACKS).iter().map(|(name, fallback)| (*name, fallback.count)).collect()
}
