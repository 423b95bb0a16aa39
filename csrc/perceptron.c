/* perceptron.c: epochs of one binary perceptron, in single or double precision; the rule is in perceptron.h. */
#include <math.h>
#include <stddef.h>

#include "nncore.h"

#define real float
#define FN(name) name##_f32
#include "perceptron.h"
#undef real
#undef FN

#define real double
#define FN(name) name##_f64
#include "perceptron.h"
#undef real
#undef FN

/* Marsaglia's xorshift with 13, 17, 5, of 31 bits, as scikit-learn draws */
static uint32_t draw(uint32_t *state) {
    if (*state == 0) *state = 1;
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state % 2147483648u;
}

/* Fisher and Yates, from the same seed each time on the order that it left */
static void shuffle(nn_perceptron *c) {
    uint32_t state = c->seed;
    for (int64_t i = 0; i < c->n - 1; i++) {
        const int64_t j = i + (int64_t)(draw(&state) % (uint32_t)(c->n - i));
        const int32_t kept = c->order[i];
        c->order[i] = c->order[j];
        c->order[j] = kept;
    }
}

double nn_perceptron_epoch(nn_perceptron *c, nn_dtype dtype) {
    if (c->shuffle) shuffle(c);
    return dtype == NN_F32 ? epoch_f32(c) : epoch_f64(c);
}
