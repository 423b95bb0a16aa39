/* outer.c: the gradient of a layer's weights, dW[k, j] = sum_r a[r, k] d[r, j], and of its bias, sum_r d[r, j].
 *
 * A register tile of mr rows of dW by one or two vectors of columns walks down the batch; both operands are read in
 * order. Each element is one chain in the order of r, whatever the tile. (The bias: four chains, r mod 4, folded.)
 * The result lies as the weights do, so that the optimizer takes it as it comes.
 * A panel with few columns (a layer of one output, the last of 65) would leave most lanes idle. There the vectors lie
 * along the inputs and are turned at the end; each element is the same chain, so the bits are the same.
 */
#include "../kernels.h"
#include "../simd.h"
#include "names.h"
#include "tile.h"
#include "turn.h"

INLINE void outer_tile(const int mr, const int nv, const real *a, const real *d, int64_t rows, real *dst) {
    vec sum[MOST_ROWS][2];
    UNROLL
    for (int i = 0; i < mr; i++) sum[i][0] = sum[i][1] = broadcast(0);
    for (int64_t r = 0; r < rows; r++, a += NR, d += NR) {
        vec d0 = load(d), d1 = nv == 2 ? load(d + W) : d0;
        UNROLL
        for (int i = 0; i < mr; i++) {
            vec x = broadcast(a[i]);
            sum[i][0] = fma_(x, d0, sum[i][0]);
            if (nv == 2) sum[i][1] = fma_(x, d1, sum[i][1]);
        }
    }
    UNROLL
    for (int i = 0; i < mr; i++)
        for (int v = 0; v < nv; v++) store(dst + (i * nv + v) * W, sum[i][v]);
}

typedef void (*tile_kernel)(const real *a, const real *d, int64_t rows, real *dst);
#define DEFINE_TILE(mr, nv)                                                                \
    static void outer_##mr##_##nv(const real *a, const real *d, int64_t rows, real *dst) { \
        outer_tile(mr, nv, a, d, rows, dst);                                               \
    }
FOR_ROWS_TWO(DEFINE_TILE)
FOR_ROWS_ONE(DEFINE_TILE)
#define NAME_TILE(mr, nv) outer_##mr##_##nv,
static const tile_kernel two_vectors[] = {FOR_ROWS_TWO(NAME_TILE)};
static const tile_kernel one_vector[] = {FOR_ROWS_ONE(NAME_TILE)};

/* ---- few columns: the vectors lie along the inputs k */

enum { MOST_CHAINS = 8 };

/* dW[k, j] for `vectors` vectors of inputs k from k0 on, of which k_left rows are wanted */
INLINE void few_tile(const int columns, const int vectors, const real *a, int64_t a_panel, int64_t k0, const real *d,
                     int64_t rows, real *dst, int64_t k_left) {
    vec sum[MOST_CHAINS][MOST_CHAINS];
    const real *source[MOST_CHAINS];
    UNROLL
    for (int v = 0; v < vectors; v++) {
        const int64_t k = k0 + v * W;
        source[v] = a + k / NR * a_panel + k % NR;
        UNROLL
        for (int j = 0; j < columns; j++) sum[v][j] = broadcast(0);
    }
    for (int64_t r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < vectors; v++) {
            vec x = load(source[v] + r * NR);
            UNROLL
            for (int j = 0; j < columns; j++) sum[v][j] = fma_(x, broadcast(d[r * NR + j]), sum[v][j]);
        }
    }
    UNROLL
    for (int v = 0; v < vectors; v++, k_left -= W, dst += W * W) rows_of_columns(columns, sum[v], dst, W, k_left);
}

typedef void (*few_kernel)(const real *a, int64_t a_panel, int64_t k0, const real *d, int64_t rows, real *dst,
                           int64_t k_left);
#define DEFINE_FEW(columns, vectors)                                                                               \
    static void few_##columns##_##vectors(const real *a, int64_t a_panel, int64_t k0, const real *d, int64_t rows, \
                                          real *dst, int64_t k_left) {                                             \
        few_tile(columns, vectors, a, a_panel, k0, d, rows, dst, k_left);                                          \
    }
#define FOR_FEW(X) X(1, 1) X(1, 2) X(1, 4) X(1, 8) X(2, 1) X(2, 2) X(2, 4) X(3, 1) X(3, 2) X(4, 1) X(4, 2)
FOR_FEW(DEFINE_FEW)
static const few_kernel few_kernels[4][4] = {/* by columns and the logarithm of vectors */
                                             {few_1_1, few_1_2, few_1_4, few_1_8},
                                             {few_2_1, few_2_2, few_2_4, few_2_4},
                                             {few_3_1, few_3_2, few_3_2, few_3_2},
                                             {few_4_1, few_4_2, few_4_2, few_4_2}};
static const int few_most[4] = {3, 2, 1, 1}; /* so that there are MOST_CHAINS chains at most */

static void few_columns(int64_t columns, const nn_outer *o, const real *d, int64_t k0, int64_t k1, real *dst) {
    const real *a = (const real *)o->a + o->r0 * NR;
    for (int64_t k = k0; k < k1;) {
        int level = few_most[columns - 1];
        while (level && ((int64_t)1 << level) > (k1 - k + W - 1) / W) level--;
        few_kernels[columns - 1][level](a, o->a_rows * NR, k, d, o->r1 - o->r0, dst, k1 - k);
        k += (int64_t)W << level;
        dst += ((int64_t)W << level) * W;
    }
}

static void column_sums(const real *d, int64_t rows, int nv, real *dst) {
    for (int v = 0; v < nv; v++) {
        vec sum[4] = {broadcast(0), broadcast(0), broadcast(0), broadcast(0)};
        int64_t r = 0;
        for (; r + 4 <= rows; r += 4) UNROLL
        for (int i = 0; i < 4; i++) sum[i] = sum[i] + load(d + (r + i) * NR + v * W);
        for (int i = 0; r + i < rows; i++) sum[i] = sum[i] + load(d + (r + i) * NR + v * W);
        store(dst + v * W, (sum[0] + sum[1]) + (sum[2] + sum[3]));
    }
}

void NN_FN(outer)(const nn_outer *o, int64_t panel, int64_t k0, int64_t k1, void *dst_) {
    const int nv = o->n - panel * NR > W ? 2 : 1;
    const tile_kernel *kernels = nv == 2 ? two_vectors : one_vector;
    const int64_t most = nv == 2 ? MOST_ROWS_TWO : MOST_ROWS_ONE, rows = o->r1 - o->r0;
    const real *d = (const real *)o->d + (panel * o->d_rows + o->r0) * NR;
    real *dst = dst_;
    const int64_t weights_end = k1 < o->k ? k1 : o->k;
    if (FEW > 0 && o->n - panel * NR <= FEW && k0 % W == 0) {
        if (weights_end > k0) few_columns(o->n - panel * NR, o, d, k0, weights_end, dst);
        if (k1 > o->k) column_sums(d, rows, nv, dst + (o->k - k0) * W);
        return;
    }
    for (int64_t k = k0; k < weights_end;) { /* a panel of inputs at a time */
        const int64_t in_panel = k % NR;
        int64_t end = k - in_panel + NR;
        if (end > weights_end) end = weights_end;
        const real *a = (const real *)o->a + ((k / NR) * o->a_rows + o->r0) * NR + in_panel;
        for (int64_t tiles = (end - k + most - 1) / most; tiles; tiles--) {
            const int64_t mr = (end - k + tiles - 1) / tiles;
            kernels[mr - 1](a, d, rows, dst);
            k += mr;
            a += mr;
            dst += mr * nv * W;
        }
    }
    if (k1 > o->k) column_sums(d, rows, nv, dst);
}

void NN_FN(sum_parts)(int64_t n, int64_t parts, int64_t stride, const void *src_, void *dst_) {
    const real *src = src_;
    real *dst = dst_;
    for (int64_t i = 0; i < n; i += W) { /* n is a multiple of W: parameter buffers are whole vectors */
        vec sum = load(src + i);
        for (int64_t p = 1; p < parts; p++) sum = sum + load(src + p * stride + i);
        store(dst + i, sum);
    }
}
