/* rest.c: rows of a sparse first layer's weights that need no work in a step that does not touch them.
 *
 * Where a batch has nothing in a column, the gradient of its row of weights is zero. What the optimizer then does is, bit
 * for bit, what it does to dense rows, but some of it need not be done, or not now:
 *   SGD, Adagrad            nothing happens;
 *   RMSprop                 weights stay and the slot decays, x <- rho x in each step: made up for, step by step but in
 *                           registers, when the row is touched next, or at the end of the call;
 *   momentum, Adam and kin  weights move on, so that every step goes through all rows, but those whose slots are still
 *                           zero, as of columns that no row had yet: they stay as they are.
 * So the result depends neither on what rests when nor on where calls end.
 */
#include <string.h>

#include "prefetch.h"
#include "step.h"

nn_status nn_rest_begin(run *c, int64_t n_steps, double *bytes_needed) {
    nn_plan *p = c->p;
    const nn_job *job = c->job;
    const nn_geometry *g = &p->layers[0];
    nn_rest *r = &p->rest;
    r->on = job->csr && !c->chunked && job->clip_norm == 0 && job->decay == 0 && job->penalty == 0 && g->l1 == 0 &&
            g->l2 == 0 && g->decay == 0 && g->max_norm == 0 && n_steps < INT32_MAX;
    const uint64_t owner = r->owner;
    r->owner = 0;
    if (!r->on) return NN_OK;
    r->decays = job->optimizer == NN_RMSPROP;
    r->moves = !r->decays && job->optimizer != NN_SGD && job->optimizer != NN_ADAGRAD;
    r->blocks = nn_ceil_div(g->k, UPDATE_ROWS);
    const int64_t n = g->panels * r->blocks, counted = r->decays ? n * UPDATE_ROWS : 0;
    const size_t bytes = nn_plus(nn_times((size_t)n, sizeof *r->active), nn_times((size_t)counted, sizeof *r->since));
    if (nn_grow(&r->memory, &r->bytes, bytes, bytes_needed) != NN_OK) {
        r->on = 0;
        return NN_NO_MEMORY;
    }
    r->active = (uint64_t *)(void *)r->memory;
    r->since = (int32_t *)(void *)(r->active + n);
    r->known = r->moves && owner == job->serial;
    if (!r->known) memset(r->active, 0, (size_t)n * sizeof *r->active);
    for (int64_t i = 0; i < counted; i++) r->since[i] = -1;
    return NN_OK;
}

/* A panel's rows of the first layer: its weights and slots */
typedef struct rows {
    char *weights, *slots[2];
    int64_t bytes, numbers; /* of a row */
} rows;

static rows rows_of(const run *c, int64_t panel, int64_t k) {
    const nn_plan *p = c->p;
    const int64_t at = nn_weight_offset(p, 0, panel, k) * p->size, n = nn_panel_width(p, p->layers[0].n_out, panel);
    rows found = {.weights = p->parameters + at, .bytes = n * p->size, .numbers = n};
    for (int s = 0; s < 2; s++) found.slots[s] = c->job->slots[s] ? (char *)c->job->slots[s] + at : NULL;
    return found;
}

/* The slots of `which` rows become those as after step `now`; rows side by side that are as after the same step, together.
 */
static void make_up(const run *c, const nn_update *u, const rows *w, uint64_t which, int32_t *since, int64_t now) {
    while (which) {
        const int i = __builtin_ctzll(which);
        const int32_t from = since[i];
        int end = i;
        while (end < UPDATE_ROWS && which >> end & 1 && since[end] == from) since[end++] = (int32_t)now;
        which = end < UPDATE_ROWS ? which & (~(uint64_t)0 << end) : 0;
        if (from < now)
            c->p->kernels->idle(u, now - from, (end - i) * w->numbers, w->slots[0] + i * w->bytes, w->slots[1]);
    }
}

static int all_zero(const char *x, int64_t bytes) {
    uint64_t any = 0;
    for (int64_t i = 0; i < bytes; i += (int64_t)sizeof any) {
        uint64_t word;
        memcpy(&word, x + i, sizeof word);
        any |= word;
    }
    return !any;
}

/* Those of n rows whose slots are not all zero */
static uint64_t moving(const rows *w, int64_t n) {
    uint64_t found = 0;
    for (int64_t i = 0; i < n; i++)
        for (int s = 0; s < 2 && w->slots[s] && !(found >> i & 1); s++)
            if (!all_zero(w->slots[s] + i * w->bytes, w->bytes)) found |= (uint64_t)1 << i;
    return found;
}

void nn_rest_update(const run *c, const batch *b, const nn_update *u, int64_t panel, int64_t block) {
    nn_plan *p = c->p;
    nn_rest *r = &p->rest;
    const nn_entries *e = &p->blocks.sorted;
    const int64_t e0 = p->blocks.starts[block], e1 = p->blocks.starts[block + 1];
    const int64_t k0 = block * UPDATE_ROWS, left = p->layers[0].k - k0, n = left < UPDATE_ROWS ? left : UPDATE_ROWS;
    const rows w = rows_of(c, panel, k0);
    uint64_t *active = &r->active[panel * r->blocks + block];
    if (r->moves && !r->known && b->step == 0) *active = moving(&w, n);
    if (e0 == e1 && !*active) return;
    uint64_t touched = 0;
    for (int64_t i = e0; i < e1; i++) touched |= (uint64_t)1 << e->columns[i] % UPDATE_ROWS;
    if (r->moves) *active |= touched;
    const uint64_t all = ~(uint64_t)0 >> (UPDATE_ROWS - n);
    uint64_t work = touched | *active;
    if (__builtin_popcountll(work) * 2 > n) work = all; /* few that rest are less work than what leaves them out */
    int32_t *since = r->since + (panel * r->blocks + block) * UPDATE_ROWS;
    if (r->decays) make_up(c, u, &w, work, since, b->step - 1);

    _Alignas(64) char gradient[UPDATE_ROWS * MOST_PANEL_BYTES];
    if (work == all) memset(gradient, 0, (size_t)(n * w.bytes));
    for (uint64_t rest = work == all ? 0 : work; rest; rest &= rest - 1) {
        const int64_t at = __builtin_ctzll(rest) * w.bytes;
        memset(gradient + at, 0, (size_t)w.bytes);
        nn_prefetch_all_to_write(w.weights + at, w.bytes);
        for (int s = 0; s < 2 && w.slots[s]; s++) nn_prefetch_all_to_write(w.slots[s] + at, w.bytes);
    }
    if (touched) {
        const nn_outer o = nn_outer_of(p, &p->training[0], 0, b->rows);
        p->kernels->sparse_outer(&o, e, e0, e1, panel, k0, k0 + n, gradient);
    }
    for (uint64_t rest = work; rest;) { /* runs of rows side by side */
        const int64_t i = __builtin_ctzll(rest);
        const uint64_t gap = ~(rest >> i);
        const int64_t end = i + (gap ? __builtin_ctzll(gap) : UPDATE_ROWS);
        nn_apply_gradient(c, b, u, 0, panel, k0 + i, k0 + end, gradient + i * w.bytes);
        rest = end < UPDATE_ROWS ? rest & (~(uint64_t)0 << end) : 0;
    }
    for (uint64_t rest = r->decays ? work : 0; rest; rest &= rest - 1) since[__builtin_ctzll(rest)] = (int32_t)b->step;
}

static void end_task(void *context, nn_team *team, int thread, int n_threads) {
    const run *c = context;
    const nn_plan *p = c->p;
    const nn_rest *r = &p->rest;
    const int64_t n = p->layers[0].panels * r->blocks, last = c->job->steps_done - 1;
    const nn_update u = nn_update_of(c->job, 0); /* of which only what decays slots is asked */
    (void)team;
    for (int64_t at = nn_share(n, thread, n_threads); at < nn_share(n, thread + 1, n_threads); at++) {
        const int64_t panel = at / r->blocks, k0 = at % r->blocks * UPDATE_ROWS, left = p->layers[0].k - k0;
        const uint64_t all = ~(uint64_t)0 >> (left < UPDATE_ROWS ? UPDATE_ROWS - left : 0);
        const rows w = rows_of(c, panel, k0);
        make_up(c, &u, &w, all, r->since + at * UPDATE_ROWS, last);
    }
}

void nn_rest_end(const run *c, int threads) {
    nn_rest *r = &c->p->rest;
    if (r->on && r->decays && c->job->steps_done > 0) nn_parallel(threads, end_task, (void *)(uintptr_t)c);
    if (r->on && r->moves && c->job->steps_done > 0) r->owner = c->job->serial; /* all slots were looked at */
    r->on = 0;
}
