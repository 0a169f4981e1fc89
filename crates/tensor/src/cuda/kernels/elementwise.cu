// A formula at every place. Given: T, real, INPUTS, OUTPUTS, Constants, formula.
struct From { const T* at[INPUTS]; };
struct To { T* at[OUTPUTS]; };
#define VECTOR (16 / (int)sizeof(T))
struct alignas(16) Chunk { T x[VECTOR]; };

// Operands in order, or one number each: 16 bytes a thread.
extern "C" __global__ void __launch_bounds__(256) flat(const From from, const To to, const Walk<INPUTS> w, const Constants k, i64 count) {
    const i64 i = (blockIdx.x * 256ll + threadIdx.x) * VECTOR;
    if (i >= count) return;
    real x[INPUTS], y[OUTPUTS];
    if (i + VECTOR <= count) {
        Chunk a[INPUTS], b[OUTPUTS];
        UNROLL for (int n = 0; n < INPUTS; n++) {
            if (w.step[n]) {
                a[n] = *(const Chunk*)(from.at[n] + w.offset[n] + i);
            } else {
                const T one = from.at[n][w.offset[n]];
                UNROLL for (int j = 0; j < VECTOR; j++) a[n].x[j] = one;
            }
        }
        UNROLL for (int j = 0; j < VECTOR; j++) {
            UNROLL for (int n = 0; n < INPUTS; n++) x[n] = wide(a[n].x[j]);
            formula(x, y, k.c);
            UNROLL for (int n = 0; n < OUTPUTS; n++) put(&b[n].x[j], y[n]);
        }
        UNROLL for (int n = 0; n < OUTPUTS; n++) *(Chunk*)(to.at[n] + i) = b[n];
    } else {
        for (i64 j = i; j < count; j++) {
            UNROLL for (int n = 0; n < INPUTS; n++) x[n] = wide(from.at[n][w.offset[n] + j * w.step[n]]);
            formula(x, y, k.c);
            UNROLL for (int n = 0; n < OUTPUTS; n++) put(to.at[n] + j, y[n]);
        }
    }
}

// Any layouts: a place a thread.
extern "C" __global__ void __launch_bounds__(256) walked(const From from, const To to, const Walk<INPUTS> w, const Constants k, i64 count) {
    const i64 i = blockIdx.x * 256ll + threadIdx.x;
    if (i >= count) return;
    i64 at[INPUTS];
    places(w, i / w.inner, i % w.inner, at);
    real x[INPUTS], y[OUTPUTS];
    UNROLL for (int n = 0; n < INPUTS; n++) x[n] = wide(from.at[n][at[n]]);
    formula(x, y, k.c);
    UNROLL for (int n = 0; n < OUTPUTS; n++) put(to.at[n] + i, y[n]);
}
