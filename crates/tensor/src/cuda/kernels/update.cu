// A step of an update rule over runs of elements: four at a time, each number read once and written once. Given: Param, real,
// SLOTS, SUMS, WRITES, MASTER, GRADS, ROUNDS, TURNS, EACH_SLOT, formula.
#define EACH 4
#define BLOCK (256 * EACH)

struct Places {
    Param* params;
    const real* grads;
    float* master;
    void* slots[8];
};
template <class X> struct alignas(sizeof(X) * EACH > 16 ? 16 : sizeof(X) * EACH) Four { X x[EACH]; };

template <class X> DEV void fetch(const X* from, real* x, i64 n, bool whole) {
    if (whole) {
        const Four<X> all = *(const Four<X>*)from;
        UNROLL for (int j = 0; j < EACH; j++) x[j] = wide(all.x[j]);
    } else {
        UNROLL for (int j = 0; j < EACH; j++) x[j] = j < n ? (real)wide(from[j]) : real(0);
    }
}

// A number as it is stored; bfloat16 is rounded to the nearest, or with seeds to either neighbour, the nearer one likelier in
// proportion, by a hash of the position.
DEV void keep(float* to, real x, i64, u32, u32) { *to = (float)x; }
DEV void keep(double* to, real x, i64, u32, u32) { *to = x; }
DEV void keep(bf16* to, real x, i64 at, u32 a, u32 b) {
    const float f = (float)x;
    if (!ROUNDS) {
        to->bits = rounded(f);
        return;
    }
    const u32 bits = __float_as_uint(f);
    const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
    to->bits = (u16)((finite ? bits + (hashed((u32)at, a, b) >> 16) : bits) >> 16);
}
template <class X> DEV void store(X* to, const real* x, i64 n, bool whole, i64 at, u32 a, u32 b) {
    if (whole) {
        Four<X> all;
        UNROLL for (int j = 0; j < EACH; j++) keep(&all.x[j], x[j], at + j, a, b);
        *(Four<X>*)to = all;
    } else {
        UNROLL for (int j = 0; j < EACH; j++)
            if (j < n) keep(to + j, x[j], at + j, a, b);
    }
}

// The table of runs: first block, first parameter, first number of state, length.
extern "C" __global__ void __launch_bounds__(256) update(const Places p, const i64* table, i64 runs, const real* constants, i64 stride, int aligned, u32 seed_a, u32 seed_b, double* partial) {
    i64 low = 0, high = runs;
    while (high - low > 1) {
        const i64 middle = (low + high) / 2;
        if (table[4 * middle] <= (i64)blockIdx.x) low = middle;
        else high = middle;
    }
    const i64 param = table[4 * low + 1], state = table[4 * low + 2], len = table[4 * low + 3];
    const real* c = constants + low * stride;
#if SUMS
    __shared__ double room[32];
    double totals[SUMS];
    UNROLL for (int k = 0; k < SUMS; k++) totals[k] = 0;
#endif
    for (int turn = 0; turn < TURNS; turn++) {
        const i64 done = (((i64)blockIdx.x - table[4 * low]) * TURNS + turn) * BLOCK + threadIdx.x * EACH;
        const i64 n = len - done;
        if (n <= 0) break;
        const bool whole = aligned && n >= EACH;
        const i64 at = param + done, there = state + done;
        real values[EACH], grads[EACH], slots[SLOTS + 1][EACH];
#if MASTER
        fetch(p.master + there, values, n, whole);
#else
        fetch(p.params + at, values, n, whole);
#endif
#if GRADS
        fetch(p.grads + at, grads, n, whole);
#else
        UNROLL for (int j = 0; j < EACH; j++) grads[j] = values[j];
#endif
#define FETCH(k, X) fetch((const X*)p.slots[k] + there, slots[k], n, whole);
        EACH_SLOT(FETCH)
        UNROLL for (int j = 0; j < EACH; j++) {
            real x[2 + SLOTS], y[1 + SLOTS + SUMS];
            x[0] = values[j];
            x[1] = grads[j];
            UNROLL for (int k = 0; k < SLOTS; k++) x[2 + k] = slots[k][j];
            formula(x, y, c);
#if SUMS
            UNROLL for (int k = 0; k < SLOTS; k++) slots[k][j] = y[k];
            UNROLL for (int k = 0; k < SUMS; k++)
                if (j < n) totals[k] += (double)y[SLOTS + k];
#else
            values[j] = y[0];
            UNROLL for (int k = 0; k < SLOTS; k++) slots[k][j] = y[1 + k];
#endif
        }
#define STORE(k, X) store((X*)p.slots[k] + there, slots[k], n, whole, there, seed_a ^ (k + 1), seed_b);
        EACH_SLOT(STORE)
#if WRITES
        store(p.params + at, values, n, whole, at, seed_a, seed_b);
#if MASTER
        store(p.master + there, values, n, whole, there, 0, 0);
#endif
#endif
    }
#if SUMS
    for (int k = 0; k < SUMS; k++) {
        double sum = totals[0];
        UNROLL for (int i = 1; i < SUMS; i++)
            if (i == k) sum = totals[i];
        sum = block_sum(sum, room);
        if (threadIdx.x == 0) partial[(i64)blockIdx.x * SUMS + k] = sum;
    }
#endif
}
