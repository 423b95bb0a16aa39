/* simd_math.h: exp, log, log1p, tanh, sigmoid, sine and cosine on vectors, without tables, branches or calls.
 *
 * exp:  x = n ln 2 + r, |r| <= ln 2 / 2, exp(x) = 2^n (1 + r + r^2 q(r)).
 * log:  x = 2^n m, m in [sqrt(1/2), sqrt(2)), s = (m - 1) / (m + 1), log(m) = 2 atanh(s) = 2 s + s^3 h(s^2).
 * tanh: with t = expm1(2 |x|), tanh|x| = t / (t + 2), which keeps the relative error small near 0 too; what rounding took
 *       from t and from t + 2 is put back to first order, with 1 / (t + 2) = (1 - tanh|x|) / 2.
 * sigmoid: with e = exp(-|x|), 1 / (1 + e) or e / (1 + e), likewise put right.
 * sine, cosine: of a number of right angles, |x| <= 1/2: x s(x^2) and 1 + x^2 c(x^2).
 * The polynomials q, h, s and c are least-maximum fits made for this file; their error is below a tenth of the last place.
 * tests/test_kernels_elementwise.py measures each function against float64 (or long double) and holds it to the error stated here:
 * at most 2 ulp for each of them wherever the result is a normal number. Results below the
 * smallest normal number may be flushed to zero. NaN gives NaN everywhere.
 */
#ifndef NN_SIMD_MATH_H
#define NN_SIMD_MATH_H

#include "simd.h"

#ifdef NN_DOUBLE
#define MANTISSA_BITS 52
#define EXPONENT_BIAS 1023
#define ROUNDER 0x1.8p52          /* adding it rounds to a whole number, left in the low bits */
#define LN2_HIGH 0x1.62e42fefap-1 /* 36 bits: n * LN2_HIGH is exact for |n| < 2^17 */
#define LN2_LOW 0x1.cf79abc9e3b39p-40
#define EXP_LOWEST (-708.4) /* just below, results are subnormal */
#define EXP_HIGHEST 709.79  /* just above, results are infinite */
#define TANH_FLAT 20.0      /* tanh rounds to 1 from here on */
static const real exp_q[] = {0.5,
                             0.16666666666666670991,
                             0.041666666666666669755,
                             0.0083333333333261351258,
                             0.0013888888888883748305,
                             0.00019841269874820625271,
                             0.000024801587325547741216,
                             2.755725540020642443e-6,
                             2.7557273643110295328e-7,
                             2.5105217004720745164e-8,
                             2.0914686968086877233e-9};
static const real log_h[] = {0.66666666666666666456, 0.40000000000000912038, 0.28571428570782207716,
                             0.2222222239655298081,  0.18181795124476753508, 0.15386267672882225032,
                             0.13268026140428739298, 0.13094416666525344015};
static const real log1p_h[] = {0.66666666666666666667,  0.39999999999999999502,  0.28571428571428821812,
                               0.222222222221727887,    0.18181818186880556257,  0.15384615076709172748,
                               0.13333345323305978498,  0.11764394102673769388,  0.10531837812039883673,
                               0.094571632072114846741, 0.092319442733682474862, 0.052834122281372712085,
                               0.14938828485979847019};
static const real sine_s[] = {1.5707963267948966143,     -0.64596409750624431573,   0.079692626246043003134,
                              -0.0046817541323409759917, 0.00016044115074219091052, -3.598643352982309702e-6,
                              5.6339337815378539538e-8};
static const real cosine_c[] = {-1.2337005501361698269,    0.25366950790104782321,      -0.020863480763340772521,
                                0.00091926027454684461873, -0.000025202039028029176105, 4.7106784055052271063e-7,
                                -6.3293963449674235121e-9};
#else
#define MANTISSA_BITS 23
#define EXPONENT_BIAS 127
#define ROUNDER 0x1.8p23f
#define LN2_HIGH 0x1.62e4p-1f /* 15 bits */
#define LN2_LOW 0x1.7f7d1cp-20f
#define EXP_LOWEST (-87.34f)
#define EXP_HIGHEST 88.73f
#define TANH_FLAT 9.1f
static const real exp_q[] = {0.500000001347f,   0.166666666816f,   0.0416664649253f,
                             0.00833331092548f, 0.00139336499963f, 0.000198909908247f};
static const real log_h[] = {0.66666666552f, 0.400001239061f, 0.285505870376f, 0.233368110052f};
static const real log1p_h[] = {0.6666666665f,  0.400000107699f, 0.285703057219f,
                               0.22264711209f, 0.174647024654f, 0.207876168557f};
static const real sine_s[] = {1.57079632195f, -0.645963477665f, 0.0796802176478f, -0.00460214921281f};
static const real cosine_c[] = {-1.23370054937f, 0.253669410357f, -0.0208615283422f, 0.000906739898403f};
#endif
#define TERMS(c) ((int)(sizeof(c) / sizeof((c)[0])))

/* c[0] + c[1] x + ... by Horner's rule */
INLINE vec polynomial(const int terms, const real *c, vec x) {
    vec y = broadcast(c[terms - 1]);
    UNROLL
    for (int i = terms - 2; i >= 0; i--) y = fma_(y, x, broadcast(c[i]));
    return y;
}

/* 2^n for whole n with a normal result */
INLINE vec power_of_two(ivec n) { return as_real(bits_left((ivec)((uvec)n + EXPONENT_BIAS), MANTISSA_BITS)); }

/* x = n ln 2 + r; returns r, |r| <= ln 2 / 2 */
INLINE vec reduce_exp(vec x, ivec *n) {
    vec shifted = fma_(x, broadcast((real)1.4426950408889634074), broadcast(ROUNDER));
    *n = bits_minus(as_bits(shifted), as_bits(broadcast(ROUNDER)));
    vec whole = shifted - broadcast(ROUNDER);
    vec r = fma_(whole, broadcast(-LN2_HIGH), x);
    return fma_(whole, broadcast(-LN2_LOW), r);
}

/* exp(r) - 1 for |r| <= ln 2 / 2 */
INLINE vec expm1_reduced(vec r) {
    vec q = polynomial(TERMS(exp_q), exp_q, r);
    return fma_(r * r, q, r);
}

/* exp(x), and what rounding took from it but for the error of the polynomial */
INLINE vec exp_and_lost(vec x, vec *lost) {
    const vec low = broadcast(EXP_LOWEST), high = broadcast(EXP_HIGHEST);
    vec y = blend(vless(x, low), low, x);
    y = blend(vless(high, y), high, y);
    ivec n;
    vec p = expm1_reduced(reduce_exp(y, &n)), e = p + broadcast(1);
    ivec half = n >> 1; /* in two steps: 2^n itself overflows where n is the largest exponent plus one */
    *lost = (p - (e - broadcast(1))) * power_of_two(half) * power_of_two(n - half);
    e = e * power_of_two(half) * power_of_two(n - half);
    return blend(vless(x, low), broadcast(0), e);
}

INLINE vec vexp(vec x) {
    vec lost;
    return exp_and_lost(x, &lost);
}

/* sigmoid(x) from e = exp(-|x|) */
INLINE vec sigmoid_of_exp(vec x, vec e, vec e_lost) {
    const vec zero = broadcast(0), one = broadcast(1);
    const mask below = vless(x, zero);
    vec d = one + e, d_lost = (e - (d - one)) + e_lost;
    vec y = blend(below, e, one) / d, reciprocal = blend(below, one - y, y);
    return fma_(fma_(-y, d_lost, blend(below, e_lost, zero)), reciprocal, y);
}

INLINE vec vsigmoid(vec x) {
    vec lost, e = exp_and_lost(-vabs(x), &lost);
    return sigmoid_of_exp(x, e, lost);
}

INLINE vec vtanh(vec x) {
    const vec flat = broadcast(TANH_FLAT);
    vec y = vabs(x);
    y = blend(vless(flat, y), flat, y);
    ivec n;
    vec r = reduce_exp(y + y, &n), c = r * r * polynomial(TERMS(exp_q), exp_q, r);
    vec p = r + c, scale = power_of_two(n), whole = scale - broadcast(1);
    vec t = fma_(scale, p, whole), d = t + broadcast(2);
    vec p_lost = (r - p) + c;
    vec t_lost = fma_(scale, p_lost, fma_(scale, p, whole - t)), d_lost = t - (d - broadcast(2));
    vec a = t / d, reciprocal = fma_(broadcast((real)-0.5), a, broadcast((real)0.5));
    reciprocal = blend(vless(t, broadcast(16)), reciprocal, broadcast(0)); /* beyond, the loss does not matter */
    return copy_sign(fma_(fma_(-a, d_lost + t_lost, t_lost), reciprocal, a), x);
}

/* log(x) for normal x in (0, 1], given 1 - x: what rounding took from an x near 1 does not matter */
INLINE vec vlog_below_1(vec x, vec complement) {
    const ivec root = as_bits(broadcast((real)0.70710678118654752440));
    ivec n = bits_minus(as_bits(x), root) >> MANTISSA_BITS;
    vec m = as_real(bits_minus(as_bits(x), bits_left(n, MANTISSA_BITS))), whole = __builtin_convertvector(n, vec);
    const mask reduced = vless(whole, broadcast(0));
    vec s = blend(reduced, m - broadcast(1), -complement) / blend(reduced, m + broadcast(1), broadcast(2) - complement);
    vec t = s * s, h = polynomial(TERMS(log_h), log_h, t);
    vec y = fma_(s * t, h, whole * broadcast(LN2_LOW));
    return fma_(whole, broadcast(LN2_HIGH), (s + s) + y);
}

/* sin and cos of x pi / 2 for |x| <= 1/2 */
INLINE vec vsine(vec x) { return x * polynomial(TERMS(sine_s), sine_s, x * x); }
INLINE vec vcosine(vec x) {
    const vec t = x * x;
    return fma_(t, polynomial(TERMS(cosine_c), cosine_c, t), broadcast(1));
}

/* log(x) for x > 0; -infinity at 0, NaN below; infinity at infinity. Subnormal x count as 0. */
INLINE vec vlog(vec x) {
    const ivec root = as_bits(broadcast((real)0.70710678118654752440));
    ivec n = bits_minus(as_bits(x), root) >> MANTISSA_BITS; /* so that m lies in [sqrt(1/2), sqrt(2)) */
    vec m = as_real(bits_minus(as_bits(x), bits_left(n, MANTISSA_BITS)));
    vec s = (m - broadcast(1)) / (m + broadcast(1)), t = s * s;
    vec h = polynomial(TERMS(log_h), log_h, t);
    vec whole = __builtin_convertvector(n, vec);
    /* the small parts first: n ln2_low + s^3 h, then 2 s, then the large n ln2_high */
    vec y = fma_(s * t, h, whole * broadcast(LN2_LOW));
    y = fma_(whole, broadcast(LN2_HIGH), (s + s) + y);
    const real smallest = MANTISSA_BITS == 23 ? (real)0x1p-126 : (real)0x1p-1022;
    const vec infinity = broadcast((real)__builtin_inf());
    y = blend(vless(x, broadcast(smallest)), -infinity, y);
    y = blend(vless(x, broadcast(0)), broadcast((real)__builtin_nan("")), y);
    y = blend(vless(x, infinity), y, x); /* infinity and NaN give themselves */
    return y;
}

/* log(1 + e) for e in [0, 1], relative error small down to e = 0 */
INLINE vec vlog1p(vec e) {
    vec s = e / (broadcast(2) + e), t = s * s;
    vec h = polynomial(TERMS(log1p_h), log1p_h, t);
    return fma_(s * t, h, s + s);
}

#endif
