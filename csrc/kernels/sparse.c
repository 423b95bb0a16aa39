/* sparse.c: a dense layer whose inputs are sparse rows, by what is stored of them; the core's sparse.c says how they come.
 *
 * forward:   out[r, :] = f(bias + sum over the row's entries of x w[column, :])
 * gradient:  dw[k, :] = sum over the entries with column k of x d[row, :]
 *
 * Both are chains of multiply-adds in the order of the entries; with sorted columns these are the dense kernels' chains
 * without their zeros, which change no bit.
 */
#include "../kernels.h"
#include "../simd.h"
#include "names.h"

/* ---- gather */

INLINE int64_t index_at(const void *indices, int wide, int64_t i) {
    return wide ? ((const int64_t *)indices)[i] : (int64_t)((const int32_t *)indices)[i];
}

INLINE void copy_columns(const void *columns, const int wide, int64_t from, int64_t n, int64_t limit, int32_t *to,
                         real *values) {
    int64_t outside = 0;
    for (int64_t i = 0; i < n; i++) {
        const int64_t k = index_at(columns, wide, from + i);
        const int inside = k >= 0 && k < limit;
        to[i] = inside ? (int32_t)k : 0;
        outside += !inside;
    }
    for (int64_t i = 0; outside && i < n; i++) {
        const int64_t k = index_at(columns, wide, from + i);
        if (k < 0 || k >= limit) values[i] = 0;
    }
}

int64_t NN_FN(sparse_gather)(const nn_sparse_gather *g, int64_t r0, int64_t r1) {
    const nn_csr *x = g->x;
    for (int64_t r = r0; r < r1; r++) {
        const int64_t row = g->order ? (int64_t)g->order[g->first + r] : g->first + r;
        const int64_t at = g->to.begin[r], n = g->to.end[r] - at, from = index_at(x->starts, x->wide, row);
        int32_t *columns = g->to.columns + at, *rows = g->to.rows + at;
        real *values = (real *)g->to.values + at;
        for (int64_t i = 0; i < n; i++) rows[i] = (int32_t)r;
        if (from < 0 || from > x->stored - n) {
            memset(columns, 0, (size_t)n * sizeof *columns);
            memset(values, 0, (size_t)n * sizeof *values);
            continue;
        }
        memcpy(values, (const real *)x->values + from, (size_t)n * sizeof *values);
        if (x->wide)
            copy_columns(x->columns, 1, from, n, g->n, columns, values);
        else
            copy_columns(x->columns, 0, from, n, g->n, columns, values);
        if (!NN_FN(finite)(n, values)) return r;
    }
    return -1;
}

/* ---- forward */

enum { AHEAD = 6 };       /* entries whose weights are asked for early: they lie anywhere */
enum { MOST_PANELS = 4 }; /* panels 2 W wide that are summed together */

/* Rows [r0, r1) of `panels` panels with nv vectors each */
INLINE void sum_panels(const int panels, const int nv, const nn_entries *x, const real *w, int64_t w_panel,
                       const real *bias, real *out, int64_t out_panel, int64_t r0, int64_t r1) {
    const int64_t stop = x->end[r1 - 1];
    for (int64_t r = r0; r < r1; r++) {
        vec sum[MOST_PANELS][2];
        UNROLL
        for (int p = 0; p < panels; p++)
            for (int v = 0; v < nv; v++) sum[p][v] = load(bias + p * w_panel + v * W);
        for (int64_t e = x->begin[r]; e < x->end[r]; e++) {
            if (e + AHEAD < stop) {
                const real *next = w + (int64_t)x->columns[e + AHEAD] * nv * W;
                UNROLL
                for (int p = 0; p < panels; p++)
                    for (int v = 0; v < nv; v++) __builtin_prefetch(next + p * w_panel + v * W);
            }
            const real *row = w + (int64_t)x->columns[e] * nv * W;
            const vec value = broadcast(((const real *)x->values)[e]);
            UNROLL
            for (int p = 0; p < panels; p++)
                for (int v = 0; v < nv; v++) sum[p][v] = fma_(value, load(row + p * w_panel + v * W), sum[p][v]);
        }
        UNROLL
        for (int p = 0; p < panels; p++)
            for (int v = 0; v < nv; v++) store(out + p * out_panel + r * NR + v * W, sum[p][v]);
    }
}

void NN_FN(sparse_forward)(const nn_product *p, const nn_entries *x, int64_t r0, int64_t r1) {
    if (r0 == r1) return;
    for (int64_t j = 0; j < p->n;) {
        const int64_t whole = (p->n - j - W + NR - 1) / NR; /* panels from here on that are 2 W wide */
        const real *w = (const real *)p->w + j * p->w_rows; /* all panels before this one are NR wide */
        const int64_t w_panel = p->w_rows * NR, out_panel = p->out_rows * NR;
        real *out = (real *)p->out + j * p->out_rows;
        int panels = 1, nv = 2;
        if (whole >= MOST_PANELS) {
            panels = MOST_PANELS;
            sum_panels(MOST_PANELS, 2, x, w, w_panel, w + p->k * NR, out, out_panel, r0, r1);
        } else if (whole >= 2) {
            panels = 2;
            sum_panels(2, 2, x, w, w_panel, w + p->k * NR, out, out_panel, r0, r1);
        } else if (whole == 1) {
            sum_panels(1, 2, x, w, 0, w + p->k * NR, out, 0, r0, r1);
        } else {
            nv = 1;
            sum_panels(1, 1, x, w, 0, w + p->k * W, out, 0, r0, r1);
        }
        for (int i = 0; i < panels && p->activation != NN_IDENTITY; i++) {
            real *z = out + i * out_panel + r0 * NR;
            if (p->slopes)
                NN_FN(activate_keeping)(p->activation, p->alpha, r1 - r0, nv * W, NR, z,
                                        (real *)p->slopes + (j + i * NR) * p->out_rows + r0 * NR);
            else
                NN_FN(activate)(p->activation, p->alpha, r1 - r0, nv * W, NR, z);
        }
        j += panels * NR;
    }
}

/* ---- gradient */

INLINE void add_entries(const int nv, const nn_entries *x, int64_t e0, int64_t e1, const real *d, int64_t k0,
                        int64_t k1, real *dst) {
    for (int64_t e = e0; e < e1; e++) {
        const int64_t k = x->columns[e];
        if (k < k0 || k >= k1) continue;
        const real *delta = d + (int64_t)x->rows[e] * NR;
        real *to = dst + (k - k0) * nv * W;
        const vec value = broadcast(((const real *)x->values)[e]);
        UNROLL
        for (int v = 0; v < nv; v++) store(to + v * W, fma_(value, load(delta + v * W), load(to + v * W)));
    }
}

void NN_FN(sparse_outer)(const nn_outer *o, const nn_entries *x, int64_t e0, int64_t e1, int64_t panel, int64_t k0,
                         int64_t k1, void *dst) {
    const real *d = (const real *)o->d + panel * o->d_rows * NR;
    if (o->n - panel * NR > W)
        add_entries(2, x, e0, e1, d, k0, k1, dst);
    else
        add_entries(1, x, e0, e1, d, k0, k1, dst);
}
