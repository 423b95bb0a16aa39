/* embedding.c: the first layer of a table with categories: columns passed on, and learned numbers in place of codes.
 *
 * y[r, :] = (x[r, passed on], E_1[x[r, c_1]], E_2[x[r, c_2]], ...); dE_t[k] = sum over the rows r with x[r, c_t] = k of
 * d[r, columns of t], added in the order of the rows. A table has few columns and starts anywhere in a panel of the
 * outputs, so rows go in runs that end where either panel ends.
 */
#include "../kernels.h"
#include "../simd.h"
#include "names.h"

INLINE int64_t at(int64_t rows, int64_t r, int64_t column) { return (column / NR * rows + r) * NR + column % NR; }

void NN_FN(columns)(const nn_columns *a, int64_t r0, int64_t r1) {
    const real *x = a->x;
    real *out = a->out;
    for (int64_t j = 0; j < a->n_copied; j++) {
        const real *from = x + at(a->x_rows, 0, a->copied[j]);
        real *to = out + at(a->out_rows, 0, j);
        for (int64_t r = r0; r < r1; r++) to[r * NR] = from[r * NR];
    }
    for (int64_t j = a->n; j % NR; j++) {
        real *to = out + at(a->out_rows, 0, j);
        for (int64_t r = r0; r < r1; r++) to[r * NR] = 0;
    }
}

INLINE int64_t code_of(const nn_embedding *a, int64_t r) {
    const real x = ((const real *)a->x)[at(a->x_rows, r, a->column)];
    return x >= 0 && x < (real)a->codes ? (int64_t)x : 0;
}

INLINE int64_t panel_width(const nn_embedding *a, int64_t panel) { return a->n - panel * NR > W ? NR : W; }

/* Columns [j, j + the result) of a panel of the table lie together in a panel of the outputs. */
INLINE int64_t run_from(const nn_embedding *a, int64_t panel, int64_t j) {
    const int64_t left = a->n - panel * NR - j, table = NR - j, outputs = NR - (a->offset + j) % NR;
    const int64_t run = table < outputs ? table : outputs;
    return left < run ? left : run;
}

void NN_FN(embedding)(const nn_embedding *a, int64_t r0, int64_t r1) {
    for (int64_t panel = 0; panel * NR < a->n; panel++) {
        const real *w = (const real *)a->w + panel * NR * a->codes;
        const int64_t width = panel_width(a, panel), first = a->offset + panel * NR;
        int64_t run;
        for (int64_t j = 0; j < NR && (run = run_from(a, panel, j)) > 0; j += run) {
            real *to = (real *)a->out + at(a->out_rows, 0, first + j);
            for (int64_t r = r0; r < r1; r++) {
                const real *from = w + code_of(a, r) * width + j;
                for (int64_t i = 0; i < run; i++) to[r * NR + i] = from[i];
            }
        }
    }
}

void NN_FN(embedding_gradient)(const nn_embedding *a, int64_t rows, int64_t panel, int64_t k0, int64_t k1, void *dst) {
    const int64_t width = panel_width(a, panel), first = a->offset + panel * NR;
    real *sums = dst;
    memset(sums, 0, (size_t)((k1 - k0) * width) * sizeof *sums);
    int64_t run;
    for (int64_t j = 0; j < NR && (run = run_from(a, panel, j)) > 0; j += run) {
        const real *d = (const real *)a->out + at(a->out_rows, 0, first + j);
        for (int64_t r = 0; r < rows; r++) {
            const int64_t k = code_of(a, r);
            if (k < k0 || k >= k1) continue;
            real *to = sums + (k - k0) * width + j;
            for (int64_t i = 0; i < run; i++) to[i] += d[r * NR + i];
        }
    }
}
