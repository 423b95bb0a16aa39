/* product.c: the two products that go row by row through a layer.
 *
 * forward:   out[r, j] = f(bias[j] + sum_k a[r, k] w[k, j]), and where it is wanted slopes[r, j] = f' of the same
 * backward:  out[r, j] = f'(by outputs[r, j]) * sum_k d[r, k] wt[k, j]
 *
 * The micro-kernel keeps a tile of mr rows by one or two vectors of columns in registers and walks k: two loads of w,
 * mr broadcasts of a, 2 mr multiply-adds. Each element is one chain of multiply-adds in the order of k whatever the tile,
 * so edge tiles and main tiles round alike and the split of rows over threads does not show in the result.
 */
#include "../kernels.h"
#include "../prefetch.h"
#include "../simd.h"
#include "names.h"
#include "tile.h"

typedef struct tile {
    const real *a;   /* first row of the tile in panel 0 */
    int64_t a_panel; /* reals from panel to panel */
    int64_t k;
    const real *w;    /* first row of the panel */
    const real *bias; /* NULL: start from zero */
    real *out;
    const real *outputs; /* backward only */
    real *slopes;        /* forward, where they are wanted */
    int activation;
    double alpha;
} tile;

/* The tile's sums through the activation, or times its derivative, into `out` */
INLINE void finish(const int mr, const int nv, const tile *t, vec sum[][2]) {
    real *out = t->out;
    const real *outputs = t->outputs;
    const int activation = t->activation;
    if (!outputs && activation == NN_RELU) {
        UNROLL
        for (int i = 0; i < mr; i++)
            for (int v = 0; v < nv; v++) /* NaN is not less than 0 and stays */
                store(out + i * NR + v * W, blend(vless(sum[i][v], broadcast(0)), broadcast(0), sum[i][v]));
    } else if (outputs && activation == NN_RELU) {
        UNROLL
        for (int i = 0; i < mr; i++)
            for (int v = 0; v < nv; v++)
                store(out + i * NR + v * W,
                      blend(vless(broadcast(0), load(outputs + i * NR + v * W)), sum[i][v], broadcast(0)));
    } else {
        UNROLL
        for (int i = 0; i < mr; i++)
            for (int v = 0; v < nv; v++) store(out + i * NR + v * W, sum[i][v]);
        if (activation == NN_IDENTITY) return;
        /* what the other activations need is done over the stored tile, which is in L1 */
        if (outputs)
            NN_FN(scale_by_derivative)(activation, t->alpha, mr, nv * W, NR, outputs, out);
        else if (t->slopes)
            NN_FN(activate_keeping)(activation, t->alpha, mr, nv * W, NR, out, t->slopes);
        else
            NN_FN(activate)(activation, t->alpha, mr, nv * W, NR, out);
    }
}

INLINE void product_tile(const int mr, const int nv, const tile *t) {
    vec sum[MOST_ROWS][2];
    UNROLL
    for (int i = 0; i < mr; i++)
        for (int v = 0; v < nv; v++) nn_prefetch_to_write(t->out + i * NR + v * W);
    for (int v = 0; v < nv; v++) {
        vec start = t->bias ? load(t->bias + v * W) : broadcast(0);
        UNROLL
        for (int i = 0; i < mr; i++) sum[i][v] = start;
    }
    const real *a = t->a, *w = t->w;
    for (int64_t left = t->k; left > 0; left -= NR, a += t->a_panel) {
        const int64_t columns = left < NR ? left : NR;
        for (int64_t k = 0; k < columns; k++, w += nv * W) {
            vec w0 = load(w), w1 = nv == 2 ? load(w + W) : w0;
            UNROLL
            for (int i = 0; i < mr; i++) {
                vec x = broadcast(a[i * NR + k]);
                sum[i][0] = fma_(x, w0, sum[i][0]);
                if (nv == 2) sum[i][1] = fma_(x, w1, sum[i][1]);
            }
        }
    }
    finish(mr, nv, t, sum);
}

typedef void (*tile_kernel)(const tile *);
#define DEFINE_TILE(mr, nv) \
    static void product_##mr##_##nv(const tile *t) { product_tile(mr, nv, t); }
FOR_ROWS_TWO(DEFINE_TILE)
FOR_ROWS_ONE(DEFINE_TILE)
#define NAME_TILE(mr, nv) product_##mr##_##nv,
static const tile_kernel two_vectors[] = {FOR_ROWS_TWO(NAME_TILE)};
static const tile_kernel one_vector[] = {FOR_ROWS_ONE(NAME_TILE)};

/* One row alone has too few chains to keep the multipliers busy: it takes several panels, all 2 W wide, at a time. */
enum { ROW_PANELS = NN_REGISTERS == 32 ? 4 : 3 };

INLINE void product_row(const int panels, const tile *t, int64_t w_panel, int64_t out_panel) {
    vec sum[ROW_PANELS][1][2];
    UNROLL
    for (int p = 0; p < panels; p++)
        for (int v = 0; v < 2; v++) sum[p][0][v] = t->bias ? load(t->bias + p * w_panel + v * W) : broadcast(0);
    const real *a = t->a, *w = t->w;
    for (int64_t left = t->k; left > 0; left -= NR, a += t->a_panel) {
        const int64_t columns = left < NR ? left : NR;
        for (int64_t k = 0; k < columns; k++, w += NR) {
            vec x = broadcast(a[k]);
            UNROLL
            for (int p = 0; p < panels; p++)
                for (int v = 0; v < 2; v++) sum[p][0][v] = fma_(x, load(w + p * w_panel + v * W), sum[p][0][v]);
        }
    }
    tile panel = *t;
    UNROLL
    for (int p = 0; p < panels; p++) {
        finish(1, 2, &panel, sum[p]);
        panel.out += out_panel;
        if (panel.outputs) panel.outputs += out_panel;
        if (panel.slopes) panel.slopes += out_panel;
    }
}

static void product_row_2(const tile *t, int64_t w_panel, int64_t out_panel) { product_row(2, t, w_panel, out_panel); }
static void product_row_most(const tile *t, int64_t w_panel, int64_t out_panel) {
    product_row(ROW_PANELS, t, w_panel, out_panel);
}

/* Whether f takes so long that turning a block of numbers is worth it where most lanes would be idle */
static int takes_long(int activation) {
    switch (activation) {
    case NN_IDENTITY:
    case NN_STEP:
    case NN_RELU:
    case NN_LEAKY_RELU:
    case NN_HARD_SIGMOID:
    case NN_HARD_TANH:
    case NN_HARD_SILU: return 0;
    default: return 1;
    }
}

static void product(const nn_product *p, int64_t r0, int64_t r1, int has_bias, const real *outputs) {
    tile t = {.a_panel = p->a_rows * NR, .k = p->k, .activation = p->activation, .alpha = p->alpha};
    for (int64_t j = 0; j < p->n;) {
        const int nv = p->n - j > W ? 2 : 1;
        const tile_kernel *kernels = nv == 2 ? two_vectors : one_vector;
        t.w = (const real *)p->w + j * p->w_rows; /* all panels before this one are NR wide */
        t.bias = has_bias ? t.w + p->k * nv * W : NULL;
        real *out = (real *)p->out + j * p->out_rows;
        const real *below = outputs ? outputs + j * p->out_rows : NULL;
        real *slopes = p->slopes ? (real *)p->slopes + j * p->out_rows : NULL;
        const int64_t whole = (p->n - j - W + NR - 1) / NR; /* panels from here on that are 2 W wide */
        const int row_panels = r1 - r0 > 1 || whole < 2 ? 1 : whole < ROW_PANELS ? 2 : ROW_PANELS;
        const int64_t most = nv == 2 ? MOST_ROWS_TWO : MOST_ROWS_ONE;
        const int few = !outputs && !slopes && FEW > 0 && p->n - j <= FEW && r1 - r0 >= W && takes_long(p->activation);
        t.activation = few ? NN_IDENTITY : p->activation;
        for (int64_t r = r0, tiles = (r1 - r0 + most - 1) / most; tiles; tiles--) {
            const int64_t mr = (r1 - r + tiles - 1) / tiles; /* even tiles rather than a thin last one */
            t.a = (const real *)p->a + r * NR;
            t.out = out + r * NR;
            t.outputs = below ? below + r * NR : NULL;
            t.slopes = slopes ? slopes + r * NR : NULL;
            if (row_panels == 1)
                kernels[mr - 1](&t);
            else
                (row_panels == 2 ? product_row_2 : product_row_most)(&t, p->w_rows * NR, p->out_rows * NR);
            r += mr;
        }
        if (few) NN_FN(activate_few)(p->activation, p->alpha, r1 - r0, p->n - j, out + r0 * NR);
        j += row_panels * NR;
    }
}

void NN_FN(forward)(const nn_product *p, int64_t r0, int64_t r1) { product(p, r0, r1, 1, NULL); }
void NN_FN(backward)(const nn_product *p, int64_t r0, int64_t r1) { product(p, r0, r1, 0, p->outputs); }

/* As many independent chains as hide the latency of a multiply-add, nothing but registers: the limit of this core. */
double NN_FN(fma_peak)(int64_t rounds) {
    vec sum[12], x = broadcast((real)0.999), y = broadcast((real)1e-3);
    UNROLL
    for (int i = 0; i < 12; i++) sum[i] = broadcast((real)i);
    for (int64_t r = 0; r < rounds; r++) {
        UNROLL
        for (int i = 0; i < 12; i++) sum[i] = fma_(sum[i], x, y);
    }
    vec total = broadcast(0);
    for (int i = 0; i < 12; i++) total = total + sum[i];
    return lane_sum(total) < 0 ? 0.0 : (double)rounds * (12 * W * 2); /* uses the sums, or they would not be computed */
}
