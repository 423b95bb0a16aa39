/* optimizer.c: one step of each optimizer on n parameters that lie side by side; n is a multiple of W.
 *
 * The same function serves the update fused into the gradient's tiles and the update from a gradient buffer, so that
 * both give the same bits. Scalars are worked out in double and rounded once.
 */
#include "../kernels.h"
#include "../simd.h"
#include "names.h"

/* g <- g + decay p;  p <- p - rate g                                                                                 */
INLINE void sgd(const nn_update *u, int64_t n, const real *g_, real *p_) {
    const vec rate = broadcast((real)-u->rate), decay = broadcast((real)u->decay);
    for (int64_t i = 0; i < n; i += W) {
        vec p = load(p_ + i), g = fma_(decay, p, load(g_ + i));
        store(p_ + i, fma_(rate, g, p));
    }
}

/* v <- mu v + g;  p <- p - rate v, Nesterov: p <- p - rate (g + mu v)              Sutskever et al. 2013, as in PyTorch */
INLINE void momentum(const nn_update *u, int64_t n, const real *g_, real *p_, real *v_) {
    const vec rate = broadcast((real)-u->rate), decay = broadcast((real)u->decay), mu = broadcast((real)u->momentum);
    const int nesterov = u->nesterov;
    for (int64_t i = 0; i < n; i += W) {
        vec p = load(p_ + i), g = fma_(decay, p, load(g_ + i));
        vec v = fma_(mu, load(v_ + i), g);
        store(v_ + i, v);
        store(p_ + i, fma_(rate, nesterov ? fma_(mu, v, g) : v, p));
    }
}

/* m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;
 * p <- p - (rate / (1 - b1^t)) m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)                          Kingma and Ba 2015 */
INLINE void adam(const nn_update *u, int64_t n, const real *g_, real *p_, real *m_, real *v_) {
    const vec decay = broadcast((real)u->decay), b1 = broadcast((real)u->beta1), b2 = broadcast((real)u->beta2);
    const vec c1 = broadcast((real)(1 - u->beta1)), c2 = broadcast((real)(1 - u->beta2));
    const vec step = broadcast((real) - (u->rate * u->correction1)), root = broadcast((real)u->correction2);
    const real least = sizeof(real) == 4 ? (real)0x1p-126 : (real)0x1p-1022; /* 0 / 0 where an epsilon became 0 */
    const vec epsilon = broadcast((real)u->epsilon > least ? (real)u->epsilon : least);
    for (int64_t i = 0; i < n; i += W) {
        vec p = load(p_ + i), g = fma_(decay, p, load(g_ + i));
        vec m = fma_(b1, load(m_ + i), c1 * g), v = fma_(b2, load(v_ + i), c2 * g * g);
        store(m_ + i, m);
        store(v_ + i, v);
        store(p_ + i, p + step * m / fma_(vsqrt(v), root, epsilon));
    }
}

void NN_FN(update)(const nn_update *u, int64_t n, const void *g, void *p, void *s0, void *s1) {
    switch (u->optimizer) {
    case NN_SGD: sgd(u, n, g, p); break;
    case NN_MOMENTUM: momentum(u, n, g, p, s0); break;
    case NN_ADAM: adam(u, n, g, p, s0, s1); break;
    default: break;
    }
}
