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

/* n is at least 1 */
static void columns_of(int64_t n, const real *rows_, int64_t rows, vec *c) {
    do {
        if (n == 1)
            columns_of_rows(1, rows_, rows, c);
        else if (n <= SOME)
            columns_of_rows(SOME, rows_, rows, c);
        else
            columns_of_rows(W, rows_, rows, c);
        n -= W;
        rows_ += W;
        c += W;
    } while (n > 0);
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

INLINE vec bce_columns(int64_t n, vec *z, vec *d, vec scale, vec mean, const nn_loss_args *args) {
    vec loss = broadcast(0);
    for (int64_t j = 0; j < n; j++) {
        vec p, l = bce_of_logits(z[j], d[j], &p);
        if (args->most != 0) l = bounded(l, broadcast((real)args->least), broadcast((real)args->most));
        loss = loss + l * mean;
        d[j] = (p - d[j]) * scale;
        z[j] = p;
    }
    return loss;
}

INLINE vec weighted_bce_columns(int64_t n, vec *z, vec *d, vec scale, vec mean, vec weight) {
    vec loss = broadcast(0);
    for (int64_t j = 0; j < n; j++) {
        vec p, g;
        loss = loss + weighted_bce_of_logits(z[j], d[j], weight, &p, &g) * mean;
        d[j] = g * scale;
        z[j] = p;
    }
    return loss;
}

INLINE vec poisson_columns(int64_t n, vec *z, vec *d, vec scale, vec mean) {
    vec loss = broadcast(0);
    for (int64_t j = 0; j < n; j++) {
        vec a;
        loss = loss + poisson_of_logits(z[j], d[j], &a) * mean;
        d[j] = (a - d[j]) * scale;
        z[j] = a;
    }
    return loss;
}

/* As cosine_row in loss.c */
INLINE vec cosine_columns(int64_t n, const vec *z, vec *d, vec scale) {
    const vec zero = broadcast(0), one = broadcast(1);
    vec a_top = zero, y_top = zero, aa = zero, yy = zero, ay = zero;
    for (int64_t j = 0; j < n; j++) {
        a_top = vmax(a_top, vabs(z[j]));
        y_top = vmax(y_top, vabs(d[j]));
    }
    const vec a_by = blend(vless(zero, a_top), one / a_top, zero), y_by = blend(vless(zero, y_top), one / y_top, zero);
    for (int64_t j = 0; j < n; j++) {
        const vec a = z[j] * a_by, y = d[j] * y_by;
        aa = fma_(a, a, aa);
        yy = fma_(y, y, yy);
        ay = fma_(a, y, ay);
    }
    const vec both = vsqrt(aa * yy);
    const mask is_zero = vequal(both, zero);
    const vec cosine = blend(is_zero, zero, ay / both);
    const vec a_share = blend(is_zero, zero, cosine / aa * a_by), y_share = blend(is_zero, zero, y_by / both);
    for (int64_t j = 0; j < n; j++) d[j] = (z[j] * a_share - d[j] * y_share) * a_by * scale;
    const vec loss = one - cosine;
    return blend(vless(loss, zero), zero, loss);
}

INLINE vec outputs_columns(const int kind, int64_t n, const vec *z, vec *d, vec scale, vec mean, vec parameter) {
    vec loss = broadcast(0);
    for (int64_t j = 0; j < n; j++) {
        vec g;
        loss = loss + loss_of_output(kind, z[j], d[j], mean, parameter, &g);
        d[j] = g * scale;
    }
    return loss;
}

static void block(const nn_loss_args *l, int64_t r, int64_t rows, vec scale, vec mean) {
    real *zp = (real *)l->outputs + r * NR, *dp = (real *)l->delta + r * NR;
    const int64_t n = l->n;
    const int softmax = l->activation == NN_SOFTMAX, sigmoid = l->activation == NN_SIGMOID && l->loss == NN_BCE;
    const int poisson = l->activation == NN_EXPONENTIAL && l->loss == NN_POISSON;
    vec z[NR], d[NR], loss;
    real labels[W];
    if (l->labels)
        for (int64_t i = 0; i < W; i++) labels[i] = (real)l->labels[source_of(l, r + (i < rows ? i : rows - 1))];
    if (l->weights) {
        const double share = l->scale * (is_over_rows(l->loss) ? 1 : 1 / (double)n);
        real scales[W];
        for (int64_t i = 0; i < W; i++)
            scales[i] = (real)(l->weights[source_of(l, r + (i < rows ? i : rows - 1))] * share);
        scale = load(scales);
    }
    const real *classes = l->labels && l->smoothing == 0 ? labels : NULL;
    columns_of(n, zp, rows, z);
    if (!l->labels)
        columns_of(n, dp, rows, d);
    else if (!softmax || l->loss != NN_CROSS_ENTROPY || !classes)
        for (int64_t j = 0; j < n; j++)
            d[j] = blend(vequal(load(labels), broadcast((real)j)), broadcast(1), broadcast(0));
    if (l->smoothing != 0)
        for (int64_t j = 0; j < n; j++) d[j] = fma_(d[j], broadcast((real)(1 - l->smoothing)), broadcast(spread_of(l)));
    if (softmax && l->loss == NN_CROSS_ENTROPY) {
        loss = cross_entropy_columns(n, z, d, classes, scale);
        if (l->most != 0) loss = bounded(loss, broadcast((real)l->least), broadcast((real)l->most));
    } else if (sigmoid && l->parameter == 1) {
        loss = bce_columns(n, z, d, scale, mean, l);
    } else if (sigmoid) {
        loss = weighted_bce_columns(n, z, d, scale, mean, broadcast(parameter_of(l)));
    } else if (poisson) {
        loss = poisson_columns(n, z, d, scale, mean);
    } else {
        const vec parameter = broadcast(parameter_of(l));
        if (softmax && l->loss != NN_GIVEN) softmax_columns(n, z, largest(n, z));
        switch (l->loss) {
        case NN_MSE: loss = outputs_columns(NN_MSE, n, z, d, scale, mean, parameter); break;
        case NN_BCE: loss = outputs_columns(NN_BCE, n, z, d, scale, mean, parameter); break;
        case NN_MAE: loss = outputs_columns(NN_MAE, n, z, d, scale, mean, parameter); break;
        case NN_HUBER: loss = outputs_columns(NN_HUBER, n, z, d, scale, mean, parameter); break;
        case NN_HINGE: loss = outputs_columns(NN_HINGE, n, z, d, scale, mean, parameter); break;
        case NN_POISSON: loss = outputs_columns(NN_POISSON, n, z, d, scale, mean, parameter); break;
        case NN_QUANTILE: loss = outputs_columns(NN_QUANTILE, n, z, d, scale, mean, parameter); break;
        case NN_COSINE: loss = cosine_columns(n, z, d, scale); break;
        case NN_GIVEN: loss = broadcast(0); break;
        default: loss = outputs_columns(NN_CROSS_ENTROPY, n, z, d, scale, mean, parameter); break;
        }
        if (softmax) { /* d <- z (d - sum d z) */
            vec dot = broadcast(0);
            for (int64_t j = 0; j < n; j++) dot = fma_(d[j], z[j], dot);
            for (int64_t j = 0; j < n; j++) d[j] = z[j] * (d[j] - dot);
        }
    }
    if (softmax || sigmoid || poisson) rows_of(n, z, zp, rows);
    rows_of(n, d, dp, rows);
    if (!softmax && !sigmoid && !poisson && l->activation != NN_IDENTITY)
        NN_FN(scale_by_derivative)(l->activation, l->alpha, rows, n > W ? NR : W, NR,
                                   l->slopes ? (const real *)l->slopes + r * NR : zp, dp);
    real losses[W];
    store(losses, loss);
    for (int64_t i = 0; i < rows; i++) l->row_loss[r + i] = (double)losses[i];
}

void NN_FN(loss_narrow)(const nn_loss_args *l, int64_t r0, int64_t r1) {
    const double mean = is_over_rows(l->loss) ? 1 : 1 / (double)l->n;
    for (int64_t r = r0; r < r1; r += W)
        block(l, r, r1 - r < W ? r1 - r : W, broadcast((real)(l->scale * mean)), broadcast((real)mean));
}
