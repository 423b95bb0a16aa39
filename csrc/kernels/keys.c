/* keys.c: 64-bit keys of a Philox stream, a vector of blocks at a time; random.c says what a key is.
 *
 * The words of a block lie in the low halves of 64-bit lanes; the high halves hold rubbish that no multiplication sees.
 */
#include "../kernels.h"
#include "../simd.h"
#include "names.h"

enum { LANES = NN_VECTOR_BYTES / 8 };
typedef uint64_t wide __attribute__((vector_size(NN_VECTOR_BYTES)));
typedef uint64_t unaligned_wide __attribute__((vector_size(NN_VECTOR_BYTES), aligned(8), may_alias));

/* The first halves of a and b in turns: a0 b0 a1 b1 ...; the second halves */
#if NN_VECTOR_BYTES == 64
#define FIRST_HALVES(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define SECOND_HALVES(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif NN_VECTOR_BYTES == 32
#define FIRST_HALVES(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define SECOND_HALVES(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define FIRST_HALVES(a, b) __builtin_shufflevector(a, b, 0, 2)
#define SECOND_HALVES(a, b) __builtin_shufflevector(a, b, 1, 3)
#endif

/* the 64-bit products of the low halves */
INLINE wide multiply(wide a, wide b) {
#if defined(NN_ISA_avx512)
    return (wide)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(NN_ISA_avx2)
    return (wide)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#elif defined(__aarch64__)
    return (wide)vmull_u32(vmovn_u64((uint64x2_t)a), vmovn_u64((uint64x2_t)b));
#else
    return (wide)_mm_mul_epu32((__m128i)a, (__m128i)b);
#endif
}

INLINE wide all(uint64_t x) { return x - (wide){0}; }

/* Keys 2 b and 2 b + 1 of the blocks b */
INLINE void philox(wide block, uint64_t seed, uint64_t stream, uint32_t purpose, wide *even, wide *odd) {
    const wide low = all(0xffffffffu);
    wide c0 = block, c1 = block >> 32, c2 = all(stream), c3 = all(purpose | (stream >> 32) << 8);
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    UNROLL
    for (int round = 0; round < 10; round++) {
        const wide a = multiply(c0, all(0xD2511F53u)), b = multiply(c2, all(0xCD9E8D57u));
        c0 = (b >> 32) ^ c1 ^ all(k0);
        c2 = (a >> 32) ^ c3 ^ all(k1);
        c1 = b;
        c3 = a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    *even = (c0 & low) | c1 << 32;
    *odd = (c2 & low) | c3 << 32;
}

void NN_FN(keys)(const nn_keys *k, int64_t n, uint64_t *out) {
    const wide lanes = {0, 1,
#if NN_VECTOR_BYTES > 16
                        2, 3,
#endif
#if NN_VECTOR_BYTES > 32
                        4, 5, 6,
                        7
#endif
    };
    wide even, odd;
    uint64_t e[LANES], o[LANES];
    for (int64_t i = 0; i < n; i += k->indices ? LANES : 2 * LANES) {
        const int64_t wanted = n - i;
        if (k->indices) {
            wide index = {0};
            for (int j = 0; j < LANES; j++) index[j] = k->indices[i + (j < wanted ? j : wanted - 1)];
            philox(index >> 1, k->seed, k->stream, k->purpose, &even, &odd);
            const wide is_odd = -(index & 1), key = (odd & is_odd) | (even & ~is_odd);
            if (wanted >= LANES) {
                *(unaligned_wide *)(out + i) = key;
                continue;
            }
            *(unaligned_wide *)e = key;
            for (int64_t j = 0; j < wanted; j++) out[i + j] = e[j];
            continue;
        }
        philox(all((uint64_t)i / 2 + k->first / 2) + lanes, k->seed, k->stream, k->purpose, &even, &odd);
        if (wanted >= 2 * LANES) {
            *(unaligned_wide *)(out + i) = FIRST_HALVES(even, odd);
            *(unaligned_wide *)(out + i + LANES) = SECOND_HALVES(even, odd);
            continue;
        }
        *(unaligned_wide *)e = even;
        *(unaligned_wide *)o = odd;
        for (int64_t j = 0; j < wanted; j++) out[i + j] = j % 2 ? o[j / 2] : e[j / 2];
    }
}
