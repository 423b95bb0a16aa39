/* simd_activations.h: the activations made of exp and of the normal distribution, on vectors, and their derivatives.
 *
 * elu, selu:  expm1(z) below 0, from the parts of exp, so that nothing is lost near 0.
 * softplus:   max(z, 0) + log1p(exp(-|z|)).
 * gelu:       with x = |z| and Q(x) = 1 - Phi(x) = exp(-x^2 / 2) R(x), z Phi(z) = -x Q(x) below 0 and z - x Q(x) above: the
 *             tail is never a difference. R(x) (k + x) = G is a polynomial in 1 / (k + x), from 0.4 to k / 2.
 *             x^2 is taken exactly, in two parts, as exp magnifies its rounding by x^2.
 * gelu_tanh, silu: z s(w) with the sigmoid s, w = 2 sqrt(2 / pi) (z + 0.044715 z^3) or z.
 * mish:       with w = e (e + 2), e = exp(z), tanh(log(1 + e)) = w / (w + 2); z - 2 z / (w + 2) above 0.
 * Where z exp(z) is still a normal number though exp(z) is not, mantissa and exponent of exp(z) are applied apart.
 * At -infinity the last four are -0, with the derivative 0; NaN gives NaN everywhere.
 *
 * Errors in units of the last place, where the result is a normal number, in float32 (float64: one more): elu, selu and
 * gelu 2 (gelu without fused multiply-adds 4.5), softplus 2.6, hard_silu 2.5, silu 3.1, mish 4.1, gelu_tanh 6 above
 * z = -1 and below growing as |w|; of the derivatives 2 units of the last place of 1.
 * tests/test_kernels_activations.py measures them.
 */
#ifndef NN_SIMD_ACTIVATIONS_H
#define NN_SIMD_ACTIVATIONS_H

#include "simd_math.h"

#define SELU_SCALE ((real)1.0507009873554804934193349852946)
#define SELU_LIMIT ((real)1.7580993408473768599402175208123)  /* scale alpha, alpha = 1.67326... */
#define GELU_LINEAR ((real)1.5957691216057307117597842397375) /* 2 sqrt(2 / pi) */
#define GELU_CUBIC ((real)0.0713548162726002487763387522799)  /* 0.044715 times that */
#define DENSITY ((real)0.39894228040143267793994605993438)    /* 1 / sqrt(2 pi) */

#ifdef NN_DOUBLE
#define EXPM1_FLAT (-38.0)            /* expm1 rounds to -1 from here on down */
#define GATE_LOWEST (-760.0)          /* z exp(z) vanishes from here on down */
#define MISH_FLAT 22.0                /* mish(z) rounds to z from here on, and its derivative to 1 */
#define HIGH_BITS (~(ireal)0x7ffffff) /* leave 26 bits of a number, whose square is exact */
#define NORMAL_FAR 39.0               /* Q(x) vanishes from here on */
#define NORMAL_SHIFT 6.0              /* k */
#define NORMAL_BEND 19.0 /* G(1 / (k + x)) changes by about so much times 1 / (k + x) of what that does, relatively */
#define NORMAL_A 16.0    /* A / (k + x) + B lies in [-1.2, 1.6]; a power of two, so that no product is rounded */
#define NORMAL_B (-1.5)
static const real normal_g[] = {
    0.87474682994533326,     0.64871065526294469,     0.42332828119995558,    0.24256377654627684,
    0.1212834344292904,      0.052299275774279889,    0.019047390687954316,   0.0056337803587002229,
    0.0012398741746017796,   0.00014936386738033334,  -1.5884180974203443e-5, -1.1590982998854588e-5,
    -1.7575563620822103e-6,  3.1186215204138027e-7,   1.5989686618655822e-7,  4.45635997914849e-9,
    -9.9141590151095802e-9,  -1.3494781299789895e-9,  5.7402208227211657e-10, 1.2512721009127428e-10,
    -3.2819144395715088e-11, -6.7089928934388516e-12, 1.4307699726570327e-12};
#else
#define EXPM1_FLAT (-18.0f)
#define GATE_LOWEST (-110.0f)
#define MISH_FLAT 12.0f
#define HIGH_BITS (~(ireal)0xfff) /* 12 bits */
#define NORMAL_FAR 14.5f
#define NORMAL_SHIFT 3.5f /* k */
#define NORMAL_BEND 6.1f  /* G(1 / (k + x)) changes by about so much times 1 / (k + x) of what that does, relatively */
#define NORMAL_A 8.0f
#define NORMAL_B (-0.75f) /* near 0 in the tail, where G is smallest */
static const real normal_g[] = {0.582830966f,   0.338328004f,   0.160804078f,    0.0583761521f,
                                0.0133230519f,  5.87826726e-5f, -0.00120217656f, -0.000346033339f,
                                0.00016457311f, 1.11258223e-5f, -7.74889122e-6f};
#endif

INLINE vec clamp(vec x, real low, real high) { /* NaN stays */
    x = blend(vless(x, broadcast(low)), broadcast(low), x);
    return blend(vless(broadcast(high), x), broadcast(high), x);
}

/* exp(x) = (1 + p) scale[0] scale[1]: two powers of two, for each of which there is a normal number */
typedef struct exp_parts {
    vec p, scale[2];
} exp_parts;

INLINE exp_parts exp_in_parts(vec x) {
    ivec n;
    const vec p = expm1_reduced(reduce_exp(x, &n));
    const ivec half = n >> 1;
    return (exp_parts){p, {power_of_two(half), power_of_two(n - half)}};
}

/* exp(x) - 1 for x <= 0, -0 included */
INLINE vec expm1_below(vec x) {
    const vec flat = broadcast(EXPM1_FLAT);
    ivec n;
    const vec p = expm1_reduced(reduce_exp(blend(vless(x, flat), flat, x), &n)), scale = power_of_two(n);
    return copy_sign(fma_(scale, p, scale - broadcast(1)), x);
}

/* scale z above 0, limit expm1(z) below */
INLINE vec velu(vec z, vec scale, vec limit) {
    const vec zero = broadcast(0);
    const mask above = vless(zero, z);
    return blend(above, scale * z, limit * expm1_below(blend(above, zero, z)));
}

INLINE vec vsoftplus(vec z) {
    const vec zero = broadcast(0);
    vec lost, e = exp_and_lost(-vabs(z), &lost);
    /* what exp's rounding took, by log1p' = 1 / (1 + e), for which a straight line is good enough */
    vec y = fma_(lost, fma_(broadcast((real)-0.5), e, broadcast(1)), vlog1p(e));
    return blend(vless(zero, z), z, zero) + y;
}

INLINE vec vhard_sigmoid(vec z) { return clamp((z + broadcast(3)) * broadcast((real)(1.0 / 6)), 0, 1); }

INLINE vec vhard_silu(vec z, vec *slope) {
    const vec zero = broadcast(0), one = broadcast(1), three = broadcast(3);
    const mask low = vless(z, -three);
    vec s = fma_(z, broadcast((real)(1.0 / 3)), broadcast((real)0.5)); /* NaN stays */
    s = blend(vless(three, z), one, s);
    *slope = blend(low, zero, blend(vequal(z, -three), zero, s));
    return blend(low, -three, z) * vhard_sigmoid(z);
}

/* z s(w), of the derivative s(w) + z w' s(w) s(-w) */
INLINE vec gated(vec z, vec w, vec dw, vec *slope) {
    const vec zero = broadcast(0), one = broadcast(1);
    const mask below = vless(w, zero);
    const exp_parts x = exp_in_parts(clamp(-vabs(w), GATE_LOWEST, 0));
    const vec e = (x.p + one) * x.scale[0] * x.scale[1], q = one / (one + e);
    const vec y = clamp(z, GATE_LOWEST, -GATE_LOWEST);
    *slope = blend(below, e * q, q) + y * dw * (e * q * q);
    const vec v = blend(below, fma_(y, x.p, y), z) * q;
    return v * blend(below, x.scale[0], one) * blend(below, x.scale[1], one);
}

INLINE vec vsilu(vec z, vec *slope) { return gated(z, z, broadcast(1), slope); }

INLINE vec vgelu_tanh(vec z, vec *slope) {
    const vec y = clamp(z, -NORMAL_FAR, NORMAL_FAR), square = y * y;
    const vec w = y * fma_(broadcast(GELU_CUBIC), square, broadcast(GELU_LINEAR));
    const vec dw = fma_(broadcast(3 * GELU_CUBIC), square, broadcast(GELU_LINEAR));
    return gated(z, w, dw, slope);
}

INLINE vec vmish(vec z, vec *slope) {
    const vec zero = broadcast(0), one = broadcast(1), two = broadcast(2), flat = broadcast(MISH_FLAT);
    const vec y = clamp(z, GATE_LOWEST, MISH_FLAT);
    const exp_parts x = exp_in_parts(y);
    const vec e = (x.p + one) * x.scale[0] * x.scale[1], plus = e + two, w = e * plus, q = one / (w + two);
    const mask straight = vless(flat, z);
    *slope = blend(straight, one, fma_(y * broadcast(4), (e * q) * ((one + e) * q), w * q));
    const vec below = fma_(y, x.p, y) * (plus * q) * x.scale[0] * x.scale[1];
    const vec v = blend(vless(zero, z), fma_(y * -two, q, y), below);
    return blend(straight, z, v);
}

/* exp(x + rest) in parts, |rest| < 0.1, and m = 1 + p with what rounding took from it */
INLINE exp_parts exp_of_sum(vec x, vec rest, vec *m, vec *lost) {
    const vec shifted = fma_(x + rest, broadcast((real)1.4426950408889634074), broadcast(ROUNDER));
    const ivec n = bits_minus(as_bits(shifted), as_bits(broadcast(ROUNDER))), half = n >> 1;
    const vec whole = shifted - broadcast(ROUNDER);
    const vec large = fma_(whole, broadcast(-LN2_HIGH), x), small = fma_(whole, broadcast(-LN2_LOW), rest),
              r = large + small;
    const vec c = r * r * polynomial(TERMS(exp_q), exp_q, r), p = r + c;
    const exp_parts y = {p, {power_of_two(half), power_of_two(n - half)}};
    *m = p + broadcast(1);
    *lost = (p - (*m - broadcast(1))) + (((r - p) + c) + (small - (r - large)));
    return y;
}

/* 1 - t d, where t is 1 / d rounded */
INLINE vec rest_of_quotient(vec t, vec d) {
#if defined(NN_ISA_baseline) && \
    !defined(__aarch64__) /* whose fma_ rounds the product: the product of halves is exact */
    const vec t_high = as_real(as_bits(t) & HIGH_BITS), d_high = as_real(as_bits(d) & HIGH_BITS), d_low = d - d_high;
    return broadcast(1) - t_high * d_high - t_high * d_low - (t - t_high) * d;
#else
    return fma_(-t, d, broadcast(1));
#endif
}

INLINE vec vgelu(vec z, vec *slope) {
    const vec zero = broadcast(0), one = broadcast(1), k = broadcast(NORMAL_SHIFT), far = broadcast(NORMAL_FAR);
    const mask below = vless(z, zero);
    vec x = vabs(z);
    x = blend(vless(far, x), far, x);
    const vec high = as_real(as_bits(x) & HIGH_BITS), minus_half = broadcast((real)-0.5);
    vec m, lost;
    const exp_parts y = exp_of_sum(high * high * minus_half, (x - high) * (x + high) * minus_half, &m, &lost);
    const vec d = x + k, back = d - x, d_lost = (x - (d - back)) + (k - back), t = one / d;
    const vec g = polynomial(TERMS(normal_g), normal_g, fma_(t, broadcast(NORMAL_A), broadcast(NORMAL_B)));
    *slope = m * y.scale[0] * y.scale[1] * fma_(g, t, -(broadcast(DENSITY) * x));
    *slope = blend(below, *slope, one - *slope);
    vec t_lost = rest_of_quotient(t, d) - t * d_lost;                                 /* relative */
    t_lost = fma_(broadcast(NORMAL_BEND) * t, t_lost, t_lost);                        /* and what it took from g */
    const vec xg = x * g, a = xg * t, a_lost = fma_(xg, t, -a) + fma_(x, g, -xg) * t; /* 0 without a fused fma_ */
    const vec tail = fma_(a, m, fma_(a, fma_(m, t_lost, lost), a_lost * m));
    return blend(below, zero, z) - tail * y.scale[0] * y.scale[1];
}

#endif
