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

/* epsilon, but never 0 in this type, where 0 / 0 would be NaN */
INLINE vec floored_epsilon(const nn_update *u) {
    const real least = sizeof(real) == 4 ? (real)0x1p-126 : (real)0x1p-1022;
    return broadcast((real)u->epsilon > least ? (real)u->epsilon : least);
}

/* m <- b1 m + (1 - b1) g;  v <- b2 v + (1 - b2) g^2;
 * p <- p - (rate / (1 - b1^t)) m / (sqrt(v) / sqrt(1 - b2^t) + epsilon)                          Kingma and Ba 2015
 * Decoupled: p <- (1 - rate decay) p before the step, and no decay in g                Loshchilov and Hutter 2019 */
INLINE void adam(const nn_update *u, int64_t n, const real *g_, real *p_, real *m_, real *v_, int decoupled) {
    const vec decay = broadcast((real)u->decay), b1 = broadcast((real)u->beta1), b2 = broadcast((real)u->beta2);
    const vec c1 = broadcast((real)(1 - u->beta1)), c2 = broadcast((real)(1 - u->beta2));
    const vec step = broadcast((real) - (u->rate * u->correction1)), root = broadcast((real)u->correction2);
    const vec epsilon = floored_epsilon(u), keep = broadcast((real)(1 - u->rate * u->decay));
    for (int64_t i = 0; i < n; i += W) {
        vec p = load(p_ + i), g = decoupled ? load(g_ + i) : fma_(decay, p, load(g_ + i));
        if (decoupled) p = keep * p;
        vec m = fma_(b1, load(m_ + i), c1 * g), v = fma_(b2, load(v_ + i), c2 * g * g);
        store(m_ + i, m);
        store(v_ + i, v);
        store(p_ + i, p + step * m / fma_(vsqrt(v), root, epsilon));
    }
}

/* m and v as in Adam;  p <- p - rate (c3 g + c1 m) / (sqrt(v) / sqrt(1 - b2^t) + epsilon), where
 * c3 = (1 - mu_t) / (1 - mu_1 ... mu_t) and c1 = mu_(t+1) / (1 - mu_1 ... mu_(t+1))                        Dozat 2016 */
INLINE void nadam(const nn_update *u, int64_t n, const real *g_, real *p_, real *m_, real *v_) {
    const vec decay = broadcast((real)u->decay), b1 = broadcast((real)u->beta1), b2 = broadcast((real)u->beta2);
    const vec c1 = broadcast((real)(1 - u->beta1)), c2 = broadcast((real)(1 - u->beta2));
    const vec of_m = broadcast((real) - (u->rate * u->correction1)),
              of_g = broadcast((real) - (u->rate * u->correction3));
    const vec root = broadcast((real)u->correction2), epsilon = floored_epsilon(u);
    for (int64_t i = 0; i < n; i += W) {
        vec p = load(p_ + i), g = fma_(decay, p, load(g_ + i));
        vec m = fma_(b1, load(m_ + i), c1 * g), v = fma_(b2, load(v_ + i), c2 * g * g);
        store(m_ + i, m);
        store(v_ + i, v);
        store(p_ + i, p + fma_(of_m, m, of_g * g) / fma_(vsqrt(v), root, epsilon));
    }
}

/* v <- rho v + (1 - rho) g^2;  p <- p - rate g / (sqrt(v) + epsilon)          Hinton 2012, lecture 6e, as in PyTorch */
INLINE void rmsprop(const nn_update *u, int64_t n, const real *g_, real *p_, real *v_) {
    const vec decay = broadcast((real)u->decay), rho = broadcast((real)u->beta2);
    const vec c2 = broadcast((real)(1 - u->beta2)), rate = broadcast((real)-u->rate), epsilon = floored_epsilon(u);
    for (int64_t i = 0; i < n; i += W) {
        vec p = load(p_ + i), g = fma_(decay, p, load(g_ + i));
        vec v = fma_(rho, load(v_ + i), c2 * g * g);
        store(v_ + i, v);
        store(p_ + i, p + rate * g / (vsqrt(v) + epsilon));
    }
}

/* s <- s + g^2;  p <- p - rate g / (sqrt(s) + epsilon)                                     Duchi, Hazan and Singer 2011 */
INLINE void adagrad(const nn_update *u, int64_t n, const real *g_, real *p_, real *s_) {
    const vec decay = broadcast((real)u->decay), rate = broadcast((real)-u->rate), epsilon = floored_epsilon(u);
    for (int64_t i = 0; i < n; i += W) {
        vec p = load(p_ + i), g = fma_(decay, p, load(g_ + i));
        vec s = fma_(g, g, load(s_ + i));
        store(s_ + i, s);
        store(p_ + i, p + rate * g / (vsqrt(s) + epsilon));
    }
}

/* p <- (1 - rate decay) p - rate sign(b1 m + (1 - b1) g);  m <- b2 m + (1 - b2) g                Chen et al. 2023 */
INLINE void lion(const nn_update *u, int64_t n, const real *g_, real *p_, real *m_) {
    const vec b1 = broadcast((real)u->beta1), b2 = broadcast((real)u->beta2);
    const vec c1 = broadcast((real)(1 - u->beta1)), c2 = broadcast((real)(1 - u->beta2));
    const vec keep = broadcast((real)(1 - u->rate * u->decay)), zero = {0};
    const vec down = broadcast((real)-u->rate), up = broadcast((real)u->rate);
    for (int64_t i = 0; i < n; i += W) {
        vec g = load(g_ + i), m = load(m_ + i);
        vec c = fma_(b1, m, c1 * g);
        store(m_ + i, fma_(b2, m, c2 * g));
        vec step = blend(vless(zero, c), down, blend(vless(c, zero), up, c)); /* 0 and NaN stay what they are */
        store(p_ + i, fma_(keep, load(p_ + i), step));
    }
}

void NN_FN(update)(const nn_update *u, int64_t n, const void *g, void *p, void *s0, void *s1) {
    switch (u->optimizer) {
    case NN_SGD: sgd(u, n, g, p); break;
    case NN_MOMENTUM: momentum(u, n, g, p, s0); break;
    case NN_ADAM: adam(u, n, g, p, s0, s1, 0); break;
    case NN_ADAMW: adam(u, n, g, p, s0, s1, 1); break;
    case NN_NADAM: nadam(u, n, g, p, s0, s1); break;
    case NN_RMSPROP: rmsprop(u, n, g, p, s0); break;
    case NN_ADAGRAD: adagrad(u, n, g, p, s0); break;
    case NN_LION: lion(u, n, g, p, s0); break;
    default: break;
    }
}

/* x <- b x, so many times, each rounded as in the steps above: `vectors` of x side by side, as one alone would wait for
 * itself */
INLINE void decay_vectors(const int vectors, vec b, int64_t times, real *x_) {
    vec x[8], zero = {0};
    ivec any = {0};
    UNROLL
    for (int v = 0; v < vectors; v++) {
        x[v] = load(x_ + v * W);
        any |= as_bits(x[v]);
    }
    if (!any_bit(any)) return;
    for (int64_t t = 0; t < times; t++) {
        UNROLL
        for (int v = 0; v < vectors; v++) x[v] = fma_(b, x[v], zero);
    }
    UNROLL
    for (int v = 0; v < vectors; v++) store(x_ + v * W, x[v]);
}

INLINE void decay_slot(double factor, int64_t times, int64_t n, real *x) {
    const vec b = broadcast((real)factor);
    for (; n >= 8 * W; n -= 8 * W, x += 8 * W) decay_vectors(8, b, times, x);
    for (; n >= 2 * W; n -= 2 * W, x += 2 * W) decay_vectors(2, b, times, x);
    if (n) decay_vectors(1, b, times, x);
}

void NN_FN(idle)(const nn_update *u, int64_t times, int64_t n, void *s0, void *s1) {
    switch (u->optimizer) {
    case NN_MOMENTUM: decay_slot(u->momentum, times, n, s0); break;
    case NN_ADAM:
    case NN_ADAMW:
    case NN_NADAM:
        decay_slot(u->beta1, times, n, s0);
        decay_slot(u->beta2, times, n, s1);
        break;
    case NN_RMSPROP:
    case NN_LION: decay_slot(u->beta2, times, n, s0); break;
    default: break;
    }
}
