// Rows of logits L with a target each: a block a row. Slopes are of type T. Rows begin `stride` numbers apart.
typedef Real<L>::type real;

// Each row's loss; and for the slopes the logarithm of its sum of exponentials.
extern "C" __global__ void losses(const L* logits, const i64* targets, double* found, double* stats, i64 width, i64 ignored, double smoothing, double z_loss, i64 stride) {
    __shared__ double room[32];
    __shared__ real most[32];
    const i64 row = blockIdx.x, target = targets[row];
    if (target == ignored) {
        if (threadIdx.x == 0) {
            found[row] = 0;
            stats[2 * row] = 0;
            stats[2 * row + 1] = 0;
        }
        return;
    }
    logits += row * stride;
    real max = -(real)INFINITY, all = 0;
    for (i64 i = threadIdx.x; i < width; i += blockDim.x) {
        const real x = wide(logits[i]);
        max = larger(max, x);
        all += x;
    }
    max = block_max(max, most);
    real sum = 0;
    for (i64 i = threadIdx.x; i < width; i += blockDim.x) sum += exponential(wide(logits[i]) - max);
    const double lse = (double)max + log(block_sum((double)sum, room));
    // Without smoothing a logit of minus infinity, which forbids a token, costs nothing.
    const double total = smoothing != 0 ? block_sum((double)all, room) : 0;
    if (threadIdx.x == 0) {
        double loss = lse - (1 - smoothing) * (double)wide(logits[target]);
        if (smoothing != 0) loss -= smoothing * total / width;
        found[row] = loss + z_loss * lse * lse;
        stats[2 * row] = lse;
        stats[2 * row + 1] = 0;
    }
}

// The sum of all losses over the denominator, by one block.
extern "C" __global__ void __launch_bounds__(256) total(const double* found, T* out, i64 count, double denominator) {
    __shared__ double room[32];
    double sum = 0;
    for (i64 i = threadIdx.x; i < count; i += 256) sum += found[i];
    sum = block_sum(sum, room);
    if (threadIdx.x == 0) put(out, (Real<T>::type)(sum / denominator));
}

// Slopes of the loss, times `grad` (a number where it is given) and `share`, or the row's own factor.
extern "C" __global__ void slopes(const L* logits, const i64* targets, const double* stats, const double* grad, const double* scales, T* to, i64 width, i64 ignored, double smoothing, double z_loss, double share, i64 stride) {
    const i64 row = blockIdx.x, target = targets[row];
    logits += row * stride;
    to += row * stride;
    if (target == ignored) {
        for (i64 i = threadIdx.x; i < width; i += blockDim.x) put(to + i, 0);
        return;
    }
    const double lse = stats[2 * row];
    const double scale = (grad ? *grad : 1.0) * (scales ? scales[row] : share);
    const real factor = (real)(scale * (2 * z_loss * lse + 1)), shift = (real)(scale * smoothing / width);
    const real hit = (real)(scale * (1 - smoothing)), base = (real)lse;
    for (i64 i = threadIdx.x; i < width; i += blockDim.x) {
        const real slope = exponential(wide(logits[i]) - base) * factor - shift;
        put(to + i, i == target ? slope - hit : slope);
    }
}
