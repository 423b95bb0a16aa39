/* transpose.c: keeps the transposed copy of a layer's weights, which the input gradient reads, in step with them.
 *
 * wt[j, k] = w[k, j] for k in [k0, k1) and the columns j of one panel. Whole W x W blocks turn in registers: log2(W)
 * rounds, each interleaving row i with row i + W / 2. Ragged edges go number by number.
 */
#include "../kernels.h"
#include "../simd.h"
#include "names.h"

#if NN_VECTOR_BYTES == 64 && !defined(NN_DOUBLE)
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define INTERLEAVE_HIGH(a, b) \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif (NN_VECTOR_BYTES == 64) || (NN_VECTOR_BYTES == 32 && !defined(NN_DOUBLE))
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif (NN_VECTOR_BYTES == 32) || !defined(NN_DOUBLE)
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 2)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 1, 3)
#endif

/* W x W block; only the first `rows` rows of the result are wanted */
INLINE void transpose_block(const real *src, int64_t src_stride, real *dst, int64_t dst_stride, int64_t rows) {
    vec x[W], y[W];
    UNROLL
    for (int i = 0; i < W; i++) x[i] = load(src + i * src_stride);
    UNROLL
    for (int round = W; round > 1; round /= 2) {
        UNROLL
        for (int i = 0; i < W / 2; i++) {
            y[2 * i] = INTERLEAVE_LOW(x[i], x[i + W / 2]);
            y[2 * i + 1] = INTERLEAVE_HIGH(x[i], x[i + W / 2]);
        }
        UNROLL
        for (int i = 0; i < W; i++) x[i] = y[i];
    }
    UNROLL
    for (int i = 0; i < W; i++)
        if (i < rows) store(dst + i * dst_stride, x[i]);
}

void NN_FN(transpose)(const nn_transpose *t, int64_t panel, int64_t k0, int64_t k1) {
    const int64_t j0 = panel * NR, columns = t->n - j0 < NR ? t->n - j0 : NR;
    const int64_t width = t->n - j0 > W ? NR : W;
    const real *w = (const real *)t->w + j0 * (t->k + 1);
    for (int64_t k = k0; k < k1;) {
        const int64_t target = k / NR, first = target * NR;
        const int64_t target_width = t->k - first > W ? NR : W;
        int64_t end = k % W ? k - k % W + W : k + W;
        if (end > k1) end = k1;
        real *wt = (real *)t->wt + first * t->n + j0 * target_width + (k - first);
        const real *rows = w + k * width;
        for (int64_t j = 0; j < columns; j += W) {
            const int64_t lanes = columns - j < W ? columns - j : W;
            if (end - k == W) { /* a row of a panel is whole vectors, so the block may be read past the last column */
                transpose_block(rows + j, width, wt + j * target_width, target_width, lanes);
                continue;
            }
            for (int64_t c = j; c < j + lanes; c++)
                for (int64_t i = 0; i < end - k; i++) wt[c * target_width + i] = rows[i * width + c];
        }
        k = end;
    }
}
