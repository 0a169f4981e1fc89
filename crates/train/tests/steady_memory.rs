//! Once warm, training asks the system for no memory for its numbers.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use rappel_model::{Gpt2Config, ModelConfig};
use rappel_nn::Forward;
use rappel_optim::{AdamW, Optimizer, OptimizerConfig};
use rappel_tensor::{CrossEntropy, DType, Key, Params, Tensor, pool_stats};

/// Counts what is asked of the system allocator.
struct Counting;

/// Requests below this are the graph's nodes and lists of token ids (8 bytes a token here, 4 KiB);
/// they are counted by their balance. The smallest activation is 128 KiB.
const LARGE: usize = 16 << 10;

static LARGE_REQUESTS: AtomicUsize = AtomicUsize::new(0);
static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.size() >= LARGE {
            LARGE_REQUESTS.fetch_add(1, Ordering::Relaxed);
        }
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn counts() -> (u64, usize, usize) {
    let (large, live) = (LARGE_REQUESTS.load(Ordering::Relaxed), LIVE.load(Ordering::Relaxed));
    (pool_stats().allocations, large, live)
}

#[test]
fn a_step_allocates_nothing_once_warm() {
    // On a thread of the pool, as training runs.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| {
        let config = Gpt2Config {
            n_layer: 2,
            n_head: 4,
            n_embd: 64,
            n_positions: 64,
            vocab_size: 300,
            ..Gpt2Config::default()
        };
        let mut params = Params::new(0);
        let model = config.build(&mut params);
        let recipe = OptimizerConfig::new(AdamW::default()).max_grad_norm(1.0);
        let mut adamw = Optimizer::new(recipe, &params).unwrap();
        let mut step = |i: u64| {
            let key = Key::new(1).with(i);
            let ids = Tensor::rand([8, 64], 0.0, 300.0, DType::F64, key).to_dtype(DType::I64);
            let forward = Forward::training(key);
            let loss = model.loss(&ids, &ids, None, &CrossEntropy::default(), &forward);
            adamw.step(i, &mut params, &loss.backward()).unwrap();
        };
        // A worker makes its own buffers when it first joins, which on a busy machine may be late.
        let mut steps = 0..;
        let mut take = |count| steps.by_ref().take(count).for_each(&mut step);
        take(2);
        let window = |take: &mut dyn FnMut(usize)| {
            let before = counts();
            take(10);
            (before, counts())
        };
        let same = |(before, after): &((u64, usize, usize), (u64, usize, usize))| {
            (before.0, before.1) == (after.0, after.1)
        };
        let windows: Vec<_> = (0..5).map(|_| window(&mut take)).collect();
        let calm = windows.iter().find(|window| same(window));
        let Some((before, after)) = calm else {
            panic!("requests of the pool, large ones and live bytes, ten steps each: {windows:?}")
        };
        // The thread pool's own queues may grow or shrink by a block meanwhile.
        assert!(after.2.abs_diff(before.2) < LARGE, "{} bytes live, then {}", before.2, after.2);
    });
}
