//! From the third step on, training asks the system for no memory for its numbers.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use rappel_tensor::{DType, Init, Key, Param, Params, Tensor, WeightLayout, linear, pool_stats};

/// Counts what is asked of the system allocator.
struct Counting;

/// Requests below this are the graph's own small nodes; they are counted by their balance.
const LARGE: usize = 4096;

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

fn step(params: &mut Params, layers: &[Param], step: u64) {
    let x = Tensor::randn([96, 64], DType::F32, Key::new(step));
    let y = layers.iter().fold(x.clone(), |x, layer| {
        linear(&x, &layer.tensor(), None, WeightLayout::OutIn).gelu_tanh() + &x
    });
    let grads = (y - x).square().mean().backward();
    let layout = params.layout();
    params
        .update(|arenas| {
            let gradients = grads.all::<f32>(&layout, DType::F32);
            for (p, g) in arenas.all::<f32>().iter_mut().zip(gradients) {
                *p -= 0.1 * g;
            }
        })
        .unwrap();
}

fn counts() -> (u64, usize, usize) {
    let (large, live) = (LARGE_REQUESTS.load(Ordering::Relaxed), LIVE.load(Ordering::Relaxed));
    (pool_stats().allocations, large, live)
}

#[test]
fn a_step_allocates_nothing_once_warm() {
    // On a thread of the pool, as training runs.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    pool.install(|| {
        let mut params = Params::new(0);
        let layers: Vec<Param> = (0..4)
            .map(|i| params.scope("layer").add(&i.to_string(), [64, 64], Init::Normal { std: 0.1 }))
            .collect();
        step(&mut params, &layers, 0);
        step(&mut params, &layers, 1);
        let before = counts();
        for i in 2..12 {
            step(&mut params, &layers, i);
        }
        let after = counts();
        assert_eq!(
            (before.0, before.1),
            (after.0, after.1),
            "requests of the pool, and large ones"
        );
        // The thread pool's own queues may grow or shrink by a block meanwhile.
        assert!(after.2.abs_diff(before.2) < LARGE, "{} bytes live, then {}", before.2, after.2);
    });
}
