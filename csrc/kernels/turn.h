/* turn.h: W x W blocks of numbers turned in registers, rows to columns or back.
 *
 * log2(W) rounds, each interleaving vector i with vector i + W / 2. Where only the first few columns are wanted, or only
 * the first few are not zero, the compiler leaves out what they do not need.
 */
#ifndef NN_TURN_H
#define NN_TURN_H

#if NN_VECTOR_BYTES == 64 && !defined(NN_DOUBLE)
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define INTERLEAVE_HIGH(a, b) \
    __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif (NN_VECTOR_BYTES == 64) || (NN_VECTOR_BYTES == 32 && !defined(NN_DOUBLE))
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#elif (NN_VECTOR_BYTES == 32) || !defined(NN_DOUBLE)
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#else
#define INTERLEAVE_LOW(a, b) __builtin_shufflevector(a, b, 0, 2)
#define INTERLEAVE_HIGH(a, b) __builtin_shufflevector(a, b, 1, 3)
#endif

/* x[i] lane j becomes x[j] lane i */
INLINE void turn(vec x[W]) {
    vec y[W];
    UNROLL
    for (int round = W; round > 1; round /= 2) {
        UNROLL
        for (int i = 0; i < W / 2; i++) {
            y[2 * i] = INTERLEAVE_LOW(x[i], x[i + W / 2]);
            y[2 * i + 1] = INTERLEAVE_HIGH(x[i], x[i + W / 2]);
        }
        UNROLL
        for (int i = 0; i < W; i++) x[i] = y[i];
    }
}

/* The first `columns` columns of up to W rows that lie 2 W apart, a vector each; missing rows repeat the last. */
INLINE void columns_of_rows(const int columns, const real *rows_, int64_t rows, vec *c) {
    vec x[W];
    UNROLL
    for (int i = 0; i < W; i++) x[i] = load(rows_ + (i < rows ? i : rows - 1) * NR);
    turn(x);
    UNROLL
    for (int j = 0; j < columns; j++) c[j] = x[j];
}

/* And back, `stride` apart; the other columns of the rows' first vector become zero, missing rows are not written. */
INLINE void rows_of_columns(const int columns, const vec *c, real *rows_, int64_t stride, int64_t rows) {
    vec x[W];
    UNROLL
    for (int j = 0; j < W; j++) x[j] = j < columns ? c[j] : broadcast(0);
    turn(x);
    UNROLL
    for (int i = 0; i < W; i++)
        if (i < rows) store(rows_ + i * stride, x[i]);
}

#endif
