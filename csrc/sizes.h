/* sizes.h: products and sums of sizes that cannot overflow unseen. What does not fit is NN_TOO_LARGE and stays so through
 * further steps; nn_buffer has nothing of that size. */
#ifndef NN_SIZES_H
#define NN_SIZES_H

#include <stddef.h>
#include <stdint.h>

#define NN_TOO_LARGE SIZE_MAX

static inline size_t nn_plus(size_t a, size_t b) {
    size_t sum;
    return __builtin_add_overflow(a, b, &sum) ? NN_TOO_LARGE : sum;
}
static inline size_t nn_times(size_t a, size_t b) {
    size_t product;
    if (a == NN_TOO_LARGE || b == NN_TOO_LARGE || __builtin_mul_overflow(a, b, &product)) return NN_TOO_LARGE;
    return product;
}
static inline size_t nn_times3(size_t a, size_t b, size_t c) { return nn_times(nn_times(a, b), c); }
/* The next multiple of a power of two */
static inline size_t nn_round_up(size_t n, size_t unit) {
    const size_t more = nn_plus(n, unit - 1);
    return more == NN_TOO_LARGE ? NN_TOO_LARGE : more / unit * unit;
}

#endif
