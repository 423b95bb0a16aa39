/* sparse.c: batches of sparse rows: where their entries go, and their order for the update.
 *
 * The rows of a batch are gathered as entries (column, row, value), row after row, and so go through the first layer:
 * a sum over what is stored. The gradient of its weights is wanted block by block of weight rows, so the entries are
 * sorted by block: each thread counts those of its rows, and, when all have, puts each behind what earlier rows have in
 * its block. Within a block entries are thus in the order of the rows, for any number of threads; sums are made in that
 * order, which is that of dense rows without their zeros.
 * Starts and columns are looked at once, when rows are placed and gathered, and what would lie outside is left out: the
 * caller has checked them, but the arrays stay the caller's while this runs.
 */
#include "sparse.h"

#include <string.h>

enum { ALIGNMENT = 64 };

static int64_t aligned(int64_t bytes) { return nn_ceil_div(bytes, ALIGNMENT) * ALIGNMENT; }

int64_t nn_most_entries(const nn_csr *x, int64_t rows) {
    return x->most > 0 && rows < x->stored / x->most ? rows * x->most : x->stored;
}

size_t nn_entries_bytes(const nn_plan *p, int64_t rows, int64_t entries) {
    const size_t places = nn_times3((size_t)rows, 2, sizeof(int64_t));
    const size_t kept = nn_times((size_t)entries, 2 * sizeof(int32_t) + (size_t)p->size);
    return nn_round_up(nn_plus(nn_plus(places, kept), 4 * ALIGNMENT), ALIGNMENT); /* the parts are aligned one by one */
}

void nn_lay_entries(const nn_plan *p, nn_entries *e, char *memory, int64_t rows, int64_t entries) {
    e->begin = (int64_t *)(void *)memory;
    memory += aligned(rows * (int64_t)sizeof *e->begin);
    e->end = (int64_t *)(void *)memory;
    memory += aligned(rows * (int64_t)sizeof *e->end);
    e->values = memory;
    memory += aligned(entries * p->size);
    e->columns = (int32_t *)(void *)memory;
    memory += aligned(entries * (int64_t)sizeof *e->columns);
    e->rows = (int32_t *)(void *)memory;
}

static int64_t length_of(const nn_csr *x, int64_t row) {
    const int64_t n = x->wide ? ((const int64_t *)x->starts)[row + 1] - ((const int64_t *)x->starts)[row]
                              : (int64_t)((const int32_t *)x->starts)[row + 1] - ((const int32_t *)x->starts)[row];
    return n < 0 ? 0 : n > x->most ? x->most : n;
}

void nn_place_rows(const nn_csr *x, const uint32_t *order, int64_t first, int64_t capacity, nn_entries *e, int64_t r0,
                   int64_t r1) {
    int64_t at = 0;
    for (int64_t r = 0; r < r0; r++) at += length_of(x, order ? (int64_t)order[first + r] : first + r);
    for (int64_t r = r0; r < r1; r++) {
        const int64_t n = length_of(x, order ? (int64_t)order[first + r] : first + r);
        e->begin[r] = at < capacity ? at : capacity;
        e->end[r] = at + n < capacity ? at + n : capacity;
        at += n;
    }
}

nn_status nn_sparse_room(nn_plan *p, const nn_csr *x, int n, int64_t rows, int threads, double *bytes_needed) {
    if (p->layers[0].n_in > INT32_MAX || rows > INT32_MAX) return NN_BAD_SIZE;
    const int64_t entries = nn_most_entries(x, rows);
    for (int i = 0; i < n; i++) {
        nn_workspace *w = &p->training[i];
        const size_t bytes = nn_entries_bytes(p, w->rows, entries);
        if (nn_grow(&w->entry_memory, &w->entry_bytes, bytes, bytes_needed) != NN_OK) return NN_NO_MEMORY;
        nn_lay_entries(p, &w->entries, w->entry_memory, w->rows, entries);
        w->sparse = &w->entries;
    }
    if (!threads) return NN_OK;
    nn_blocks *k = &p->blocks;
    k->n = nn_ceil_div(p->layers[0].n_in, UPDATE_ROWS);
    const size_t numbers = nn_plus(nn_times((size_t)k->n, 2 * (size_t)threads + 1), 1);
    const size_t counters = nn_round_up(nn_times(numbers, sizeof(int64_t)), ALIGNMENT);
    const size_t bytes = nn_plus(counters, nn_entries_bytes(p, 0, entries));
    if (nn_grow(&k->memory, &k->bytes, bytes, bytes_needed) != NN_OK) return NN_NO_MEMORY;
    k->starts = (int64_t *)(void *)k->memory;
    k->counts = k->starts + k->n + 1;
    k->next = k->counts + k->n * threads;
    nn_lay_entries(p, &k->sorted, k->memory + counters, 0, entries);
    return NN_OK;
}

void nn_count_entries(nn_plan *p, int thread, int64_t r0, int64_t r1) {
    const nn_entries *e = p->training[0].sparse;
    int64_t *counts = p->blocks.counts + thread * p->blocks.n;
    memset(counts, 0, (size_t)p->blocks.n * sizeof *counts);
    if (r0 == r1) return;
    for (int64_t i = e->begin[r0]; i < e->end[r1 - 1]; i++) counts[e->columns[i] / UPDATE_ROWS]++;
}

/* Every thread works out all starts for itself, thread 0 also for the update. */
void nn_sort_entries(nn_plan *p, int thread, int n_threads, int64_t r0, int64_t r1) {
    nn_blocks *k = &p->blocks;
    int64_t *next = k->next + thread * k->n, start = 0;
    for (int64_t i = 0; i < k->n; i++) {
        if (thread == 0) k->starts[i] = start;
        for (int t = 0; t < n_threads; t++) {
            if (t == thread) next[i] = start;
            start += k->counts[t * k->n + i];
        }
    }
    if (thread == 0) k->starts[k->n] = start;
    if (r0 == r1) return;
    const nn_entries *from = p->training[0].sparse;
    const nn_entries *to = &k->sorted;
    for (int64_t i = from->begin[r0]; i < from->end[r1 - 1]; i++) {
        const int64_t at = next[from->columns[i] / UPDATE_ROWS]++;
        to->columns[at] = from->columns[i];
        to->rows[at] = from->rows[i];
        if (p->dtype == NN_F32)
            ((float *)to->values)[at] = ((const float *)from->values)[i];
        else
            ((double *)to->values)[at] = ((const double *)from->values)[i];
    }
}

void nn_sparse_gradient(const nn_plan *p, const nn_outer *o, const nn_entries *e, int64_t n, int64_t panel, char *dst) {
    memset(dst, 0, (size_t)(o->k * nn_panel_width(p, o->n, panel) * p->size));
    p->kernels->sparse_outer(o, e, 0, n, panel, 0, o->k, dst);
}
