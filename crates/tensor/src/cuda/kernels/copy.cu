// Elements moved, converted, added. Given: A, the type that is read, and B, the type that is written.

// Any number to a float's type, rounded once.
DEV float to_float(double x, float*) { return (float)x; }
DEV double to_float(double x, double*) { return x; }
DEV bf16 to_float(double x, bf16*) {
    // To single precision towards an odd last place, so that the second rounding is the only one that counts.
    float f = (float)x;
    if ((double)f != x && x == x) {
        u32 b = __float_as_uint(f);
        if (fabs((double)f) > fabs(x)) b -= 1;
        f = __uint_as_float(b | 1u);
    }
    bf16 y;
    y.bits = rounded(f);
    return y;
}
// Integers are moved here and never made of numbers.
DEV u8 to_float(double, u8*) { return 0; }
DEV u16 to_float(double, u16*) { return 0; }
DEV u32 to_float(double, u32*) { return 0; }
DEV u64 to_float(double, u64*) { return 0; }
DEV double as_double(float x) { return x; }
DEV double as_double(double x) { return x; }
DEV double as_double(bf16 x) { return wide(x); }
DEV double as_double(i64 x) { return (double)x; }
DEV double as_double(u8 x) { return x; }
// Types that are only moved.
DEV double as_double(u16 x) { return x; }
DEV double as_double(u32 x) { return x; }
DEV double as_double(u64 x) { return (double)x; }

template <class X> DEV X changed(X x, X*) { return x; }
template <class X, class Y> DEV Y changed(X x, Y*) { return to_float(as_double(x), (Y*)0); }
#define CHANGED(x) changed(x, (B*)0)

DEV float sum_of(float a, float b) { return a + b; }
DEV double sum_of(double a, double b) { return a + b; }
DEV bf16 sum_of(bf16 a, bf16 b) {
    bf16 y;
    y.bits = rounded(wide(a) + wide(b));
    return y;
}
template <class X> DEV X sum_of(X a, X) { return a; }

// Walks lead the target first, then the source.
extern "C" __global__ void __launch_bounds__(256) converted(const A* from, B* to, const Walk<2> w, i64 count) {
    const i64 i = blockIdx.x * 256ll + threadIdx.x;
    if (i >= count) return;
    i64 at[2];
    places(w, i / w.inner, i % w.inner, at);
    to[at[0]] = CHANGED(from[at[1]]);
}
extern "C" __global__ void __launch_bounds__(256) added(const A* from, B* to, const Walk<2> w, i64 count) {
    const i64 i = blockIdx.x * 256ll + threadIdx.x;
    if (i >= count) return;
    i64 at[2];
    places(w, i / w.inner, i % w.inner, at);
    to[at[0]] = sum_of(to[at[0]], CHANGED(from[at[1]]));
}
extern "C" __global__ void __launch_bounds__(256) add_row(const A* row, B* to, i64 width, i64 count) {
    const i64 i = blockIdx.x * 256ll + threadIdx.x;
    if (i < count) to[i] = sum_of(to[i], CHANGED(row[i % width]));
}
extern "C" __global__ void __launch_bounds__(256) multiplied(const A* factor, B* to, i64 count) {
    const i64 i = blockIdx.x * 256ll + threadIdx.x;
    if (i < count) to[i] = to_float(as_double(to[i]) * as_double(*factor), (B*)0);
}
