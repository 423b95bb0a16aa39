/* tile.h: how many rows a register tile may have, for one and for two vectors of columns; lists that instantiate them. */
#ifndef NN_TILE_H
#define NN_TILE_H

#if NN_REGISTERS == 32
enum { MOST_ROWS_TWO = 14, MOST_ROWS_ONE = 14, MOST_ROWS = 14 };
#define FOR_ROWS_TWO(X) \
    X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2) X(7, 2) X(8, 2) X(9, 2) X(10, 2) X(11, 2) X(12, 2) X(13, 2) X(14, 2)
#define FOR_ROWS_ONE(X) \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(9, 1) X(10, 1) X(11, 1) X(12, 1) X(13, 1) X(14, 1)
#else
enum { MOST_ROWS_TWO = 6, MOST_ROWS_ONE = 12, MOST_ROWS = 12 };
#define FOR_ROWS_TWO(X) X(1, 2) X(2, 2) X(3, 2) X(4, 2) X(5, 2) X(6, 2)
#define FOR_ROWS_ONE(X) \
    X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1) X(9, 1) X(10, 1) X(11, 1) X(12, 1)
#endif

enum { FEW = W / 4 }; /* columns of a last panel for which vectors lie better along the other side */

/* f(z) in place for `rows` rows of a panel of which only the first `columns` <= FEW numbers count           activation.c */
void NN_FN(activate_few)(int activation, double alpha, int64_t rows, int64_t columns, real *z);

#endif
