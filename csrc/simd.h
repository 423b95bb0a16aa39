/* simd.h: one vector type `vec` of `W` reals, written once for every ISA and both real types.
 *
 * A kernel file is compiled once per (ISA, real type) with NN_ISA_<name> and, for doubles, NN_DOUBLE defined; NN_FN gives
 * its functions names of their own. What GCC's and Clang's vector extensions express is written with them; the few
 * operations that they cannot (fused multiply-add, square root, selection by a mask) are spelled out per ISA below.
 *
 * Numerics: no contraction by the compiler (-ffp-contract=off), no approximate reciprocals, no -ffast-math; NaN and
 * infinity keep their meaning. Multiply-adds are fused where the ISA has them and rounded twice on the x86 baseline.
 */
#ifndef NN_SIMD_H
#define NN_SIMD_H

#include <stdint.h>
#include <string.h>

#if defined(NN_ISA_avx512)
#include <immintrin.h>
#define NN_ISA avx512
#define NN_VECTOR_BYTES 64
#define NN_REGISTERS 32
#elif defined(NN_ISA_avx2)
#include <immintrin.h>
#define NN_ISA avx2
#define NN_VECTOR_BYTES 32
#define NN_REGISTERS 16
#elif defined(NN_ISA_baseline)
#define NN_ISA baseline
#define NN_VECTOR_BYTES 16
#if defined(__aarch64__)
#include <arm_neon.h>
#define NN_REGISTERS 32
#else
#include <immintrin.h>
#define NN_REGISTERS 16
#endif
#else
#error "define one of NN_ISA_baseline, NN_ISA_avx2, NN_ISA_avx512"
#endif

#ifdef NN_DOUBLE
typedef double real;
typedef int64_t ireal;
typedef uint64_t ureal;
#define NN_REAL f64
#else
typedef float real;
typedef int32_t ireal;
typedef uint32_t ureal;
#define NN_REAL f32
#endif

#define NN_PASTE3(a, b, c) nn_##a##_##b##_##c
#define NN_EXPAND3(a, b, c) NN_PASTE3(a, b, c)
#define NN_FN(name) NN_EXPAND3(name, NN_ISA, NN_REAL)

#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("GCC unroll 32")

enum {
    W = NN_VECTOR_BYTES / (int)sizeof(real), /* reals in a vector */
    NR = 2 * W                               /* reals in a row of a panel */
};

typedef real vec __attribute__((vector_size(NN_VECTOR_BYTES)));
typedef ireal ivec __attribute__((vector_size(NN_VECTOR_BYTES)));
typedef ureal uvec __attribute__((vector_size(NN_VECTOR_BYTES)));
typedef real unaligned_vec __attribute__((vector_size(NN_VECTOR_BYTES), aligned(sizeof(real)), may_alias));

INLINE vec load(const real *p) { return *(const unaligned_vec *)p; }
INLINE void store(real *p, vec v) { *(unaligned_vec *)p = v; }

/* A scalar in every lane. `a - 0` is an identity for every a, -0 included, so no instruction but the broadcast is left. */
INLINE vec broadcast(real a) { return a - (vec){0}; }

INLINE vec as_real(ivec v) {
    vec r;
    memcpy(&r, &v, sizeof r);
    return r;
}
INLINE ivec as_bits(vec v) {
    ivec r;
    memcpy(&r, &v, sizeof r);
    return r;
}

/* Of bits, whose numbers wrap: a NaN's are any number, and C leaves it open what becomes of signed ones that overflow. */
INLINE ivec bits_plus(ivec a, ivec b) { return (ivec)((uvec)a + (uvec)b); }
INLINE ivec bits_minus(ivec a, ivec b) { return (ivec)((uvec)a - (uvec)b); }
INLINE ivec bits_left(ivec a, const int n) { return (ivec)((uvec)a << n); }

/* ---- masks: vless(a, b) is a mask of a < b, vequal(a, b) of a = b (both false where either is NaN);
 * blend(m, a, b) takes a where m holds */
#if defined(NN_ISA_avx512)
#ifdef NN_DOUBLE
typedef __mmask8 mask;
INLINE mask vless(vec a, vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
INLINE mask vequal(vec a, vec b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
INLINE vec blend(mask m, vec a, vec b) { return _mm512_mask_blend_pd(m, b, a); }
INLINE vec fma_(vec a, vec b, vec c) { return _mm512_fmadd_pd(a, b, c); }
INLINE vec vsqrt(vec a) { return _mm512_sqrt_pd(a); }
INLINE vec vmax(vec a, vec b) { return _mm512_max_pd(a, b); }
INLINE mask first_lanes(int64_t n) { return (mask)((1u << n) - 1u); }
#else
typedef __mmask16 mask;
INLINE mask vless(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
INLINE mask vequal(vec a, vec b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
INLINE vec blend(mask m, vec a, vec b) { return _mm512_mask_blend_ps(m, b, a); }
INLINE vec fma_(vec a, vec b, vec c) { return _mm512_fmadd_ps(a, b, c); }
INLINE vec vsqrt(vec a) { return _mm512_sqrt_ps(a); }
INLINE vec vmax(vec a, vec b) { return _mm512_max_ps(a, b); }
INLINE mask first_lanes(int64_t n) { return (mask)((1u << n) - 1u); }
#endif
#else
typedef ivec mask;
INLINE mask vless(vec a, vec b) { return a < b; }
INLINE mask vequal(vec a, vec b) { return a == b; }
INLINE vec blend(mask m, vec a, vec b) { return as_real((m & as_bits(a)) | (~m & as_bits(b))); }
INLINE mask first_lanes(int64_t n) { /* n in 0..W */
    ivec lane = {0};
    for (int i = 0; i < W; i++) lane[i] = i;
    return lane < (ireal)n - (ivec){0};
}
#if defined(NN_ISA_avx2)
#ifdef NN_DOUBLE
INLINE vec fma_(vec a, vec b, vec c) { return _mm256_fmadd_pd(a, b, c); }
INLINE vec vsqrt(vec a) { return _mm256_sqrt_pd(a); }
INLINE vec vmax(vec a, vec b) { return _mm256_max_pd(a, b); }
#else
INLINE vec fma_(vec a, vec b, vec c) { return _mm256_fmadd_ps(a, b, c); }
INLINE vec vsqrt(vec a) { return _mm256_sqrt_ps(a); }
INLINE vec vmax(vec a, vec b) { return _mm256_max_ps(a, b); }
#endif
#elif defined(__aarch64__)
#ifdef NN_DOUBLE
INLINE vec fma_(vec a, vec b, vec c) { return (vec)vfmaq_f64((float64x2_t)c, (float64x2_t)a, (float64x2_t)b); }
INLINE vec vsqrt(vec a) { return (vec)vsqrtq_f64((float64x2_t)a); }
INLINE vec vmax(vec a, vec b) { return (vec)vmaxq_f64((float64x2_t)a, (float64x2_t)b); }
#else
INLINE vec fma_(vec a, vec b, vec c) { return (vec)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b); }
INLINE vec vsqrt(vec a) { return (vec)vsqrtq_f32((float32x4_t)a); }
INLINE vec vmax(vec a, vec b) { return (vec)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
#endif
#else /* x86-64-v2 has no fused multiply-add */
INLINE vec fma_(vec a, vec b, vec c) { return a * b + c; }
#ifdef NN_DOUBLE
INLINE vec vsqrt(vec a) { return _mm_sqrt_pd(a); }
INLINE vec vmax(vec a, vec b) { return _mm_max_pd(a, b); }
#else
INLINE vec vsqrt(vec a) { return _mm_sqrt_ps(a); }
INLINE vec vmax(vec a, vec b) { return _mm_max_ps(a, b); }
#endif
#endif
#endif

/* The lanes of m from p, zeros in the others; reads and writes nothing at p beyond the lanes of m. */
INLINE vec load_masked(mask m, const real *p) {
#if defined(NN_ISA_avx512) && defined(NN_DOUBLE)
    return _mm512_maskz_loadu_pd(m, p);
#elif defined(NN_ISA_avx512)
    return _mm512_maskz_loadu_ps(m, p);
#elif defined(NN_ISA_avx2) && defined(NN_DOUBLE)
    return _mm256_maskload_pd(p, (__m256i)m);
#elif defined(NN_ISA_avx2)
    return _mm256_maskload_ps(p, (__m256i)m);
#else
    vec v = {0};
    for (int i = 0; i < W; i++)
        if (m[i]) v[i] = p[i];
    return v;
#endif
}
INLINE void store_masked(mask m, real *p, vec v) {
#if defined(NN_ISA_avx512) && defined(NN_DOUBLE)
    _mm512_mask_storeu_pd(p, m, v);
#elif defined(NN_ISA_avx512)
    _mm512_mask_storeu_ps(p, m, v);
#elif defined(NN_ISA_avx2) && defined(NN_DOUBLE)
    _mm256_maskstore_pd(p, (__m256i)m, v);
#elif defined(NN_ISA_avx2)
    _mm256_maskstore_ps(p, (__m256i)m, v);
#else
    for (int i = 0; i < W; i++)
        if (m[i]) p[i] = v[i];
#endif
}

INLINE vec vabs(vec a) {
    const ivec sign = as_bits(broadcast((real)-0.0));
    return as_real(as_bits(a) & ~sign);
}
INLINE vec copy_sign(vec magnitude, vec signs) {
    const ivec sign = as_bits(broadcast((real)-0.0));
    return as_real((as_bits(magnitude) & ~sign) | (as_bits(signs) & sign));
}

/* FOLD(v, combine): v combined with itself turned by half the lanes, a quarter, ... until lane 0 has met all others. */
#define TURNED(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
#define FOLD_2(v, f) v = f(v, TURNED(v, 1, 0))
#define FOLD_4(v, f) v = f(v, TURNED(v, 2, 3, 0, 1)), v = f(v, TURNED(v, 1, 0, 3, 2))
#define FOLD_8(v, f)                                                                          \
    v = f(v, TURNED(v, 4, 5, 6, 7, 0, 1, 2, 3)), v = f(v, TURNED(v, 2, 3, 0, 1, 6, 7, 4, 5)), \
    v = f(v, TURNED(v, 1, 0, 3, 2, 5, 4, 7, 6))
#define FOLD_16(v, f)                                                          \
    v = f(v, TURNED(v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)), \
    v = f(v, TURNED(v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)), \
    v = f(v, TURNED(v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)), \
    v = f(v, TURNED(v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14))
#if NN_VECTOR_BYTES == 64 && !defined(NN_DOUBLE)
#define FOLD FOLD_16
#elif NN_VECTOR_BYTES == 64 || (NN_VECTOR_BYTES == 32 && !defined(NN_DOUBLE))
#define FOLD FOLD_8
#elif NN_VECTOR_BYTES == 32 || !defined(NN_DOUBLE)
#define FOLD FOLD_4
#else
#define FOLD FOLD_2
#endif

/* Sum and largest of the lanes, always in the same order. */
INLINE vec vadd(vec a, vec b) { return a + b; }
INLINE real lane_sum(vec v) { return FOLD(v, vadd), v[0]; }
INLINE real lane_max(vec v) { return FOLD(v, vmax), v[0]; }

/* Whether any bit of any lane is set. */
INLINE int any_bit(ivec v) {
#if defined(NN_ISA_avx512)
    return _mm512_test_epi64_mask((__m512i)v, (__m512i)v) != 0;
#elif defined(NN_ISA_avx2)
    return !_mm256_testz_si256((__m256i)v, (__m256i)v);
#elif defined(__aarch64__)
    return vmaxvq_u32((uint32x4_t)v) != 0;
#else
    return !_mm_testz_si128((__m128i)v, (__m128i)v);
#endif
}

#endif
