/* gather.c: rows of the caller's arrays into panels and back, looking for NaN and infinity on the way. */
#include "../kernels.h"
#include "../simd.h"
#include "names.h"

/* No bit is set for a finite number, some are for NaN and infinity, so that these can be gathered by `or`. */
INLINE ivec not_finite(vec a) { return as_bits(a - a); }

static const real *source(const nn_gather *g, int64_t r) {
    return (const real *)g->x + (g->order ? (int64_t)g->order[g->first + r] : g->first + r) * g->stride;
}

static int64_t first_not_finite(const nn_gather *g, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++)
        if (!NN_FN(finite)(g->n, source(g, r))) return r;
    return -1;
}

int64_t NN_FN(gather)(const nn_gather *g, int64_t r0, int64_t r1) {
    const int64_t whole = g->n / W, rest = g->n % W;
    const mask lanes = first_lanes(rest);
    ivec bad = {0};
    for (int64_t r = r0; whole == 0 && r < r1; r++) { /* short rows, where all else would cost as much as the row */
        vec a = load_masked(lanes, source(g, r));
        bad |= not_finite(a);
        store((real *)g->panels + r * NR, a);
    }
    for (int64_t r = r0; whole > 0 && r < r1; r++) {
        const real *x = source(g, r);
        if (whole > 4 &&
            r + 1 < r1) { /* rows lie anywhere in memory: the next is asked for before this one is copied */
            const real *next = source(g, r + 1);
            for (int64_t v = 0; v < whole; v++) __builtin_prefetch(next + v * W);
        }
        real *row = (real *)g->panels + r * NR;
        for (int64_t v = 0; v < whole; v++) {
            vec a = load(x + v * W);
            bad |= not_finite(a);
            store(row + (v / 2) * g->panel_rows * NR + (v % 2) * W, a);
        }
        if (rest) {
            vec a = load_masked(lanes, x + whole * W);
            bad |= not_finite(a);
            store(row + (whole / 2) * g->panel_rows * NR + (whole % 2) * W, a);
        }
    }
    return any_bit(bad) ? first_not_finite(g, r0, r1) : -1;
}

void NN_FN(scatter)(const nn_scatter *s, int64_t r0, int64_t r1) {
    const int64_t whole = s->n / W, rest = s->n % W;
    const mask lanes = first_lanes(rest);
    for (int64_t r = r0; r < r1; r++) {
        const int64_t target = s->order ? (int64_t)s->order[s->first + r] : s->first + r;
        real *y = (real *)s->y + target * s->stride;
        const real *row = (const real *)s->panels + r * NR;
        for (int64_t v = 0; v < whole; v++) store(y + v * W, load(row + (v / 2) * s->panel_rows * NR + (v % 2) * W));
        if (rest) store_masked(lanes, y + whole * W, load(row + (whole / 2) * s->panel_rows * NR + (whole % 2) * W));
    }
}

int NN_FN(finite)(int64_t n, const void *x_) {
    const real *x = x_;
    ivec bad = {0};
    int64_t i = 0;
    for (; i + W <= n; i += W) bad |= not_finite(load(x + i));
    bad |= not_finite(load_masked(first_lanes(n - i), x + i));
    return !any_bit(bad);
}
