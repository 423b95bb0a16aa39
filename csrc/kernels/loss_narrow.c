/* loss_narrow.c: the loss kernel for few outputs, n <= 2 W: W rows at a time, turned so that a vector holds one output of
 * W rows. Softmax and sums then go from vector to vector, no lane is idle, and rows do not meet.
 *
 * A block past the last row repeats that row: the rows beyond are neither read nor written.
 */
#include "../kernels.h"
#include "../simd.h"
#include "../simd_math.h"
#include "loss_terms.h"
#include "names.h"
#include "turn.h"

enum { SOME = W < 4 ? W : 4 };

/* How many columns are turned where `left` are wanted */
static int64_t turned(int64_t left) { return left == 1 ? 1 : left <= SOME ? SOME : W; }

static void columns_of(int64_t n, const real *rows_, int64_t rows, vec *c) {
    for (; n > 0; n -= W, rows_ += W, c += W) {
        if (n == 1)
            columns_of_rows(1, rows_, rows, c);
        else if (n <= SOME)
            columns_of_rows(SOME, rows_, rows, c);
        else
            columns_of_rows(W, rows_, rows, c);
    }
}

/* Columns past n become zero */
static void rows_of(int64_t n, vec *c, real *rows_, int64_t rows) {
    for (; n > 0; n -= W, rows_ += W, c += W) {
        for (int64_t j = n; j < turned(n); j++) c[j] = broadcast(0);
        if (n == 1)
            rows_of_columns(1, c, rows_, NR, rows);
        else if (n <= SOME)
            rows_of_columns(SOME, c, rows_, NR, rows);
        else
            rows_of_columns(W, c, rows_, NR, rows);
    }
}

/* z <- softmax(z); returns the sums of exp(z - top), top being each row's largest z */
INLINE vec softmax_columns(int64_t n, vec *z, vec top) {
    vec sum = broadcast(0);
    for (int64_t j = 0; j < n; j++) {
        z[j] = vexp(z[j] - top);
        sum = sum + z[j];
    }
    const vec scale = broadcast(1) / sum;
    for (int64_t j = 0; j < n; j++) z[j] = z[j] * scale;
    return sum;
}

INLINE vec largest(int64_t n, const vec *z) {
    vec top = z[0];
    for (int64_t j = 1; j < n; j++) top = vmax(top, z[j]);
    return top;
}

/* sum_j y_j (log sum_k exp(z_k) - z_j); z becomes softmax(z), d from the targets y the gradient. Labels: y is one-hot. */
INLINE vec cross_entropy_columns(int64_t n, vec *z, vec *d, const real *labels, vec scale) {
    const vec zero = broadcast(0), top = largest(n, z);
    vec below = zero, mass = zero;
    if (labels) {
        const vec label = load(labels);
        vec picked = zero;
        for (int64_t j = 0; j < n; j++) picked = blend(vequal(label, broadcast((real)j)), z[j], picked);
        below = top - picked;
        mass = broadcast(1);
    } else {
        for (int64_t j = 0; j < n; j++) {
            /* where y is 0, top - z may be infinite and counts for nothing; the softmax finds a NaN there */
            below = fma_(d[j], blend(vless(zero, vabs(d[j])), top - z[j], zero), below);
            mass = mass + d[j];
        }
    }
    const vec sum = softmax_columns(n, z, top);
    if (labels) {
        const vec label = load(labels);
        for (int64_t j = 0; j < n; j++)
            d[j] = (z[j] - blend(vequal(label, broadcast((real)j)), broadcast(1), zero)) * scale;
    } else {
        for (int64_t j = 0; j < n; j++) d[j] = (z[j] * mass - d[j]) * scale;
    }
    return fma_(mass, vlog(sum), below);
}

INLINE vec bce_columns(int64_t n, vec *z, vec *d, vec scale, vec mean) {
    vec loss = broadcast(0);
    for (int64_t j = 0; j < n; j++) {
        vec p;
        loss = loss + bce_of_logits(z[j], d[j], &p) * mean;
        d[j] = (p - d[j]) * scale;
        z[j] = p;
    }
    return loss;
}

INLINE vec outputs_columns(const int kind, int64_t n, const vec *z, vec *d, vec scale, vec mean) {
    vec loss = broadcast(0);
    for (int64_t j = 0; j < n; j++) {
        vec g;
        loss = loss + loss_of_output(kind, z[j], d[j], mean, &g);
        d[j] = g * scale;
    }
    return loss;
}

static void block(const nn_loss_args *l, int64_t r, int64_t rows, vec scale, vec mean) {
    real *zp = (real *)l->outputs + r * NR, *dp = (real *)l->delta + r * NR;
    const int64_t n = l->n;
    const int softmax = l->activation == NN_SOFTMAX, sigmoid = l->activation == NN_SIGMOID && l->loss == NN_BCE;
    vec z[NR], d[NR], loss;
    real labels[W];
    if (l->labels)
        for (int64_t i = 0; i < W; i++) {
            const int64_t row = l->first + r + (i < rows ? i : rows - 1);
            labels[i] = (real)l->labels[l->order ? (int64_t)l->order[row] : row];
        }
    columns_of(n, zp, rows, z);
    if (!l->labels)
        columns_of(n, dp, rows, d);
    else if (!softmax || l->loss != NN_CROSS_ENTROPY)
        for (int64_t j = 0; j < n; j++)
            d[j] = blend(vequal(load(labels), broadcast((real)j)), broadcast(1), broadcast(0));
    if (softmax && l->loss == NN_CROSS_ENTROPY) {
        loss = cross_entropy_columns(n, z, d, l->labels ? labels : NULL, scale);
    } else if (sigmoid) {
        loss = bce_columns(n, z, d, scale, mean);
    } else {
        if (softmax) softmax_columns(n, z, largest(n, z));
        switch (l->loss) {
        case NN_MSE: loss = outputs_columns(NN_MSE, n, z, d, scale, mean); break;
        case NN_BCE: loss = outputs_columns(NN_BCE, n, z, d, scale, mean); break;
        default: loss = outputs_columns(NN_CROSS_ENTROPY, n, z, d, scale, mean); break;
        }
        if (softmax) { /* d <- z (d - sum d z) */
            vec dot = broadcast(0);
            for (int64_t j = 0; j < n; j++) dot = fma_(d[j], z[j], dot);
            for (int64_t j = 0; j < n; j++) d[j] = z[j] * (d[j] - dot);
        }
    }
    if (softmax || sigmoid) rows_of(n, z, zp, rows);
    rows_of(n, d, dp, rows);
    if (!softmax && !sigmoid && l->activation != NN_IDENTITY)
        NN_FN(scale_by_derivative)(l->activation, l->alpha, rows, n > W ? NR : W, NR,
                                   l->slopes ? (const real *)l->slopes + r * NR : zp, dp);
    real losses[W];
    store(losses, loss);
    for (int64_t i = 0; i < rows; i++) l->row_loss[r + i] = (double)losses[i];
}

void NN_FN(loss_narrow)(const nn_loss_args *l, int64_t r0, int64_t r1) {
    const double mean = l->loss == NN_CROSS_ENTROPY ? 1 : 1 / (double)l->n;
    for (int64_t r = r0; r < r1; r += W)
        block(l, r, r1 - r < W ? r1 - r : W, broadcast((real)(l->scale * mean)), broadcast((real)mean));
}
