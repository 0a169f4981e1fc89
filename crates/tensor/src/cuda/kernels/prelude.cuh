// What every kernel begins with. No header is included: NVRTC has none. On a processor (emulator.hpp) the part between the
// marks has other bodies.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;
#ifndef RAPPEL_HOST
#define DEV static __device__ __forceinline__
#define INFINITY __int_as_float(0x7f800000)
#endif
#define UNROLL _Pragma("unroll")
#define WARP 32
#define ALL 0xffffffffu

// bfloat16: the upper half of a float.
struct bf16 {
    u16 bits;
};

DEV float wide(float x) { return x; }
DEV double wide(double x) { return x; }
DEV float wide(bf16 x) { return __uint_as_float((u32)x.bits << 16); }

// To the nearest, ties to even; NaN stays NaN, as the processor's conversion leaves it.
DEV u16 rounded(float x) {
    const u32 b = __float_as_uint(x);
    if ((b & 0x7fffffffu) > 0x7f800000u) return (u16)((b >> 16) | 0x40u);
    return (u16)((b + 0x7fffu + ((b >> 16) & 1u)) >> 16);
}
DEV void put(float* to, float x) { *to = x; }
DEV void put(double* to, double x) { *to = x; }
DEV void put(bf16* to, float x) { to->bits = rounded(x); }

// The type that arithmetic is done in.
template <class T> struct Real { typedef float type; };
template <> struct Real<double> { typedef double type; };

DEV float fused(float a, float b, float c) { return fmaf(a, b, c); }
DEV double fused(double a, double b, double c) { return fma(a, b, c); }
DEV float root(float x) { return sqrtf(x); }
DEV double root(double x) { return sqrt(x); }
DEV float absolute(float x) { return fabsf(x); }
DEV double absolute(double x) { return fabs(x); }
DEV float nearest(float x) { return rintf(x); }
DEV double nearest(double x) { return rint(x); }
DEV float exponential(float x) { return expf(x); }
DEV double exponential(double x) { return exp(x); }
DEV float logarithm(float x) { return logf(x); }
DEV double logarithm(double x) { return log(x); }
DEV float hyperbolic(float x) { return tanhf(x); }
DEV double hyperbolic(double x) { return tanh(x); }
DEV float error_function(float x) { return erff(x); }
DEV double error_function(double x) { return erf(x); }
DEV float sine(float x) { return sinf(x); }
DEV double sine(double x) { return sin(x); }
DEV float cosine(float x) { return cosf(x); }
DEV double cosine(double x) { return cos(x); }
DEV float power(float x, float y) { return powf(x, y); }
DEV double power(double x, double y) { return pow(x, y); }
// The words of traced formulas.
#define FMA fused
#define SQRT root
#define ABS absolute
#define ROUND nearest
#define EXP exponential
#define LN logarithm
#define TANH hyperbolic
#define ERF error_function
#define SIN sine
#define COS cosine
#define POW power

template <class R> DEV R larger(R a, R b) { return a > b ? a : b; }

// A random number for a position: the same words as the processor's.
DEV u32 hashed(u32 position, u32 a, u32 b) {
    u32 x = position + a;
    x = (x ^ (x >> 16)) * 0x21f0aaadu;
    x = (x ^ (x >> 15)) + b;
    x = (x ^ (x >> 16)) * 0xd35a2d97u;
    return x ^ (x >> 15);
}

// Sums, and the largest, of a warp's numbers: every thread has the result. The order is fixed.
template <class R> DEV R warp_sum(R x) {
    UNROLL for (int o = WARP / 2; o; o >>= 1) x += __shfl_xor_sync(ALL, x, o);
    return x;
}
template <class R> DEV R warp_max(R x) {
    UNROLL for (int o = WARP / 2; o; o >>= 1) x = larger(x, __shfl_xor_sync(ALL, x, o));
    return x;
}
// Of a block's, by a room of 32 numbers in shared memory. Ends with all threads past the use of the room.
template <class R> DEV R block_sum(R x, R* room) {
    x = warp_sum(x);
    if ((threadIdx.x & 31) == 0) room[threadIdx.x >> 5] = x;
    __syncthreads();
    x = threadIdx.x < (blockDim.x + 31) / 32 ? room[threadIdx.x] : R(0);
    if (threadIdx.x < 32) {
        x = warp_sum(x);
        if (threadIdx.x == 0) room[0] = x;
    }
    __syncthreads();
    x = room[0];
    __syncthreads();
    return x;
}
template <class R> DEV R block_max(R x, R* room) {
    x = warp_max(x);
    if ((threadIdx.x & 31) == 0) room[threadIdx.x >> 5] = x;
    __syncthreads();
    x = threadIdx.x < (blockDim.x + 31) / 32 ? room[threadIdx.x] : room[0];
    if (threadIdx.x < 32) {
        x = warp_max(x);
        if (threadIdx.x == 0) room[0] = x;
    }
    __syncthreads();
    x = room[0];
    __syncthreads();
    return x;
}

// Where several layouts walk one shape together: rows of `inner` places, evenly spaced, under `depth` outer dimensions.
template <int N> struct Walk {
    i64 rows, inner, depth;
    i64 step[N], offset[N];
    i64 size[8];
    i64 stride[8][N];
};
// Places of row `row`, column `col`.
template <int N> DEV void places(const Walk<N>& w, i64 row, i64 col, i64 (&at)[N]) {
    UNROLL for (int k = 0; k < N; k++) at[k] = w.offset[k] + col * w.step[k];
    for (int d = (int)w.depth - 1; d >= 0; d--) {
        const i64 i = row % w.size[d];
        row /= w.size[d];
        UNROLL for (int k = 0; k < N; k++) at[k] += i * w.stride[d][k];
    }
}
