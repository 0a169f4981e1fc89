// Softmax and its kin: a block a row. Given: T.
typedef Real<T>::type real;

// The largest number of a row, and the sum of exponentials relative to it.
struct Statistics { real max; double sum; };
DEV Statistics statistics(const T* x, i64 width, real* most, double* room) {
    real max = -(real)INFINITY;
    for (i64 i = threadIdx.x; i < width; i += blockDim.x) max = larger(max, wide(x[i]));
    max = block_max(max, most);
    real sum = 0;
    for (i64 i = threadIdx.x; i < width; i += blockDim.x) sum += exponential(wide(x[i]) - max);
    return Statistics{max, block_sum((double)sum, room)};
}

#define ROW                                  \
    __shared__ double room[32];              \
    const i64 row = blockIdx.x;              \
    x += row * width;                        \
    grad += row * width;
#define EACH for (i64 i = threadIdx.x; i < width; i += blockDim.x)

extern "C" __global__ void softmax(const T* x, const T* grad, T* to, i64 width) {
    __shared__ real most[32];
    ROW;
    const Statistics s = statistics(x, width, most, room);
    const real scale = (real)(1.0 / s.sum);
    EACH put(to + row * width + i, exponential(wide(x[i]) - s.max) * scale);
}
extern "C" __global__ void log_softmax(const T* x, const T* grad, T* to, i64 width) {
    __shared__ real most[32];
    ROW;
    const Statistics s = statistics(x, width, most, room);
    const real lse = (real)((double)s.max + log(s.sum));
    EACH put(to + row * width + i, wide(x[i]) - lse);
}
extern "C" __global__ void log_sum_exp(const T* x, const T* grad, T* to, i64 width) {
    __shared__ real most[32];
    ROW;
    const Statistics s = statistics(x, width, most, room);
    // Of nothing but minus infinity, minus infinity.
    const double lse = s.max == -(real)INFINITY ? -(double)INFINITY : (double)s.max + log(s.sum);
    if (threadIdx.x == 0) put(to + row, (real)lse);
}
// y (g - sum(g y))
extern "C" __global__ void softmax_grad(const T* x, const T* grad, T* to, i64 width) {
    ROW;
    real sum = 0;
    EACH sum = fused(wide(x[i]), wide(grad[i]), sum);
    const real all = (real)block_sum((double)sum, room);
    EACH put(to + row * width + i, wide(x[i]) * (wide(grad[i]) - all));
}
// g - exp(y) sum(g)
extern "C" __global__ void log_softmax_grad(const T* x, const T* grad, T* to, i64 width) {
    ROW;
    real sum = 0;
    EACH sum += wide(grad[i]);
    const real all = (real)block_sum((double)sum, room);
    EACH put(to + row * width + i, wide(grad[i]) - exponential(wide(x[i])) * all);
}
