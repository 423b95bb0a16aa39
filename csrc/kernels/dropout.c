/* dropout.c: out = x m / (1 - p), m being 0 with probability p and else 1 (Srivastava et al. 2014, scaled while training).
 *
 * m comes from the words of a Philox stream (random.c): a number of row r and column j is kept where word
 * first + r * stride + j is not below p 2^32. Forward and backward draw the same words rather than keep them.
 */
#include "../kernels.h"
#include "../simd.h"
#include "names.h"

enum { WORDS = 64 }; /* drawn at a time */

void NN_FN(dropout)(const nn_dropout *a, int64_t r0, int64_t r1) {
    nn_keys keys = a->keys;
    const vec scale = broadcast((real)a->scale), zero = broadcast(0);
    const uint32_t threshold = a->threshold;
    union {
        uint64_t keys[WORDS / 2];
        uint32_t words[WORDS];
    } drawn;
    real kept[WORDS];
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < a->n; j += WORDS) {
            const int64_t here = a->n - j < WORDS ? a->n - j : WORDS;
            keys.first = ((uint64_t)(a->first + r) * (uint64_t)a->stride + (uint64_t)j) / 2;
            NN_FN(keys)(&keys, (here + 1) / 2, drawn.keys);
            for (int64_t i = 0; i < WORDS; i++) kept[i] = drawn.words[i] < threshold ? (real)0 : (real)1;
            for (int64_t i = 0; i < here; i += W) {
                const int64_t v = (j + i) / W;
                const int64_t at = (v % 2) * W;
                const vec x = load((const real *)a->x + ((v / 2) * a->x_rows + r) * NR + at);
                store((real *)a->out + ((v / 2) * a->out_rows + r) * NR + at,
                      blend(vless(zero, load(kept + i)), x * scale, zero));
            }
        }
    if (a->activation == NN_IDENTITY || r0 == r1) return;
    for (int64_t j = 0; j < a->n; j += NR)
        NN_FN(scale_by_derivative)(a->activation, a->alpha, r1 - r0, a->n - j > W ? NR : W, NR,
                                   (const real *)a->outputs + (j / NR * a->outputs_rows + r0) * NR,
                                   (real *)a->out + (j / NR * a->out_rows + r0) * NR);
}
