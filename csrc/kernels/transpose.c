/* transpose.c: keeps the transposed copy of a layer's weights, which the input gradient reads, in step with them.
 *
 * wt[j, k] = w[k, j] for k in [k0, k1) and the columns j of one panel. Whole W x W blocks turn in registers; ragged
 * edges go number by number.
 */
#include "../kernels.h"
#include "../simd.h"
#include "names.h"
#include "turn.h"

/* W x W block; only the first `rows` rows of the result are wanted */
INLINE void transpose_block(const real *src, int64_t src_stride, real *dst, int64_t dst_stride, int64_t rows) {
    vec x[W];
    UNROLL
    for (int i = 0; i < W; i++) x[i] = load(src + i * src_stride);
    turn(x);
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
