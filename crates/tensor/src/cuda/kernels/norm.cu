// Normalisation of rows: a block a row. Given: T.
typedef Real<T>::type real;

extern "C" __global__ void norm_forward(const T* x, const T* weight, const T* bias, T* to, double* stats, i64 width, double eps, int centred, int plus_one) {
    __shared__ double room[32];
    const i64 row = blockIdx.x;
    x += row * width;
    to += row * width;
    double mean = 0;
    if (centred) {
        real sum = 0;
        for (i64 i = threadIdx.x; i < width; i += blockDim.x) sum += wide(x[i]);
        mean = block_sum((double)sum, room) / width;
    }
    const real centre = (real)mean;
    real squares = 0;
    for (i64 i = threadIdx.x; i < width; i += blockDim.x) {
        const real v = wide(x[i]) - centre;
        squares += v * v;
    }
    const double rstd = 1.0 / sqrt(block_sum((double)squares, room) / width + eps);
    if (threadIdx.x == 0) {
        stats[2 * row] = mean;
        stats[2 * row + 1] = rstd;
    }
    const real scale = (real)rstd;
    for (i64 i = threadIdx.x; i < width; i += blockDim.x) {
        const real xhat = (wide(x[i]) - centre) * scale;
        const real w = plus_one ? wide(weight[i]) + real(1) : wide(weight[i]);
        put(to + i, bias ? fused(xhat, w, wide(bias[i])) : xhat * w);
    }
}

// rstd (g w - mean(g w) - xhat mean(g w xhat)), without the first mean where not centred.
extern "C" __global__ void norm_input(const T* grad, const T* x, const T* weight, const double* stats, T* dx, i64 width, int centred, int plus_one) {
    __shared__ double room[32];
    const i64 row = blockIdx.x;
    grad += row * width;
    x += row * width;
    dx += row * width;
    const double rstd = stats[2 * row + 1];
    const real centre = (real)stats[2 * row], scale = (real)rstd;
    real whole = 0, aligned = 0;
    for (i64 i = threadIdx.x; i < width; i += blockDim.x) {
        const real w = plus_one ? wide(weight[i]) + real(1) : wide(weight[i]);
        const real gw = wide(grad[i]) * w;
        whole += gw;
        aligned = fused(gw, (wide(x[i]) - centre) * scale, aligned);
    }
    const double all = centred ? block_sum((double)whole, room) : 0.0;
    const double along = block_sum((double)aligned, room);
    const double share = rstd / width;
    const real less = (real)(-all * share), tilt = (real)(-along * share);
    for (i64 i = threadIdx.x; i < width; i += blockDim.x) {
        const real w = plus_one ? wide(weight[i]) + real(1) : wide(weight[i]);
        const real xhat = (wide(x[i]) - centre) * scale;
        put(dx + i, fused(wide(grad[i]) * w, scale, fused(xhat, tilt, less)));
    }
}

// Partial sums of the gradients of weight and bias: a thread a column of `each` rows.
extern "C" __global__ void __launch_bounds__(256) norm_weight(const T* grad, const T* x, const double* stats, real* sums, i64 rows, i64 width, i64 each, i64 count) {
    const i64 i = blockIdx.x * 256ll + threadIdx.x;
    if (i >= count) return;
    const i64 piece = i / width, column = i % width;
    const i64 from = piece * each, to = from + each < rows ? from + each : rows;
    real dw = 0, db = 0;
    for (i64 r = from; r < to; r++) {
        const real g = wide(grad[r * width + column]);
        const real xhat = (wide(x[r * width + column]) - (real)stats[2 * r]) * (real)stats[2 * r + 1];
        dw = fused(g, xhat, dw);
        db += g;
    }
    sums[(2 * piece) * width + column] = dw;
    sums[(2 * piece + 1) * width + column] = db;
}

extern "C" __global__ void __launch_bounds__(256) add_up(const real* sums, T* to, i64 pieces, i64 width, int which, int accumulate) {
    const i64 i = blockIdx.x * 256ll + threadIdx.x;
    if (i >= width) return;
    real sum = accumulate ? wide(to[i]) : real(0);
    for (i64 piece = 0; piece < pieces; piece++) sum += sums[(2 * piece + which) * width + i];
    put(to + i, sum);
}
