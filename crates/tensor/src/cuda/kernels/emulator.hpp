// CUDA's words for a C++ compiler, without a header. The threads of a block are fibers, run in one of three orders; barriers
// and a warp's exchanges are where they meet. A thread whose kernel meets nowhere runs to its end at once. Shared memory
// begins as bytes that are no number.
#define RAPPEL_HOST
#define DEV static inline
#define __device__
#define __global__
#define __forceinline__ inline
#define __restrict__
#define __launch_bounds__(...)
#define __shared__ __attribute__((section("rappel_shared"))) static
#define INFINITY __builtin_inff()

#define fmaf __builtin_fmaf
#define fma __builtin_fma
#define sqrtf __builtin_sqrtf
#define sqrt __builtin_sqrt
#define fabsf __builtin_fabsf
#define fabs __builtin_fabs
#define rintf __builtin_rintf
#define rint __builtin_rint
#define expf __builtin_expf
#define exp __builtin_exp
#define exp2f __builtin_exp2f
#define logf __builtin_logf
#define log __builtin_log
#define tanhf __builtin_tanhf
#define tanh __builtin_tanh
#define erff __builtin_erff
#define erf __builtin_erf
#define sinf __builtin_sinf
#define sin __builtin_sin
#define cosf __builtin_cosf
#define cos __builtin_cos
#define powf __builtin_powf
#define pow __builtin_pow

static inline unsigned __float_as_uint(float x) { unsigned u; __builtin_memcpy(&u, &x, 4); return u; }
static inline float __uint_as_float(unsigned x) { float f; __builtin_memcpy(&f, &x, 4); return f; }

struct dim3 { unsigned x, y, z; };
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
struct uint2 { unsigned x, y; };
struct alignas(16) uint4 { unsigned x, y, z, w; };

#define MOST_THREADS 1024
#define STACK (48 << 10)
static dim3 blockIdx, blockDim, gridDim;
static struct { void* stack; bool done; } fiber[MOST_THREADS];
static unsigned now, threads_;
static void* home;
#define threadIdx (dim3{now, 0, 0})

static void (*function)(void**);
static void** arguments;
alignas(64) static unsigned char dynamic_shared[200 << 10];
#define SHARED(type, name) type* name = (type*)dynamic_shared

#if defined(__x86_64__)
extern "C" __attribute__((visibility("hidden"))) void rappel_swap(void** from, void* to);
asm(".text\n.globl rappel_swap\n.hidden rappel_swap\nrappel_swap:\n"
    "pushq %rbp\npushq %rbx\npushq %r12\npushq %r13\npushq %r14\npushq %r15\n"
    "movq %rsp, (%rdi)\nmovq %rsi, %rsp\n"
    "popq %r15\npopq %r14\npopq %r13\npopq %r12\npopq %rbx\npopq %rbp\nret\n");
alignas(64) static unsigned char stacks[MOST_THREADS][STACK];
static void enter();
static void prepare(unsigned i) {
    void** top = (void**)(stacks[i] + STACK);
    *--top = 0;
    *--top = (void*)enter;
    for (int k = 0; k < 6; k++) *--top = 0;
    fiber[i].stack = top;
}
static void leave() { rappel_swap(&fiber[now].stack, home); }
static void resume(unsigned i) { now = i; rappel_swap(&home, fiber[i].stack); }
#else
#include <ucontext.h>
static ucontext_t at[MOST_THREADS], back;
static unsigned char stacks[MOST_THREADS][STACK];
static void enter();
static void prepare(unsigned i) {
    getcontext(&at[i]);
    at[i].uc_stack.ss_sp = stacks[i];
    at[i].uc_stack.ss_size = STACK;
    at[i].uc_link = 0;
    makecontext(&at[i], enter, 0);
}
static void leave() { swapcontext(&at[now], &back); }
static void resume(unsigned i) { now = i; swapcontext(&back, &at[i]); }
#endif

// Places 0.. are warps, the last is the block.
static unsigned came[MOST_THREADS / 32 + 1], age[MOST_THREADS / 32 + 1];
static unsigned long progress;
static void meet(unsigned place, unsigned of) {
    const unsigned a = age[place];
    if (++came[place] == of) { came[place] = 0; age[place]++; progress++; }
    while (age[place] == a) leave();
}
static void __syncthreads() { meet(MOST_THREADS / 32, threads_); }
static void __syncwarp(unsigned = ~0u) { meet(now / 32, 32); }
static unsigned char exchanged[MOST_THREADS][8];
template <class T> static T taken(T x, unsigned from) {
    __builtin_memcpy(exchanged[now], &x, sizeof x);
    __syncwarp();
    T y;
    __builtin_memcpy(&y, exchanged[now / 32 * 32 + from % 32], sizeof y);
    __syncwarp();
    return y;
}
template <class T> static T __shfl_xor_sync(unsigned, T x, int o) { return taken(x, (now % 32) ^ o); }
template <class T> static T __shfl_sync(unsigned, T x, int from) { return taken(x, from); }

static void enter() {
    function(arguments);
    fiber[now].done = true;
    progress++;
    for (;;) leave();
}

extern unsigned char __start_rappel_shared[] __attribute__((weak, visibility("hidden")));
extern unsigned char __stop_rappel_shared[] __attribute__((weak, visibility("hidden")));

static const char* run_block(unsigned order) {
    __builtin_memset(dynamic_shared, 0xff, sizeof dynamic_shared);
    if (__start_rappel_shared) __builtin_memset(__start_rappel_shared, 0xff, __stop_rappel_shared - __start_rappel_shared);
    const unsigned n = threads_;
#ifdef RAPPEL_MEETS
    for (unsigned i = 0; i < n; i++) { fiber[i].done = false; prepare(i); }
    __builtin_memset(came, 0, sizeof came);
    for (unsigned left = n, round = 0; left; round++) {
        const unsigned long before = progress;
        left = 0;
        for (unsigned k = 0; k < n; k++) {
            const unsigned i = order == 0 ? k : order == 1 ? n - 1 - k : (k * 37 + round * 11) % n;
            if (!fiber[i].done) { resume(i); left += !fiber[i].done; }
        }
        if (left && progress == before && round > 2) return "threads wait at a barrier that others of their block never reach";
    }
#else
    for (unsigned k = 0; k < n; k++) {
        now = order == 0 ? k : order == 1 ? n - 1 - k : (k * 37 + 11) % n;
        function(arguments);
    }
#endif
    return 0;
}

static const char* run(void (*f)(void**), void** args, const unsigned* blocks, unsigned threads, unsigned shared, unsigned order) {
    function = f;
    arguments = args;
    threads_ = threads;
    if (threads > MOST_THREADS) return "more than 1024 threads a block";
    if (shared > sizeof dynamic_shared) return "more shared memory than a GPU has";
    gridDim = dim3{blocks[0], blocks[1], blocks[2]};
    blockDim = dim3{threads, 1, 1};
    const unsigned long all = (unsigned long)blocks[0] * blocks[1] * blocks[2];
    for (unsigned long k = 0; k < all; k++) {
        const unsigned long b = order == 1 ? all - 1 - k : k;
        blockIdx = dim3{(unsigned)(b % blocks[0]), (unsigned)(b / blocks[0] % blocks[1]), (unsigned)(b / blocks[0] / blocks[1])};
        if (const char* wrong = run_block(order)) return wrong;
    }
    return 0;
}

template <unsigned... I> struct Numbers {};
template <unsigned N, unsigned... I> struct Count : Count<N - 1, N - 1, I...> {};
template <unsigned... I> struct Count<0, I...> { typedef Numbers<I...> type; };
template <class T> struct Plain { typedef T type; };
template <class T> struct Plain<const T> { typedef T type; };
template <class... A, unsigned... I> static void unpack(void (*f)(A...), void** args, Numbers<I...>) {
    f(*(typename Plain<A>::type*)args[I]...);
}
template <class... A> static void call(void (*f)(A...), void** args) { unpack(f, args, typename Count<sizeof...(A)>::type()); }
#define ENTRY(name) \
    static void rappel_call(void** args) { call(name, args); } \
    extern "C" const char* emulated(void** args, const unsigned* blocks, unsigned threads, unsigned shared, unsigned order) { \
        return run(rappel_call, args, blocks, threads, shared, order); \
    }
