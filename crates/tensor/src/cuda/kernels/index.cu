// Rows chosen by number, rotations, dropped elements. Given: T, the type that is read, and O, that is written.

// [outer, count, inner] by ids to [outer, chosen, inner].
extern "C" __global__ void __launch_bounds__(256) take(const T* x, const i64* ids, T* to, i64 count, i64 chosen, i64 inner, i64 n) {
    const i64 i = blockIdx.x * 256ll + threadIdx.x;
    if (i >= n) return;
    const i64 column = i % inner, row = i / inner;
    to[i] = x[((row / chosen) * count + ids[row % chosen]) * inner + column];
}

#ifdef RAPPEL_FLOATS
// A thread a column of a row that was taken: its gradients by ascending position, rounded after each addition as a sum of the
// target's type is. The table: positions by row, their rows, and where each row's begin.
extern "C" __global__ void __launch_bounds__(256) add_rows(const T* grad, const i64* table, O* to, i64 chosen, i64 count, i64 inner, i64 rows, i64 n) {
    const i64 i = blockIdx.x * 256ll + threadIdx.x;
    if (i >= n) return;
    const i64 column = i % inner, r = i / inner % rows, o = i / inner / rows;
    const i64 *order = table, *sorted = table + chosen, *starts = table + 2 * chosen;
    O* place = to + (o * count + sorted[starts[r]]) * inner + column;
    for (i64 k = starts[r]; k < starts[r + 1]; k++) {
        O term;
        put(&term, (Real<O>::type)wide(grad[(o * chosen + order[k]) * inner + column]));
        put(place, wide(*place) + wide(term));
    }
}

struct Strides { i64 batch, time, head; };
extern "C" __global__ void __launch_bounds__(256) rotate(const T* x, const T* cosines, const T* sines, T* to, const Strides s, i64 time, i64 heads, i64 dim, i64 turned, i64 own, int back, i64 n) {
    typedef Real<T>::type real;
    const i64 i = blockIdx.x * 256ll + threadIdx.x;
    if (i >= n) return;
    const i64 d = i % dim, h = i / dim % heads, t = i / dim / heads % time, b = i / dim / heads / time;
    const T* row = x + b * s.batch + t * s.time + h * s.head;
    if (d >= turned) {
        to[i] = row[d];
        return;
    }
    const i64 half = turned / 2, at = b * own + t * turned;
    const bool first = d < half;
    const i64 other = first ? d + half : d - half;
    const real mine = wide(row[d]), theirs = wide(row[other]), c = wide(cosines[at + d]);
    real y;
    if (back) {
        const real sine_there = wide(sines[at + other]);
        y = first ? fused(theirs, sine_there, mine * c) : fused(-theirs, sine_there, mine * c);
    } else {
        const real sine_here = wide(sines[at + d]);
        y = first ? fused(-theirs, sine_here, mine * c) : fused(theirs, sine_here, mine * c);
    }
    put(to + i, y);
}

extern "C" __global__ void __launch_bounds__(256) dropout(const T* x, T* to, const u64* seeds, u32 least, Real<T>::type scale, i64 n) {
    const i64 i = blockIdx.x * 256ll + threadIdx.x;
    if (i >= n) return;
    const u64 seed = seeds[i >> 14];
    const bool kept = hashed((u32)(i & 16383), (u32)seed, (u32)(seed >> 32)) >= least;
    put(to + i, wide(x[i]) * scale * (kept ? Real<T>::type(1) : Real<T>::type(0)));
}
#endif
