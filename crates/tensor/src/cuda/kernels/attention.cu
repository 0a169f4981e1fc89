// Attention: a block of TILE threads a query, or a key. Given: T. Arithmetic is in `real`, sums of blocks in double precision.
typedef Real<T>::type real;
#define TILE 128
#define PARTS 4

struct Problem {
    i64 time, keys, heads, kv_heads, dim;
    i64 beyond, window;       // -1: none
    const u8* padding;        // [batch, keys], or none
    const i64* documents;     // [batch, time], or none
    const u64* seeds;         // [batch, heads, time], or none
    i64 below;
    double scale, softcap, upscale;
};
struct Heads { T* start; i64 batch, time, head, channel; };
DEV T* row_of(const Heads& x, i64 b, i64 t, i64 h) { return x.start + b * x.batch + t * x.time + h * x.head; }

DEV i64 visible(const Problem& p, i64 t) {
    if (p.beyond < 0) return p.keys;
    const i64 end = t + p.beyond + p.keys - p.time;
    return end < 0 ? 0 : end < p.keys ? end : p.keys;
}
DEV i64 lowest(const Problem& p, i64 t) {
    if (p.window < 0) return 0;
    const i64 first = t + 1 + p.keys - p.time - p.window;
    return first < 0 ? 0 : first;
}
DEV bool seen(const Problem& p, i64 b, i64 t, i64 j) {
    if (j < lowest(p, t) || j >= visible(p, t)) return false;
    if (p.padding && !p.padding[b * p.keys + j]) return false;
    return !p.documents || p.documents[b * p.time + t] == p.documents[b * p.time + j];
}
// Thirty-two random bits at a place of a seed's stream, as on the cores.
DEV u32 folded(u32 x) {
    x = (x ^ (x >> 16)) * 0x7feb352du;
    x = (x ^ (x >> 15)) * 0x846ca68bu;
    return x ^ (x >> 16);
}
DEV real kept(const Problem& p, u64 seed, i64 j) {
    if (!p.seeds) return 1;
    return folded(folded((u32)j ^ (u32)seed) + (u32)(seed >> 32)) >= (u32)p.below ? (real)p.upscale : real(0);
}
DEV real dot(const T* a, i64 step_a, const T* b, i64 step_b, i64 dim) {
    real sum = 0;
    for (i64 d = 0; d < dim; d++) sum = fused(wide(a[d * step_a]), wide(b[d * step_b]), sum);
    return sum;
}
// The score of a query and a key, capped.
DEV real score(const Problem& p, const Heads& q, const T* query, const Heads& k, const T* key) {
    const real s = dot(query, q.channel, key, k.channel, p.dim) * (real)p.scale;
    return p.softcap > 0 ? (real)p.softcap * hyperbolic(s / (real)p.softcap) : s;
}

extern "C" __global__ void __launch_bounds__(TILE) forward(const Problem p, const Heads q, const Heads k, const Heads v, const Heads out, double* lse) {
    __shared__ real scores[TILE];
    __shared__ real most[32];
    __shared__ double room[32];
    const i64 id = blockIdx.x, t = id % p.time, h = id / p.time % p.heads, b = id / p.time / p.heads;
    const i64 kv = h / (p.heads / p.kv_heads);
    const T* query = row_of(q, b, t, h);
    const u64 seed = p.seeds ? p.seeds[id] : 0;
    real max = -(real)INFINITY, sums[PARTS];
    double sum = 0;
    UNROLL for (int n = 0; n < PARTS; n++) sums[n] = 0;
    const i64 end = visible(p, t);
    for (i64 first = lowest(p, t); first < end; first += TILE) {
        const i64 j = first + threadIdx.x;
        const bool sees = j < end && seen(p, b, t, j);
        const real s = sees ? score(p, q, query, k, row_of(k, b, j, kv)) : -(real)INFINITY;
        const real top = larger(max, block_max(s, most));
        // Of a tile in which nothing is seen, nothing changes.
        const real e = sees ? exponential(s - top) : real(0);
        const real shrink = max == -(real)INFINITY ? real(0) : exponential(max - top);
        sum = sum * (double)shrink + block_sum((double)e, room);
        max = top;
        scores[threadIdx.x] = sees ? e * kept(p, seed, j) : real(0);
        __syncthreads();
        const i64 n = end - first < TILE ? end - first : TILE;
        UNROLL for (int part = 0; part < PARTS; part++) {
            const i64 d = threadIdx.x + part * TILE;
            if (d >= p.dim) break;
            real add = 0;
            for (i64 i = 0; i < n; i++) add = fused(scores[i], wide(row_of(v, b, first + i, kv)[d * v.channel]), add);
            sums[part] = sums[part] * shrink + add;
        }
        __syncthreads();
    }
    const real scale = sum == 0 ? real(0) : (real)(1.0 / sum);
    UNROLL for (int part = 0; part < PARTS; part++) {
        const i64 d = threadIdx.x + part * TILE;
        if (d < p.dim) put(row_of(out, b, t, h) + d * out.channel, sums[part] * scale);
    }
    if (threadIdx.x == 0) lse[id] = sum == 0 ? (double)INFINITY : (double)max + log(sum);
}

// The product of each query's output with its gradient.
extern "C" __global__ void __launch_bounds__(256) deltas(const Problem p, const Heads out, const Heads g, double* delta, i64 count) {
    const i64 id = blockIdx.x * 256ll + threadIdx.x;
    if (id >= count) return;
    const i64 t = id % p.time, h = id / p.time % p.heads, b = id / p.time / p.heads;
    delta[id] = (double)dot(row_of(out, b, t, h), out.channel, row_of(g, b, t, h), g.channel, p.dim);
}

// The probability of a pair and the slope of its score, from which all gradients follow.
struct Slope { real weight, score; };
DEV Slope slope_of(const Problem& p, const Heads& q, const Heads& k, const Heads& v, const Heads& g, i64 b, i64 t, i64 h, i64 kv, i64 j, double lse, double delta) {
    const u64 seed = p.seeds ? p.seeds[(b * p.heads + h) * p.time + t] : 0;
    const real s = score(p, q, row_of(q, b, t, h), k, row_of(k, b, j, kv));
    const real probability = exponential(s - (real)lse), factor = kept(p, seed, j);
    const real flow = dot(row_of(g, b, t, h), g.channel, row_of(v, b, j, kv), v.channel, p.dim) * factor;
    real slope = probability * (flow - (real)delta);
    if (p.softcap > 0) {
        const real share = s / (real)p.softcap;
        slope *= real(1) - share * share;
    }
    return Slope{probability * factor, slope * (real)p.scale};
}

extern "C" __global__ void __launch_bounds__(TILE) backward_queries(const Problem p, const Heads q, const Heads k, const Heads v, const Heads g, const Heads dq, const double* lse, const double* delta) {
    __shared__ real slopes[TILE];
    const i64 id = blockIdx.x, t = id % p.time, h = id / p.time % p.heads, b = id / p.time / p.heads;
    const i64 kv = h / (p.heads / p.kv_heads), end = visible(p, t);
    real sums[PARTS];
    UNROLL for (int n = 0; n < PARTS; n++) sums[n] = 0;
    for (i64 first = lowest(p, t); first < end; first += TILE) {
        const i64 j = first + threadIdx.x;
        const bool sees = j < end && seen(p, b, t, j);
        slopes[threadIdx.x] = sees ? slope_of(p, q, k, v, g, b, t, h, kv, j, lse[id], delta[id]).score : real(0);
        __syncthreads();
        const i64 n = end - first < TILE ? end - first : TILE;
        UNROLL for (int part = 0; part < PARTS; part++) {
            const i64 d = threadIdx.x + part * TILE;
            if (d >= p.dim) break;
            for (i64 i = 0; i < n; i++) sums[part] = fused(slopes[i], wide(row_of(k, b, first + i, kv)[d * k.channel]), sums[part]);
        }
        __syncthreads();
    }
    UNROLL for (int part = 0; part < PARTS; part++) {
        const i64 d = threadIdx.x + part * TILE;
        if (d < p.dim) put(row_of(dq, b, t, h) + d * dq.channel, sums[part]);
    }
}

// One block a processor is enough: without saying so, a compiler for some GPUs spares registers and spills.
extern "C" __global__ void __launch_bounds__(TILE, 1) backward_keys(const Problem p, const Heads q, const Heads k, const Heads v, const Heads g, const Heads dk, const Heads dv, const double* lse, const double* delta) {
    __shared__ real slopes[TILE], weights[TILE];
    const i64 id = blockIdx.x, j = id % p.keys, kv = id / p.keys % p.kv_heads, b = id / p.keys / p.kv_heads;
    const i64 group = p.heads / p.kv_heads;
    real keys[PARTS], values[PARTS];
    UNROLL for (int n = 0; n < PARTS; n++) keys[n] = values[n] = 0;
    // Queries before this one do not see the key.
    const i64 reach = p.beyond < 0 ? 0 : j + 1 - p.beyond - p.keys + p.time;
    for (i64 h = kv * group; h < (kv + 1) * group; h++) {
        for (i64 first = reach < 0 ? 0 : reach; first < p.time; first += TILE) {
            const i64 t = first + threadIdx.x, at = (b * p.heads + h) * p.time + t;
            const bool sees = t < p.time && seen(p, b, t, j);
            const Slope s = sees ? slope_of(p, q, k, v, g, b, t, h, kv, j, lse[at], delta[at]) : Slope{0, 0};
            slopes[threadIdx.x] = s.score;
            weights[threadIdx.x] = s.weight;
            __syncthreads();
            const i64 n = p.time - first < TILE ? p.time - first : TILE;
            UNROLL for (int part = 0; part < PARTS; part++) {
                const i64 d = threadIdx.x + part * TILE;
                if (d >= p.dim) break;
                for (i64 i = 0; i < n; i++) {
                    keys[part] = fused(slopes[i], wide(row_of(q, b, first + i, h)[d * q.channel]), keys[part]);
                    values[part] = fused(weights[i], wide(row_of(g, b, first + i, h)[d * g.channel]), values[part]);
                }
            }
            __syncthreads();
        }
    }
    UNROLL for (int part = 0; part < PARTS; part++) {
        const i64 d = threadIdx.x + part * TILE;
        if (d >= p.dim) break;
        put(row_of(dk, b, j, kv) + d * dk.channel, keys[part]);
        put(row_of(dv, b, j, kv) + d * dv.channel, values[part]);
    }
}
