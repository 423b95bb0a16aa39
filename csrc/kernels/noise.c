/* noise.c: out = x + scale z, z standard normal, by the transform of Box and Muller (1958) of the words of a Philox stream.
 *
 * Columns go in groups of 32, and so do the words: of row r and group g they begin at first + r * stride + 32 g. With
 * u = (word j + 1/2) / 2^32 and v = (word 16 + j) / 2^32, column j of the group gets sqrt(-2 log u) cos(2 pi v), column
 * 16 + j the sine. Word 16 + j, an integer, is reduced to less than an eighth of a turn without an error; 1 - u comes from
 * the word's complement, so that log u is right near u = 1 too. `streams.normal_columns` says the same in NumPy.
 */
#include "../kernels.h"
#include "../simd_math.h"
#include "names.h"

enum { GROUP = 32, HALF = GROUP / 2, GROUPS = 4 }; /* groups whose words are drawn at a time */

#ifdef NN_DOUBLE
#define SIGN_SHIFT 62 /* from bit 1 to the sign */
#else
#define SIGN_SHIFT 30
#endif

INLINE uvec load_words(const uint32_t *words) {
    uvec v = {0};
#ifdef NN_DOUBLE
    for (int i = 0; i < W; i++) v[i] = words[i];
#else
    memcpy(&v, words, sizeof v);
#endif
    return v;
}

/* (word + 1/2) / 2^32, rounded once */
INLINE vec fraction(uvec word) {
#ifdef NN_DOUBLE
    const ivec exponent = as_bits(broadcast(0x1p52));
    return (as_real((ivec)word | exponent) - broadcast(0x1p52) + broadcast(0.5)) * broadcast(0x1p-32);
#else
    const vec high = __builtin_convertvector((ivec)(word >> 16), vec),
              low = __builtin_convertvector((ivec)(word & 0xffff), vec);
    return fma_(high, broadcast(0x1p-16f), (low + broadcast(0.5f)) * broadcast(0x1p-32f));
#endif
}

/* A difference of words, between -2^29 and 2^29, in right angles */
INLINE vec right_angles(uvec difference) {
#ifdef NN_DOUBLE
    const vec rounder = broadcast(ROUNDER);
    return (as_real(bits_plus(as_bits(rounder), (ivec)difference)) - rounder) * broadcast(0x1p-30);
#else
    return __builtin_convertvector((ivec)difference, vec) * broadcast(0x1p-30f);
#endif
}

INLINE vec flipped(vec x, uvec bit_1) { return as_real(as_bits(x) ^ (ivec)((bit_1 & 2) << SIGN_SHIFT)); }
INLINE vec choose(uvec all_bits, vec a, vec b) {
    return as_real((as_bits(a) & (ivec)all_bits) | (as_bits(b) & (ivec)~all_bits));
}

/* W pairs of normal numbers times `scale` */
INLINE void normal(const uint32_t *words, vec scale, vec *a, vec *b) {
    const uvec first = load_words(words), second = load_words(words + HALF);
    const uvec complement = ~first & (ureal)0xffffffff;
    const vec log_u = vlog_below_1(fraction(first), fraction(complement));
    const vec radius = vsqrt(broadcast(-2) * log_u) * scale;
    const uvec quarter = (second + (1u << 29)) >> 30; /* the nearest multiple of a right angle */
    const vec x = right_angles(second - (quarter << 30));
    const vec sine = vsine(x), cosine = vcosine(x);
    const uvec odd = -(quarter & 1);
    *a = radius * flipped(choose(odd, sine, cosine), quarter + 1);
    *b = radius * flipped(choose(odd, cosine, sine), quarter);
}

void NN_FN(noise)(const nn_dropout *a, int64_t r0, int64_t r1) {
    nn_keys keys = a->keys;
    const vec scale = broadcast((real)a->scale);
    union {
        uint64_t keys[GROUPS * GROUP / 2];
        uint32_t words[GROUPS * GROUP];
    } drawn;
    real z[GROUPS * GROUP] = {0}; /* once a call; gcc's analyser does not see that scale stays what it is */
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < a->n; j += GROUPS * GROUP) {
            const int64_t here = a->n - j < GROUPS * GROUP ? a->n - j : GROUPS * GROUP;
            const int64_t groups = (here + GROUP - 1) / GROUP;
            if (a->scale != 0) {
                keys.first = ((uint64_t)(a->first + r) * (uint64_t)a->stride + (uint64_t)j) / 2;
                NN_FN(keys)(&keys, groups * GROUP / 2, drawn.keys);
                for (int64_t g = 0; g < groups * GROUP; g += GROUP)
                    for (int i = 0; i < HALF; i += W) {
                        vec first, second;
                        normal(drawn.words + g + i, scale, &first, &second);
                        store(z + g + i, first);
                        store(z + g + HALF + i, second);
                    }
            }
            for (int64_t i = 0; i < here; i += W) {
                const int64_t v = (j + i) / W, at = (v % 2) * W;
                const vec x = load((const real *)a->x + ((v / 2) * a->x_rows + r) * NR + at);
                store((real *)a->out + ((v / 2) * a->out_rows + r) * NR + at, a->scale != 0 ? x + load(z + i) : x);
            }
        }
    if (a->activation == NN_IDENTITY || r0 == r1) return;
    for (int64_t j = 0; j < a->n; j += NR)
        NN_FN(scale_by_derivative)(a->activation, a->alpha, r1 - r0, a->n - j > W ? NR : W, NR,
                                   (const real *)a->outputs + (j / NR * a->outputs_rows + r0) * NR,
                                   (real *)a->out + (j / NR * a->out_rows + r0) * NR);
}
