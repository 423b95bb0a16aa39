/* regularize.c: what is done to gradients before an update and to weights after it; n is a multiple of W. */
#include "../kernels.h"
#include "../simd.h"
#include "names.h"

/* g <- g + l1 sign(p) + l2 p */
void NN_FN(regularize)(double l1_, double l2_, int64_t n, const void *p_, void *g_) {
    const real *p = p_;
    real *g = g_;
    const vec l1 = broadcast((real)l1_), l2 = broadcast((real)l2_), zero = broadcast(0);
    for (int64_t i = 0; i < n; i += W) {
        const vec w = load(p + i), sign = blend(vless(zero, w), l1, blend(vless(w, zero), -l1, zero));
        store(g + i, fma_(l2, w, load(g + i)) + sign);
    }
}

/* g <- factor g, then to within [-limit, limit] where limit > 0; NaN stays */
void NN_FN(clip)(double factor_, double limit_, int64_t n, void *g_) {
    real *g = g_;
    const vec factor = broadcast((real)factor_), limit = broadcast((real)limit_);
    const int bounded = limit_ > 0;
    for (int64_t i = 0; i < n; i += W) {
        vec x = load(g + i) * factor;
        if (bounded) x = blend(vless(limit, x), limit, blend(vless(x, -limit), -limit, x));
        store(g + i, x);
    }
}

/* The sum of squares, in double: each number is squared and added there, so that it overflows only where the norm does */
double NN_FN(sum_of_squares)(int64_t n, const void *g_) {
    const real *g = g_;
    double sum[8] = {0};
    for (int64_t i = 0; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) sum[k] += (double)g[i + k] * (double)g[i + k];
    for (int64_t i = n - n % 8; i < n; i++) sum[i % 8] += (double)g[i] * (double)g[i];
    return ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
}

/* Columns of a weight panel, k rows of `stored` numbers, that are longer than `limit` are scaled down to it */
void NN_FN(limit_norms)(double limit_, int64_t k, int64_t stored, void *w_) {
    real *w = w_;
    const vec limit = broadcast((real)limit_);
    for (int64_t v = 0; v < stored; v += W) {
        vec squares = broadcast(0);
        for (int64_t i = 0; i < k; i++) {
            const vec x = load(w + i * stored + v);
            squares = fma_(x, x, squares);
        }
        const vec length = vsqrt(squares);
        const mask longer = vless(limit, length);
        const vec factor = blend(longer, limit / length, broadcast(1));
        for (int64_t i = 0; i < k; i++) store(w + i * stored + v, load(w + i * stored + v) * factor);
    }
}
