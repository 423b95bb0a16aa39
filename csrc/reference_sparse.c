/* reference_sparse.c: the naive kernels of sparse inputs; see reference.c. */
#include "reference.h"

static int64_t index_at(const void *indices, int wide, int64_t i) {
    return wide ? ((const int64_t *)indices)[i] : ((const int32_t *)indices)[i];
}

int64_t REFERENCE(sparse_gather)(const nn_sparse_gather *g, int64_t r0, int64_t r1) {
    const nn_csr *x = g->x;
    int64_t bad = -1;
    for (int64_t r = r0; r < r1 && bad < 0; r++) {
        const int64_t row = g->order ? (int64_t)g->order[g->first + r] : g->first + r;
        const int64_t from = index_at(x->starts, x->wide, row), n = g->to.end[r] - g->to.begin[r];
        for (int64_t i = 0; i < n; i++) {
            const int64_t at = g->to.begin[r] + i, there = from >= 0 && from <= x->stored - n;
            const int64_t k = there ? index_at(x->columns, x->wide, from + i) : -1;
            const int inside = k >= 0 && k < g->n;
            const real value = inside ? ((const real *)x->values)[from + i] : 0;
            g->to.rows[at] = (int32_t)r;
            g->to.columns[at] = inside ? (int32_t)k : 0;
            ((real *)g->to.values)[at] = value;
            if (!isfinite(value)) bad = r;
        }
    }
    return bad;
}

void REFERENCE(sparse_forward)(const nn_product *p, const nn_entries *x, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < p->n; j++) {
            const int64_t here = in_panels(r, j, p->out_rows, p->width);
            wide z = ((const real *)p->w)[in_weights(p->k, j, p->w_rows, p->n, p->width)];
            for (int64_t e = x->begin[r]; e < x->end[r]; e++)
                z += (wide)((const real *)x->values)[e] *
                     (wide)((const real *)p->w)[in_weights(x->columns[e], j, p->w_rows, p->n, p->width)];
            ((real *)p->out)[here] = (real)apply(p->activation, p->alpha, z);
            if (p->slopes) ((real *)p->slopes)[here] = (real)slope_at(p->activation, z);
        }
}

void REFERENCE(sparse_outer)(const nn_outer *o, const nn_entries *x, int64_t e0, int64_t e1, int64_t panel, int64_t k0,
                             int64_t k1, void *dst) {
    const int64_t start = panel * 2 * o->width, stored = panel_width(start, o->n, o->width);
    for (int64_t k = k0; k < k1; k++)
        for (int64_t j = start; j < start + stored && j < o->n; j++) {
            real *to = (real *)dst + (k - k0) * stored + j - start;
            wide sum = *to;
            for (int64_t e = e0; e < e1; e++)
                if (x->columns[e] == k)
                    sum += (wide)((const real *)x->values)[e] *
                           (wide)((const real *)o->d)[in_panels(x->rows[e], j, o->d_rows, o->width)];
            *to = (real)sum;
        }
}
