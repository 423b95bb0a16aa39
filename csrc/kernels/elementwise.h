/* elementwise.h: loops over rows of numbers, and what activation.c leaves to activation_more.c. */
#ifndef NN_ELEMENTWISE_H
#define NN_ELEMENTWISE_H

/* Applies one expression to `rows` rows of n numbers at x, `stride` from row to row: to whole vectors, then to the last,
 * partial one. Rows that touch are one. */
#define OVER(expression)                                  \
    do {                                                  \
        if (n == stride) n *= rows, rows = 1;             \
        for (int64_t r = 0; r < rows; r++, x += stride) { \
            int64_t i = 0;                                \
            for (; i + W <= n; i += W) {                  \
                vec v = load(x + i);                      \
                store(x + i, (expression));               \
            }                                             \
            if (i < n) {                                  \
                const mask lanes = first_lanes(n - i);    \
                vec v = load_masked(lanes, x + i);        \
                store_masked(lanes, x + i, (expression)); \
            }                                             \
        }                                                 \
    } while (0)

/* u: the outputs, or the slopes where those are kept; v: what is scaled */
#define OVER2(expression)                                                         \
    do {                                                                          \
        if (n == stride) n *= rows, rows = 1;                                     \
        for (int64_t r = 0; r < rows; r++, a += stride, d += stride) {            \
            int64_t i = 0;                                                        \
            for (; i + W <= n; i += W) {                                          \
                vec u = load(a + i), v = load(d + i);                             \
                store(d + i, (expression));                                       \
            }                                                                     \
            if (i < n) {                                                          \
                const mask lanes = first_lanes(n - i);                            \
                vec u = load_masked(lanes, a + i), v = load_masked(lanes, d + i); \
                store_masked(lanes, d + i, (expression));                         \
            }                                                                     \
        }                                                                         \
    } while (0)

/* The kernels activate and scale_by_derivative for the activations that activation.c does not have */
void NN_FN(activate_more)(int activation, double alpha, int64_t rows, int64_t n, int64_t stride, void *z);
void NN_FN(scale_by_derivative_more)(int activation, double alpha, int64_t rows, int64_t n, int64_t stride,
                                     const void *a, void *d);

#endif
