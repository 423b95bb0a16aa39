/* update.c: the second phase of a step: each thread owns a range of weight rows, makes their gradient over the whole batch,
 * and applies the optimizer to it while it is in cache; train.c says what the phases are.
 */
#include <string.h>

#include "prefetch.h"
#include "sparse.h"
#include "step.h"

/* What makes up the work on a few rows is one function in the end: for a small network the calls would cost as much. */
#define INLINE static inline __attribute__((always_inline))

typedef struct place {
    int layer;
    int64_t panel, row;
} place;

/* Unit u of p->n_vectors, moved down to a row that a whole vector of inputs starts at, or where rows rest a block */
static place locate(const nn_plan *p, int64_t u) {
    if (u == 0) return (place){0, 0, 0};
    for (int l = 0; l < p->n_blocks; l++) {
        const nn_geometry *g = &p->layers[l];
        const int64_t rows = g->k + 1;
        if (u >= rows * g->vectors) {
            u -= rows * g->vectors;
            continue;
        }
        const int64_t panel = u / (2 * rows), unit = u - panel * 2 * rows;
        const int64_t row = nn_panel_width(p, g->n_out, panel) == p->panel ? unit / 2 : unit;
        const int64_t whole = l == 0 && p->rest.on ? UPDATE_ROWS : p->vector; /* powers of two */
        return (place){l, panel, row & ~(whole - 1)};
    }
    return (place){p->n_blocks, 0, 0};
}

/* What updating rows [k0, k1) of a panel will write, and other threads have read */
static void prefetch_update(const nn_plan *p, int layer, int64_t panel, int64_t k0, int64_t k1) {
    const nn_geometry *g = &p->layers[layer];
    const int64_t width = nn_panel_width(p, g->n_out, panel), first = panel * p->panel;
    nn_prefetch_all_to_write(p->parameters + nn_weight_offset(p, layer, panel, k0) * p->size,
                             (k1 - k0) * width * p->size);
    if (!nn_is_transposed(p, layer)) return;
    const int64_t columns = g->n_out - first < p->panel ? g->n_out - first : p->panel;
    for (int64_t k = k0 - k0 % p->panel; k < k1 && k < g->n_in; k += p->panel) {
        const int64_t turned = nn_panel_width(p, g->n_in, k / p->panel);
        nn_prefetch_all_to_write(p->transposed + (g->transposed + k * g->n_out + first * turned) * p->size,
                                 columns * turned * p->size);
    }
}

/* Of rows [k0, k1): weights decay, biases, gamma and beta do not */
static int64_t decaying_rows(const nn_geometry *g, int64_t k0, int64_t k1) {
    if (g->kind == NN_TABLE) return k1 - k0;
    return g->kind != NN_DENSE ? 0 : k1 > g->k ? g->k - k0 : k1 - k0;
}

/* The gradient of weight rows [k0, k1) of the first layer, which lie in one block of sorted entries; returns the row that
 * is left, the bias or k1. */
static int64_t sparse_rows(const nn_plan *p, const nn_outer *o, int64_t panel, int64_t k0, int64_t k1, char *gradient) {
    const int64_t end = k1 < o->k ? k1 : o->k, block = k0 / UPDATE_ROWS;
    if (k0 == end) return end;
    memset(gradient, 0, (size_t)((end - k0) * nn_panel_width(p, o->n, panel) * p->size));
    p->kernels->sparse_outer(o, &p->blocks.sorted, p->blocks.starts[block], p->blocks.starts[block + 1], panel, k0, end,
                             gradient);
    return end;
}

/* The gradient of rows [k0, k1) of a panel */
INLINE void make_gradient(const run *c, const batch *b, int layer, int64_t panel, int64_t k0, int64_t k1, int thread,
                          char *gradient) {
    const nn_plan *p = c->p;
    const nn_kernels *k = p->kernels;
    const nn_geometry *g = &p->layers[layer];
    const int64_t width = nn_panel_width(p, g->n_out, panel), at = nn_weight_offset(p, layer, panel, k0);
    if (c->chunked) {
        k->sum_parts((k1 - k0) * width, nn_ceil_div(b->rows, CHUNK), p->n_parameters, p->parts + at * p->size,
                     gradient);
    } else if (g->kind == NN_DENSE) {
        const nn_outer o = nn_outer_of(p, &p->training[0], layer, b->rows);
        const int64_t from = layer == 0 && c->job->csr ? sparse_rows(p, &o, panel, k0, k1, gradient) : k0;
        k->outer(&o, panel, from, k1, gradient + (from - k0) * width * p->size);
    } else if (g->kind == NN_TABLE) {
        const nn_workspace *w = &p->training[0];
        const nn_embedding e = nn_embedding_of(p, layer, w->act[0], w->delta[1], w->rows);
        k->embedding_gradient(&e, b->rows, panel, k0, k1, gradient);
    } else {
        const nn_pass pass = nn_pass_of(c, b, 0, thread);
        nn_norm_gradient(p, layer, &p->training[0], &pass, panel, gradient);
    }
    /* Worked out it would be rounding errors, which Adam makes as large as any other. */
    if (g->idle_bias && b->rows > 1 && k1 > g->k)
        memset(gradient + (k1 - 1 - k0) * width * p->size, 0, (size_t)(width * p->size));
}

/* What is done with a gradient and its weights before the optimizer: limits, penalties, decay; few networks have any. */
static __attribute__((noinline)) void reshape(const run *c, const batch *b, const nn_update *u, const nn_geometry *g,
                                              int64_t n, int64_t n_weights, char *w, char *gradient) {
    const nn_kernels *k = c->p->kernels;
    if (b->factor != 1 || c->job->clip_value > 0) k->clip(b->factor, c->job->clip_value, n, gradient);
    const double l2 = g->kind == NN_DENSE ? g->l2 + b->penalty : g->l2;
    if (g->l1 != 0 || l2 != 0) k->regularize(g->l1, l2, n_weights, w, gradient);
    if (g->decay != 0) k->clip(1 - u->rate * g->decay, 0, n_weights, w);
}

INLINE void apply_gradient(const run *c, const batch *b, const nn_update *u, int layer, int64_t panel, int64_t k0,
                           int64_t k1, char *gradient) {
    const nn_plan *p = c->p;
    const nn_kernels *k = p->kernels;
    const nn_geometry *g = &p->layers[layer];
    const int64_t width = nn_panel_width(p, g->n_out, panel), at = nn_weight_offset(p, layer, panel, k0);
    const int64_t weight_rows = decaying_rows(g, k0, k1);
    char *slots[2];
    for (int s = 0; s < 2; s++) slots[s] = c->job->slots[s] ? (char *)c->job->slots[s] + at * p->size : NULL;
    char *w = p->parameters + at * p->size;
    if (c->reshapes || g->reshapes) reshape(c, b, u, g, (k1 - k0) * width, weight_rows * width, w, gradient);
    const int64_t alike = u->decay != 0 ? weight_rows : k1 - k0;
    k->update(u, alike * width, gradient, w, slots[0], slots[1]);
    if (alike < k1 - k0) { /* biases, gamma and beta */
        nn_update bias = *u;
        bias.decay = 0;
        const int64_t skip = alike * width * p->size;
        k->update(&bias, (k1 - k0 - alike) * width, gradient + skip, w + skip, slots[0] ? slots[0] + skip : NULL,
                  slots[1] ? slots[1] + skip : NULL);
    }
    if (nn_is_transposed(p, layer)) {
        const nn_transpose t = nn_transpose_of(p, layer);
        k->transpose(&t, panel, k0, k0 + weight_rows);
    }
}

void nn_apply_gradient(const run *c, const batch *b, const nn_update *u, int layer, int64_t panel, int64_t k0,
                       int64_t k1, char *gradient) {
    apply_gradient(c, b, u, layer, panel, k0, k1, gradient);
}

/* Rows [k0, k1) of a panel: gradient, then optimizer and transposed copy, or into the gradient's buffer */
INLINE void update_rows(const run *c, const batch *b, const nn_update *u, int layer, int64_t panel, int64_t k0,
                        int64_t k1, int thread, int shared) {
    const nn_plan *p = c->p;
    const int64_t at = nn_weight_offset(p, layer, panel, k0);
    _Alignas(64) char scratch[(UPDATE_ROWS + 1) * MOST_PANEL_BYTES];
    char *gradient = c->gradient ? c->gradient + at * p->size : scratch;
    if (c->given) gradient = c->given + at * p->size;
    if (shared && !c->gradient) prefetch_update(p, layer, panel, k0, k1);
    if (!c->given) make_gradient(c, b, layer, panel, k0, k1, thread, gradient);
    if (!c->gradient) apply_gradient(c, b, u, layer, panel, k0, k1, gradient);
}

static void update_units(const run *c, const batch *b, const nn_update *u, int64_t u0, int64_t u1, int thread) {
    const nn_plan *p = c->p;
    const place end = u1 >= p->n_vectors ? (place){p->n_blocks, 0, 0} : locate(p, u1);
    for (place at = locate(p, u0); at.layer < p->n_blocks; at = (place){at.layer + 1, 0, 0}) {
        if (at.layer > end.layer) return;
        const nn_geometry *g = &p->layers[at.layer];
        const int resting = p->rest.on && at.layer == 0;
        for (; at.panel < g->panels; at.panel++, at.row = 0) {
            int64_t stop = g->k + 1;
            if (at.layer == end.layer && at.panel >= end.panel) stop = at.panel == end.panel ? end.row : 0;
            for (int64_t k0 = at.row; k0 < stop;) {
                int64_t k1 = k0 - k0 % UPDATE_ROWS + UPDATE_ROWS;
                if (k1 >= g->k) k1 = g->k + 1; /* the bias goes with the last weights */
                if (k1 > stop) k1 = stop;
                const int64_t bias = resting && k1 > g->k ? g->k : k0; /* by itself */
                if (resting && k0 < g->k) nn_rest_update(c, b, u, at.panel, k0 / UPDATE_ROWS);
                if (!resting || k1 > g->k)
                    update_rows(c, b, u, at.layer, at.panel, bias, k1, thread, u1 - u0 < p->n_vectors);
                k0 = k1;
            }
        }
    }
}

static void update_share(const run *c, const batch *b, const nn_update *u, int thread, int n_threads) {
    const int64_t n = c->p->n_vectors;
    update_units(c, b, u, nn_share(n, thread, n_threads), nn_share(n, thread + 1, n_threads), thread);
}

/* The whole gradient first, for its length: the sum over blocks that do not depend on the threads */
static void clipped_update(const run *c, const batch *b, const nn_update *u, nn_team *team, int thread, int n_threads) {
    const nn_plan *p = c->p;
    run into = *c, from = *c;
    into.gradient = from.given = p->gradients;
    update_share(&into, b, u, thread, n_threads);
    nn_barrier(team);
    double *sums = (double *)(void *)(p->gradients + p->n_parameters * p->size);
    const int64_t blocks = nn_ceil_div(p->n_parameters, NORM_BLOCK);
    for (int64_t k = nn_share(blocks, thread, n_threads); k < nn_share(blocks, thread + 1, n_threads); k++) {
        const int64_t at = k * NORM_BLOCK, n = p->n_parameters - at < NORM_BLOCK ? p->n_parameters - at : NORM_BLOCK;
        sums[k] = p->kernels->sum_of_squares(n, p->gradients + at * p->size);
    }
    nn_barrier(team);
    const double length = sqrt(nn_sum(sums, blocks)), limit = c->job->clip_norm;
    batch scaled = *b;
    scaled.factor = length > limit ? limit / length : 1;
    from.gradient = NULL;
    update_share(&from, &scaled, u, thread, n_threads);
}

static void limit_norms(const nn_plan *p, int thread, int n_threads) {
    for (int l = 0; l < p->n_layers; l++) {
        const nn_geometry *g = &p->layers[l];
        if (!(g->max_norm > 0)) continue;
        for (int64_t panel = thread; panel < g->panels; panel += n_threads) {
            p->kernels->limit_norms(g->max_norm, g->k, nn_panel_width(p, g->n_out, panel),
                                    p->parameters + nn_weight_offset(p, l, panel, 0) * p->size);
            if (!nn_is_transposed(p, l)) continue;
            const nn_transpose t = nn_transpose_of(p, l);
            p->kernels->transpose(&t, panel, 0, g->k);
        }
    }
}

static double nadam_mu(const nn_job *job, double t) {
    return job->beta1 * (1 - 0.5 * pow(0.96, t * job->momentum_decay));
}

/* The update from which on 1 - beta^t is 1 to the last bit, so that no power has to be worked out */
static double gone(double beta) { return beta > 0 && beta < 1 ? -40 / log(beta) : INFINITY; }

void nn_prepare_updates(nn_job *job) {
    job->beta1_gone = gone(job->beta1);
    job->beta2_gone = gone(job->beta2);
}

static double one_minus_power(double beta, double gone_from, double t) { return t > gone_from ? 1 : 1 - pow(beta, t); }

/* Read by all threads before the first barrier of a step; job->mu_product is written between the two */
nn_update nn_update_of(const nn_job *job, int64_t step) {
    nn_update u = {.optimizer = job->optimizer,
                   .nesterov = job->nesterov,
                   .rate_within = job->rate_within,
                   .decay = job->decay,
                   .momentum = job->momentum,
                   .beta1 = job->beta1,
                   .beta2 = job->beta2,
                   .epsilon = job->epsilon};
    u.rate = job->n_rates == 1 ? job->rates[0] : job->rates[step];
    const double t = (double)(job->updates + step + 1);
    switch (job->optimizer) {
    case NN_ADAM:
    case NN_ADAMW:
        u.correction1 = 1 / one_minus_power(job->beta1, job->beta1_gone, t);
        u.correction2 = 1 / sqrt(one_minus_power(job->beta2, job->beta2_gone, t));
        if (job->epsilon_outside) u.epsilon *= u.correction2;
        break;
    case NN_NADAM: {
        const double next = nadam_mu(job, t + 1);
        u.momentum = nadam_mu(job, t);
        const double product = job->mu_product * u.momentum;
        u.correction1 = next / (1 - product * next);
        u.correction2 = 1 / sqrt(one_minus_power(job->beta2, job->beta2_gone, t));
        u.correction3 = (1 - u.momentum) / (1 - product);
        break;
    }
    default: break;
    }
    return u;
}

void nn_update_weights(const run *c, const batch *b, const nn_update *u, nn_team *team, int thread, int n_threads) {
    if (c->job->clip_norm > 0 && !c->gradient)
        clipped_update(c, b, u, team, thread, n_threads);
    else
        update_share(c, b, u, thread, n_threads);
    if (c->p->has_max_norm && !c->gradient) {
        nn_barrier(team);
        limit_norms(c->p, thread, n_threads);
    }
}
