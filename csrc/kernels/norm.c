/* norm.c: batch and layer normalisation, y = f(gamma xhat + beta), xhat = (x - mean) / sqrt(variance + epsilon).
 *
 * Batch normalisation (Ioffe and Szegedy 2015) takes mean and variance of each column over the batch, which several
 * threads share: `moments` works them out for a few rows in two passes, `merge_moments` joins such parts in their order
 * (Chan, Golub and LeVeque 1979), so that nothing cancels and no number of threads shows. Layer normalisation (Ba, Kiros
 * and Hinton 2016) takes them of each row over its columns.
 * Per-column numbers (means, variances, sums) lie in arrays of whole vectors; gamma and beta as weights with two rows.
 * Columns past the last have gamma = 0, which makes their gradients zero.
 */
#include "../kernels.h"
#include "../simd.h"
#include "names.h"

INLINE const real *panel_row(const void *panels, int64_t panel_rows, int64_t v, int64_t r) {
    return (const real *)panels + ((v / 2) * panel_rows + r) * NR + (v % 2) * W;
}
INLINE real *written_row(void *panels, int64_t panel_rows, int64_t v, int64_t r) {
    return (real *)panels + ((v / 2) * panel_rows + r) * NR + (v % 2) * W;
}
INLINE const real *gamma_of(const nn_norm *a, int64_t v) {
    return (const real *)a->weights + (v / 2) * NR * 2 + (v % 2) * W;
}
INLINE const real *beta_of(const nn_norm *a, int64_t v) { return gamma_of(a, v) + (a->n - (v / 2) * NR > W ? NR : W); }
INLINE vec inverse_deviation(vec variance, double epsilon) {
    return broadcast(1) / vsqrt(variance + broadcast((real)epsilon));
}
static int64_t vectors_of(int64_t n) { return (n + W - 1) / W; }

/* f over rows [r0, r1), in place */
static void activate_rows(const nn_norm *a, int64_t r0, int64_t r1) {
    if (a->activation == NN_IDENTITY || r0 == r1) return;
    for (int64_t v = 0; v < vectors_of(a->n); v += 2) {
        const int64_t columns = a->n - v * W > W ? NR : W;
        real *out = written_row(a->out, a->out_rows, v, r0);
        if (a->slopes)
            NN_FN(activate_keeping)(a->activation, a->alpha, r1 - r0, columns, NR, out,
                                    written_row(a->slopes, a->out_rows, v, r0));
        else
            NN_FN(activate)(a->activation, a->alpha, r1 - r0, columns, NR, out);
    }
}

/* times the derivative of the layer below */
static void scale_rows(const nn_norm *a, int64_t r0, int64_t r1) {
    if (a->activation == NN_IDENTITY || r0 == r1) return;
    for (int64_t v = 0; v < vectors_of(a->n); v += 2)
        NN_FN(scale_by_derivative)(a->activation, a->alpha, r1 - r0, a->n - v * W > W ? NR : W, NR,
                                   panel_row(a->kept, a->x_rows, v, r0), written_row(a->out, a->out_rows, v, r0));
}

void NN_FN(moments)(const nn_norm *a, int64_t r0, int64_t r1, void *mean_, void *square_) {
    real *mean = mean_, *square = square_;
    const vec share = broadcast((real)(1 / (double)(r1 - r0)));
    for (int64_t v = 0; v < vectors_of(a->n); v++) {
        vec sum = broadcast(0), squares = broadcast(0);
        for (int64_t r = r0; r < r1; r++) sum = sum + load(panel_row(a->x, a->x_rows, v, r));
        const vec middle = sum * share;
        for (int64_t r = r0; r < r1; r++) {
            const vec d = load(panel_row(a->x, a->x_rows, v, r)) - middle;
            squares = fma_(d, d, squares);
        }
        store(mean + v * W, middle);
        store(square + v * W, squares);
    }
}

void NN_FN(merge_moments)(int64_t n, int64_t rows, int64_t part_rows, const void *parts_, void *mean_, void *variance_,
                          int width) {
    (void)width; /* W; for the reference */
    const real *parts = parts_;
    real *mean = mean_, *variance = variance_;
    const int64_t length = vectors_of(n) * W;
    for (int64_t i = 0; i < length; i += W) {
        vec m = load(parts + i), s = load(parts + length + i);
        for (int64_t done = part_rows, part = 1; done < rows; done += part_rows, part++) {
            const int64_t here = rows - done < part_rows ? rows - done : part_rows;
            const real *other = parts + part * 2 * length + i;
            const double share = (double)here / (double)(done + here);
            const vec d = load(other) - m;
            m = fma_(d, broadcast((real)share), m);
            s = s + fma_(d * d, broadcast((real)(share * (double)done)), load(other + length));
        }
        store(mean + i, m);
        store(variance + i, s * broadcast((real)(1 / (double)rows)));
    }
}

void NN_FN(batch_norm)(const nn_norm *a, int64_t r0, int64_t r1) {
    for (int64_t v = 0; v < vectors_of(a->n); v++) {
        const vec mean = load((const real *)a->mean + v * W), gamma = load(gamma_of(a, v)), beta = load(beta_of(a, v));
        const vec scale = inverse_deviation(load((const real *)a->variance + v * W), a->epsilon);
        for (int64_t r = r0; r < r1; r++) {
            const vec xhat = (load(panel_row(a->x, a->x_rows, v, r)) - mean) * scale;
            store(written_row(a->out, a->out_rows, v, r), fma_(xhat, gamma, beta));
        }
    }
    activate_rows(a, r0, r1);
}

void NN_FN(norm_sums)(const nn_norm *a, int64_t r0, int64_t r1, void *sums_) {
    real *sums = sums_;
    const int64_t length = vectors_of(a->n) * W;
    for (int64_t v = 0; v < vectors_of(a->n); v++) {
        const vec mean = load((const real *)a->mean + v * W);
        const vec scale = inverse_deviation(load((const real *)a->variance + v * W), a->epsilon);
        vec d_sum = broadcast(0), product = broadcast(0);
        for (int64_t r = r0; r < r1; r++) {
            const vec d = load(panel_row(a->d, a->d_rows, v, r));
            const vec xhat = (load(panel_row(a->x, a->x_rows, v, r)) - mean) * scale;
            d_sum = d_sum + d;
            product = fma_(d, xhat, product);
        }
        store(sums + v * W, product);
        store(sums + length + v * W, d_sum);
    }
}

void NN_FN(batch_norm_backward)(const nn_norm *a, int64_t r0, int64_t r1) {
    const vec share = broadcast((real)a->share);
    const real *sums = a->sums;
    const int64_t length = vectors_of(a->n) * W;
    for (int64_t v = 0; v < vectors_of(a->n); v++) {
        const vec mean = load((const real *)a->mean + v * W), gamma = load(gamma_of(a, v));
        const vec scale = inverse_deviation(load((const real *)a->variance + v * W), a->epsilon);
        const vec product = load(sums + v * W) * share, d_mean = load(sums + length + v * W) * share;
        for (int64_t r = r0; r < r1; r++) {
            const vec xhat = (load(panel_row(a->x, a->x_rows, v, r)) - mean) * scale;
            const vec d = load(panel_row(a->d, a->d_rows, v, r)) - d_mean;
            store(written_row(a->out, a->out_rows, v, r), gamma * scale * fma_(-xhat, product, d));
        }
    }
    scale_rows(a, r0, r1);
}

/* ---- layer normalisation; row_stats: mean and inverse deviation of each row */

/* Rows go GROUP at a time: they lie side by side in each panel, where one row alone would jump from line to line. */
enum { GROUP = 8 };

INLINE vec only(mask last, int64_t v, int64_t vectors, vec x) {
    return v + 1 < vectors ? x : blend(last, x, broadcast(0));
}

INLINE void layer_norm_rows(const int rows, const nn_norm *a, int64_t r) {
    const int64_t vectors = vectors_of(a->n);
    const mask last = first_lanes(a->n - (vectors - 1) * W);
    const real share = (real)(1 / (double)a->n);
    vec sum[GROUP], squares[GROUP];
    for (int i = 0; i < rows; i++) sum[i] = squares[i] = broadcast(0);
    for (int64_t v = 0; v < vectors; v++)
        for (int i = 0; i < rows; i++)
            sum[i] = sum[i] + only(last, v, vectors, load(panel_row(a->x, a->x_rows, v, r + i)));
    for (int i = 0; i < rows; i++) sum[i] = broadcast(lane_sum(sum[i]) * share); /* the mean */
    for (int64_t v = 0; v < vectors; v++)
        for (int i = 0; i < rows; i++) {
            const vec d = only(last, v, vectors, load(panel_row(a->x, a->x_rows, v, r + i)) - sum[i]);
            squares[i] = fma_(d, d, squares[i]);
        }
    for (int i = 0; i < rows; i++) squares[i] = inverse_deviation(broadcast(lane_sum(squares[i]) * share), a->epsilon);
    for (int64_t v = 0; v < vectors; v++) {
        const vec gamma = load(gamma_of(a, v)), beta = load(beta_of(a, v));
        for (int i = 0; i < rows; i++) {
            const vec xhat = (load(panel_row(a->x, a->x_rows, v, r + i)) - sum[i]) * squares[i];
            store(written_row(a->out, a->out_rows, v, r + i), fma_(xhat, gamma, beta));
        }
    }
    for (int i = 0; a->row_stats && i < rows; i++) {
        ((real *)a->row_stats)[2 * (r + i)] = sum[i][0];
        ((real *)a->row_stats)[2 * (r + i) + 1] = squares[i][0];
    }
}

INLINE void layer_norm_backward_rows(const int rows, const nn_norm *a, int64_t r) {
    const int64_t vectors = vectors_of(a->n);
    const mask last = first_lanes(a->n - (vectors - 1) * W);
    const real share = (real)(1 / (double)a->n);
    vec mean[GROUP], scale[GROUP], sum[GROUP], product[GROUP];
    for (int i = 0; i < rows; i++) {
        mean[i] = broadcast(((const real *)a->row_stats)[2 * (r + i)]);
        scale[i] = broadcast(((const real *)a->row_stats)[2 * (r + i) + 1]);
        sum[i] = product[i] = broadcast(0);
    }
    for (int64_t v = 0; v < vectors; v++) { /* gamma is 0 past the last column */
        const vec gamma = load(gamma_of(a, v));
        for (int i = 0; i < rows; i++) {
            const vec g = load(panel_row(a->d, a->d_rows, v, r + i)) * gamma;
            const vec xhat = (load(panel_row(a->x, a->x_rows, v, r + i)) - mean[i]) * scale[i];
            sum[i] = sum[i] + g;
            product[i] = fma_(g, xhat, product[i]);
        }
    }
    for (int i = 0; i < rows; i++) {
        sum[i] = broadcast(lane_sum(sum[i]) * share);
        product[i] = broadcast(lane_sum(product[i]) * share);
    }
    for (int64_t v = 0; v < vectors; v++) {
        const vec gamma = load(gamma_of(a, v));
        for (int i = 0; i < rows; i++) {
            const vec g = load(panel_row(a->d, a->d_rows, v, r + i)) * gamma;
            const vec xhat = (load(panel_row(a->x, a->x_rows, v, r + i)) - mean[i]) * scale[i];
            store(written_row(a->out, a->out_rows, v, r + i),
                  only(last, v, vectors, scale[i] * fma_(-xhat, product[i], g - sum[i])));
        }
    }
}

void NN_FN(layer_norm)(const nn_norm *a, int64_t r0, int64_t r1) {
    int64_t r = r0;
    for (; r + GROUP <= r1; r += GROUP) layer_norm_rows(GROUP, a, r);
    for (; r < r1; r++) layer_norm_rows(1, a, r);
    activate_rows(a, r0, r1);
}

void NN_FN(layer_norm_backward)(const nn_norm *a, int64_t r0, int64_t r1) {
    int64_t r = r0;
    for (; r + GROUP <= r1; r += GROUP) layer_norm_backward_rows(GROUP, a, r);
    for (; r < r1; r++) layer_norm_backward_rows(1, a, r);
    scale_rows(a, r0, r1);
}

/* One panel of the gradients of gamma and beta, summed over the rows in their order */
void NN_FN(layer_norm_gradient)(const nn_norm *a, int64_t panel, int64_t r0, int64_t r1, void *dst_) {
    const int64_t width = a->n - panel * NR > W ? NR : W;
    real *dst = dst_;
    for (int64_t v = 2 * panel; v < 2 * panel + width / W; v++) {
        vec d_sum = broadcast(0), product = broadcast(0);
        for (int64_t r = r0; r < r1; r++) {
            const real *stats = (const real *)a->row_stats + 2 * r;
            const vec d = load(panel_row(a->d, a->d_rows, v, r));
            const vec xhat = (load(panel_row(a->x, a->x_rows, v, r)) - broadcast(stats[0])) * broadcast(stats[1]);
            d_sum = d_sum + d;
            product = fma_(d, xhat, product);
        }
        store(dst + (v % 2) * W, product);
        store(dst + width + (v % 2) * W, d_sum);
    }
}
