// Sums: within a thread in the type that arithmetic is done in, between threads in double precision. Given: T, O.
typedef Real<T>::type real;
#define PART 16384
#define ROWS 64

// [outer, reduced, 1]: a block a part of a row.
extern "C" __global__ void __launch_bounds__(256) sum_rows(const T* x, double* partial, i64 reduced, i64, i64 parts) {
    __shared__ double room[32];
    const i64 row = blockIdx.x / parts, part = blockIdx.x % parts;
    const i64 from = part * PART, to = from + PART < reduced ? from + PART : reduced;
    real sum = 0;
    for (i64 i = from + threadIdx.x; i < to; i += 256) sum += wide(x[row * reduced + i]);
    const double all = block_sum((double)sum, room);
    if (threadIdx.x == 0) partial[blockIdx.x] = all;
}

// [outer, reduced, inner]: a thread a column of ROWS rows.
extern "C" __global__ void __launch_bounds__(256) sum_columns(const T* x, double* partial, i64 reduced, i64 inner, i64 parts, i64 count) {
    const i64 i = blockIdx.x * 256ll + threadIdx.x;
    if (i >= count) return;
    const i64 column = i % inner, part = i / inner % parts, o = i / inner / parts;
    const i64 from = part * ROWS, to = from + ROWS < reduced ? from + ROWS : reduced;
    real sum = 0;
    for (i64 r = from; r < to; r++) sum += wide(x[(o * reduced + r) * inner + column]);
    partial[i] = sum;
}

extern "C" __global__ void __launch_bounds__(256) sum_parts(const double* partial, O* out, i64 parts, i64 inner, i64 count) {
    const i64 i = blockIdx.x * 256ll + threadIdx.x;
    if (i >= count) return;
    const i64 column = i % inner, o = i / inner;
    double sum = 0;
    for (i64 p = 0; p < parts; p++) sum += partial[(o * parts + p) * inner + column];
    put(out + i, (Real<O>::type)sum);
}

// Squares of pieces, whose beginnings and ends are given.
extern "C" __global__ void __launch_bounds__(256) squares(const T* x, const i64* pieces, double* sums) {
    __shared__ double room[32];
    const i64 from = pieces[2 * blockIdx.x], to = pieces[2 * blockIdx.x + 1];
    real sum = 0;
    for (i64 i = from + threadIdx.x; i < to; i += 256) {
        const real v = wide(x[i]);
        sum += v * v;
    }
    const double all = block_sum((double)sum, room);
    if (threadIdx.x == 0) sums[blockIdx.x] = all;
}

DEV bool finite_number(float x) { return fabsf(x) <= 3.402823466e38f; }
DEV bool finite_number(double x) { return fabs(x) <= 1.7976931348623157e308; }

// The first number of each part that is not finite, or the largest integer: by a warp, threads in turn.
extern "C" __global__ void __launch_bounds__(256) non_finite(const T* x, i64* found, i64 count) {
    __shared__ double room[32];
    const i64 from = (i64)blockIdx.x * PART, to = from + PART < count ? from + PART : count;
    i64 first = to;
    for (i64 i = from + threadIdx.x; i < to; i += 256) {
        if (!finite_number(wide(x[i]))) { first = i; break; }
    }
    const double least = -block_max(-(double)(first - from), room);
    if (threadIdx.x == 0) found[blockIdx.x] = (i64)least < to - from ? from + (i64)least : 0x7fffffffffffffffll;
}
