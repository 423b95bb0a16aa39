/* train.c: nn_run, n steps of training, and nn_loss_and_gradient.
 *
 * A step has two phases with a barrier after each. What is summed, and in which order, follows from the shape and the
 * ISA alone; threads only share out the work, so that any number of them gives the same bits.
 *
 *   TILES (the usual way)  1. each thread takes its rows of the batch through gather, all layers forward, the loss and
 *                             all layers backward, without meeting the others;
 *                          2. each thread owns a range of weight rows: their gradient over the whole batch, the
 *                             optimizer on it while it is in cache, the transposed copy.
 *   CHUNKS (few weights,   1. the batch is cut into chunks of CHUNK rows; a chunk's partial gradient is made while its
 *    large batch)             rows are in cache;
 *                          2. each thread owns a range of weight rows: the partials are added in the order of the
 *                             chunks, then as above.
 * Between the phases all threads see whether any met bad data or a loss that is not finite: then nobody updates, and
 * the weights are those of the step before.
 * A loss of the caller's needs the outputs of the whole batch: phase 1 is then cut in two, and thread 0 calls it between.
 */
#include <math.h>
#include <string.h>

#include "cost.h"
#include "layers.h"
#include "prefetch.h"

#define INLINE static inline __attribute__((always_inline))

enum {
    BLOCK = 168,           /* rows that go through the layers together */
    MOST_PANEL_BYTES = 128 /* of a row of a panel */
};

typedef struct failure {
    nn_status status;
    int64_t row; /* position in the batch */
    int layer;   /* NN_DIVERGED: the first whose output is not finite; -1: only the loss is not */
} failure;

static int bad_data(const failure *f) { return f->status == NN_BAD_X || f->status == NN_BAD_Y; }

typedef struct run {
    nn_plan *p;
    nn_job *job;
    int64_t first_step;
    int64_t start, stop; /* this segment's steps of the call */
    int64_t steps_per_epoch;
    int chunked;
    double flops;      /* a step's */
    char *given;       /* the gradient, where it was worked out before; else NULL */
    char *gradient;    /* where it is asked for rather than an update; else NULL */
    failure *failures; /* one for each thread; a failure ends the call */
} run;

typedef struct batch {
    int64_t first, rows; /* order[first .. first + rows) */
    const uint32_t *order;
    double scale;    /* 1 / rows, or 1 / (sum of their weights) */
    uint64_t stream; /* the epoch: of what is dropped */
    double factor;   /* the gradient is multiplied by this before the update */
} batch;

/* In an order that depends on n alone; eight sums, so that none waits for the one before */
static double sum(const double *x, int64_t n) {
    double s[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) s[k] += x[i + k];
    for (int k = 0; i < n; i++, k++) s[k] += x[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* ---- phase 1 */

/* First layer with an output of row r that is not finite; -1 for none */
static int first_bad_layer(const nn_plan *p, const nn_workspace *w, int64_t r) {
    for (int l = 0; l < p->n_layers; l++)
        for (int64_t panel = 0; panel < p->layers[l].panels; panel++) {
            const int64_t left = p->layers[l].n_out - panel * p->panel, columns = left < p->panel ? left : p->panel;
            if (!p->kernels->finite(columns, w->act[l + 1] + (panel * w->rows + r) * p->panel * p->size)) return l;
        }
    return -1;
}

static nn_pass pass_of(const run *c, const batch *b, int64_t offset, int thread) {
    const nn_plan *p = c->p;
    return (nn_pass){.rows = b->rows,
                     .dropping = !c->gradient,
                     .seed = c->job->seed,
                     .stream = b->stream,
                     .first = b->first + offset,
                     .statistics = p->n_statistics ? p->statistics + thread * p->n_statistics * p->size : NULL};
}

/* 1 / (number of rows), or 1 / (sum of their weights) and 0 where none counts; every thread does this sum, alike. */
static double weighted_scale(const nn_job *job, const uint32_t *order, int64_t first, int64_t rows) {
    const double *w = job->weights;
    double s[8] = {0};
    for (int64_t i = 0; i < rows; i++) s[i % 8] += w[order ? (int64_t)order[first + i] : first + i];
    const double total = sum(s, 8);
    return total > 0 ? 1 / total : 0;
}
INLINE double batch_scale(const nn_job *job, const uint32_t *order, int64_t first, int64_t rows) {
    return job->weights ? weighted_scale(job, order, first, rows) : 1.0 / (double)rows;
}

/* A row that does not count adds nothing, even where its loss is infinite. */
static void weigh(const nn_job *job, const batch *b, int64_t first, int64_t r0, int64_t r1, double *row_loss) {
    for (int64_t r = r0; r < r1; r++) {
        const double weight = job->weights[b->order ? (int64_t)b->order[first + r] : first + r];
        row_loss[r] = weight > 0 ? weight * row_loss[r] : 0;
    }
}

static int is_from_logits(const run *c) {
    const int head = c->p->layers[c->p->n_layers - 1].activation;
    return head == NN_SOFTMAX || (head == NN_SIGMOID && c->job->loss == NN_BCE) ||
           (head == NN_EXPONENTIAL && c->job->loss == NN_POISSON);
}

/* Rows [r0, r1) of a workspace, whose row r is row b->first + offset + r of the order: gathered, ... */
static void gather_rows(const run *c, nn_workspace *w, const batch *b, int64_t offset, int64_t r0, int64_t r1,
                        failure *f) {
    const nn_plan *p = c->p;
    const nn_job *job = c->job;
    const nn_geometry *layers = p->layers;
    const int last = p->n_layers - 1, width = (int)p->vector;
    const int64_t first = b->first + offset;
    nn_gather g = {job->x, layers[0].n_in, layers[0].n_in, b->order, first, w->act[0], w->rows, width};
    int64_t bad = p->kernels->gather(&g, r0, r1);
    if (bad >= 0) {
        *f = (failure){NN_BAD_X, offset + bad, -1};
        return;
    }
    if (!job->y) return;
    g = (nn_gather){job->y, layers[last].n_out, layers[last].n_out, b->order, first, w->delta[last + 1], w->rows,
                    width};
    if ((bad = p->kernels->gather(&g, r0, r1)) >= 0) *f = (failure){NN_BAD_Y, offset + bad, -1};
}

/* ... forward through layers [from, to), ... */
static void forward_rows(const run *c, const nn_workspace *w, const nn_pass *pass, int from, int to, int64_t r0,
                         int64_t r1) {
    const int last = c->p->n_layers - 1, logits = is_from_logits(c);
    for (int l = from; l < to; l++)
        nn_layer_forward(c->p, l, w, pass, l == last && logits ? NN_IDENTITY : c->p->layers[l].activation, r0, r1);
}

/* ... handed to the caller, where the loss is the caller's, ... */
static void hand_out(const run *c, const nn_workspace *w, int64_t offset, int64_t r0, int64_t r1) {
    const nn_plan *p = c->p;
    const int last = p->n_layers - 1, width = (int)p->vector;
    const int64_t n = p->layers[last].n_out;
    if (p->layers[last].activation == NN_SOFTMAX) p->kernels->softmax(w->act[last + 1], w->rows, n, r0, r1, width);
    const nn_scatter s = {w->act[last + 1], w->rows, n, c->job->given_outputs, n, NULL, offset, width};
    p->kernels->scatter(&s, r0, r1);
}

/* ... their losses and predictions, ... */
static void loss_of_rows(const run *c, nn_workspace *w, const batch *b, int64_t offset, int64_t r0, int64_t r1,
                         failure *f) {
    const nn_plan *p = c->p;
    const nn_kernels *k = p->kernels;
    const nn_job *job = c->job;
    const int last = p->n_layers - 1, width = (int)p->vector;
    const nn_geometry *layers = p->layers;
    const int64_t first = b->first + offset;
    if (job->given) {
        const int64_t n = layers[last].n_out;
        const nn_gather g = {job->given_gradient, n, n, NULL, offset, w->delta[last + 1], w->rows, width};
        k->gather(&g, r0, r1);
    }
    const nn_loss_args loss = {job->loss,
                               layers[last].activation,
                               layers[last].alpha,
                               w->act[last + 1],
                               w->delta[last + 1],
                               w->rows,
                               layers[last].n_out,
                               job->y ? NULL : job->labels,
                               b->order,
                               first,
                               b->scale,
                               w->row_loss,
                               width,
                               job->weights,
                               job->loss_parameter,
                               job->smoothing,
                               w->slope[last + 1]};
    k->loss(&loss, r0, r1);
    if (!isfinite(sum(w->row_loss + r0, r1 - r0)))
        for (int64_t r = r0; r < r1 && f->status == NN_OK; r++)
            if (!isfinite(w->row_loss[r])) *f = (failure){NN_DIVERGED, offset + r, first_bad_layer(p, w, r)};
    if (job->weights && !job->given) weigh(job, b, first, r0, r1, w->row_loss);
    if (job->predictions) {
        const nn_scatter s = {w->act[last + 1],
                              w->rows,
                              layers[last].n_out,
                              job->predictions,
                              layers[last].n_out,
                              b->order,
                              first,
                              width};
        k->scatter(&s, r0, r1);
    }
}

/* ... and backward from layer `from` to `to`, as far down as there are weights. */
static void backward_rows(const run *c, const nn_workspace *w, const nn_pass *pass, int from, int to, int64_t r0,
                          int64_t r1) {
    for (int l = from; l >= to && l > c->p->first; l--) nn_layer_backward(c->p, l, w, pass, r0, r1);
}

enum part { WHOLE, FORWARD, BACKWARD }; /* cut in two where the caller computes the loss in between */

static void rows_through(const run *c, nn_workspace *w, const batch *b, int64_t offset, enum part part, int64_t r0,
                         int64_t r1, failure *f) {
    const int n = c->p->n_layers;
    const nn_pass pass = pass_of(c, b, offset, 0);
    if (part != BACKWARD) {
        gather_rows(c, w, b, offset, r0, r1, f);
        if (bad_data(f)) return;
        forward_rows(c, w, &pass, 0, n, r0, r1);
        if (part == FORWARD) {
            hand_out(c, w, offset, r0, r1);
            return;
        }
    }
    loss_of_rows(c, w, b, offset, r0, r1, f);
    backward_rows(c, w, &pass, n - 1, 0, r0, r1);
}

/* In blocks whose activations stay in cache from layer to layer, forward and back */
static void rows_in_blocks(const run *c, const batch *b, enum part part, int64_t r0, int64_t r1, failure *f) {
    for (int64_t blocks = nn_ceil_div(r1 - r0, BLOCK); blocks && !bad_data(f); blocks--) {
        const int64_t end = r0 + nn_ceil_div(r1 - r0, blocks);
        rows_through(c, &c->p->training[0], b, 0, part, r0, end, f);
        r0 = end;
    }
}

/* The caller computes its loss, between FORWARD and BACKWARD; returns whether the step goes on */
static int given_loss(const run *c, const batch *b, nn_team *team, int thread, int n_threads, failure *mine);

/* Rows of chunks [k, k + CHUNKS) of statistics */
typedef struct block {
    int64_t k0, k1, r0, r1;
} block;
static block block_at(const batch *b, int64_t k, int64_t end) {
    enum { CHUNKS = 4 };
    const int64_t k1 = k + CHUNKS < end ? k + CHUNKS : end, r1 = k1 * STATISTICS_ROWS;
    return (block){k, k1, k * STATISTICS_ROWS, r1 < b->rows ? r1 : b->rows};
}

/* With batch normalisations: their statistics need all rows, so that the threads meet at each, there and back. In between
 * blocks of rows go through the layers, and give their share of the next statistics while they are in cache. */
static void rows_by_segments(const run *c, const batch *b, nn_team *team, int thread, int n_threads, failure *f) {
    const nn_plan *p = c->p;
    nn_workspace *w = &c->p->training[0];
    const nn_pass pass = pass_of(c, b, 0, thread);
    const int64_t chunks = nn_ceil_div(b->rows, STATISTICS_ROWS);
    const int64_t first = chunks * thread / n_threads, end = chunks * (thread + 1) / n_threads;
    block k;
    for (int from = -1, to; from < p->n_layers; from = to) { /* -1: the inputs */
        if (from >= 0) {
            nn_barrier(team);
            nn_join_statistics(p, from, w, &pass, 0);
        }
        for (to = from + 1; to < p->n_layers && p->layers[to].kind != NN_BATCH_NORM;) to++;
        for (int64_t at = first; at < end && !bad_data(f); at = k.k1) {
            k = block_at(b, at, end);
            if (from < 0) gather_rows(c, w, b, 0, k.r0, k.r1, f);
            if (bad_data(f)) break;
            forward_rows(c, w, &pass, from < 0 ? 0 : from, to, k.r0, k.r1);
            if (to < p->n_layers)
                nn_statistics_of_chunks(p, to, w, &pass, 0, k.k0, k.k1);
            else if (c->job->given)
                hand_out(c, w, 0, k.r0, k.r1);
        }
    }
    int ends = bad_data(f);
    if (c->job->given && !given_loss(c, b, team, thread, n_threads, f)) ends = 1; /* but meets the others below */
    for (int from = p->n_layers, to; from >= 0; from = to) {                      /* n_layers: the loss */
        if (from < p->n_layers) {
            nn_barrier(team);
            nn_join_statistics(p, from, w, &pass, 1);
        }
        for (to = from - 1; to >= 0 && p->layers[to].kind != NN_BATCH_NORM;) to--;
        for (int64_t at = first; at < end && !ends; at = k.k1) {
            k = block_at(b, at, end);
            if (from == p->n_layers) loss_of_rows(c, w, b, 0, k.r0, k.r1, f);
            backward_rows(c, w, &pass, from < p->n_layers ? from : from - 1, to + 1, k.r0, k.r1);
            if (to >= 0) nn_statistics_of_chunks(p, to, w, &pass, 1, k.k0, k.k1);
        }
    }
}

static void chunk_gradient(const run *c, nn_workspace *w, const batch *b, int64_t chunk, failure *f) {
    const nn_plan *p = c->p;
    const int64_t offset = chunk * CHUNK, rows = b->rows - offset < CHUNK ? b->rows - offset : CHUNK;
    rows_through(c, w, b, offset, WHOLE, 0, rows, f);
    if (bad_data(f)) return;
    c->p->chunk_losses[chunk] = sum(w->row_loss, rows);
    char *part = c->p->parts + chunk * p->n_parameters * p->size;
    for (int l = 0; l < p->n_layers; l++) {
        const nn_geometry *g = &p->layers[l];
        const nn_outer o = nn_outer_of(p, w, l, rows);
        for (int64_t panel = 0; g->k > 0 && panel < g->panels; panel++) {
            char *dst = part + nn_weight_offset(p, l, panel, 0) * p->size;
            if (g->kind == NN_DENSE) {
                p->kernels->outer(&o, panel, 0, o.k + 1, dst);
            } else { /* layer normalisation: one with statistics of the batch does not go by chunks */
                const nn_pass pass = {.rows = rows};
                nn_norm_gradient(p, l, w, &pass, panel, dst);
            }
        }
    }
}

/* ---- phase 2 */

typedef struct place {
    int layer;
    int64_t panel, row;
} place;

/* Unit u of p->n_vectors, moved down to a row that a whole vector of inputs starts at */
static place locate(const nn_plan *p, int64_t u) {
    for (int l = 0; l < p->n_layers; l++) {
        const nn_geometry *g = &p->layers[l];
        const int64_t rows = g->k + 1;
        if (u >= rows * g->vectors) {
            u -= rows * g->vectors;
            continue;
        }
        const int64_t panel = u / (2 * rows), width = nn_panel_width(p, g->n_out, panel) / p->vector;
        const int64_t row = (u - panel * 2 * rows) / width;
        return (place){l, panel, row - row % p->vector};
    }
    return (place){p->n_layers, 0, 0};
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

/* Rows [k0, k1) of a panel: gradient, then optimizer and transposed copy, or into the gradient's buffer */
static void update_rows(const run *c, const batch *b, const nn_update *u, int layer, int64_t panel, int64_t k0,
                        int64_t k1, int thread, int shared) {
    const nn_plan *p = c->p;
    const nn_kernels *k = p->kernels;
    const nn_geometry *g = &p->layers[layer];
    const int64_t width = nn_panel_width(p, g->n_out, panel), at = nn_weight_offset(p, layer, panel, k0);
    _Alignas(64) char scratch[(UPDATE_ROWS + 1) * MOST_PANEL_BYTES];
    char *gradient = c->gradient ? c->gradient + at * p->size : scratch;
    if (c->given) gradient = c->given + at * p->size;
    if (shared && !c->gradient) prefetch_update(p, layer, panel, k0, k1);
    if (c->given) {
    } else if (c->chunked) {
        k->sum_parts((k1 - k0) * width, nn_ceil_div(b->rows, CHUNK), p->n_parameters, p->parts + at * p->size,
                     gradient);
    } else if (g->kind == NN_DENSE) {
        const nn_outer o = nn_outer_of(p, &p->training[0], layer, b->rows);
        k->outer(&o, panel, k0, k1, gradient);
    } else {
        const nn_pass pass = pass_of(c, b, 0, thread);
        nn_norm_gradient(p, layer, &p->training[0], &pass, panel, gradient);
    }
    /* Worked out it would be rounding errors, which Adam makes as large as any other. */
    if (g->idle_bias && b->rows > 1 && k1 > g->k)
        memset(gradient + (k1 - 1 - k0) * width * p->size, 0, (size_t)(width * p->size));
    if (c->gradient) return;
    if (b->factor != 1 || c->job->clip_value > 0) k->clip(b->factor, c->job->clip_value, (k1 - k0) * width, gradient);
    const int64_t weight_rows = g->kind != NN_DENSE ? 0 : k1 > g->k ? g->k - k0 : k1 - k0; /* which decay */
    char *slots[2];
    for (int s = 0; s < 2; s++) slots[s] = c->job->slots[s] ? (char *)c->job->slots[s] + at * p->size : NULL;
    char *w = p->parameters + at * p->size;
    if (g->l1 != 0 || g->l2 != 0) k->regularize(g->l1, g->l2, weight_rows * width, w, gradient);
    k->update(u, weight_rows * width, gradient, w, slots[0], slots[1]);
    if (k1 > g->k) { /* biases, gamma and beta: no decay */
        nn_update bias = *u;
        bias.decay = 0;
        const int64_t skip = weight_rows * width * p->size;
        k->update(&bias, (k1 - k0 - weight_rows) * width, gradient + skip, w + skip, slots[0] ? slots[0] + skip : NULL,
                  slots[1] ? slots[1] + skip : NULL);
    }
    if (nn_is_transposed(p, layer)) {
        const nn_transpose t = nn_transpose_of(p, layer);
        k->transpose(&t, panel, k0, k0 + weight_rows);
    }
}

static void update_units(const run *c, const batch *b, const nn_update *u, int64_t u0, int64_t u1, int thread) {
    const nn_plan *p = c->p;
    const place end = u1 >= p->n_vectors ? (place){p->n_layers, 0, 0} : locate(p, u1);
    for (place at = locate(p, u0); at.layer < p->n_layers; at = (place){at.layer + 1, 0, 0}) {
        if (at.layer > end.layer) return;
        const nn_geometry *g = &p->layers[at.layer];
        for (; at.panel < g->panels; at.panel++, at.row = 0) {
            int64_t stop = g->k + 1;
            if (at.layer == end.layer && at.panel >= end.panel) stop = at.panel == end.panel ? end.row : 0;
            for (int64_t k0 = at.row; k0 < stop;) {
                int64_t k1 = k0 + UPDATE_ROWS;
                if (k1 >= g->k) k1 = g->k + 1; /* the bias goes with the last weights */
                if (k1 > stop) k1 = stop;
                update_rows(c, b, u, at.layer, at.panel, k0, k1, thread, u1 - u0 < p->n_vectors);
                k0 = k1;
            }
        }
    }
}

static void update_share(const run *c, const batch *b, const nn_update *u, int thread, int n_threads) {
    const int64_t n = c->p->n_vectors;
    update_units(c, b, u, n * thread / n_threads, n * (thread + 1) / n_threads, thread);
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
    for (int64_t k = blocks * thread / n_threads; k < blocks * (thread + 1) / n_threads; k++) {
        const int64_t at = k * NORM_BLOCK, n = p->n_parameters - at < NORM_BLOCK ? p->n_parameters - at : NORM_BLOCK;
        sums[k] = p->kernels->sum_of_squares(n, p->gradients + at * p->size);
    }
    nn_barrier(team);
    const double length = sqrt(sum(sums, blocks)), limit = c->job->clip_norm;
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

/* Read by all threads before the first barrier of a step; job->mu_product is written between the two */
static nn_update update_of(const nn_job *job, int64_t step) {
    nn_update u = {.optimizer = job->optimizer,
                   .nesterov = job->nesterov,
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
        u.correction1 = 1 / (1 - pow(job->beta1, t));
        u.correction2 = 1 / sqrt(1 - pow(job->beta2, t));
        break;
    case NN_NADAM: {
        const double next = nadam_mu(job, t + 1);
        u.momentum = nadam_mu(job, t);
        const double product = job->mu_product * u.momentum;
        u.correction1 = next / (1 - product * next);
        u.correction2 = 1 / sqrt(1 - pow(job->beta2, t));
        u.correction3 = (1 - u.momentum) / (1 - product);
        break;
    }
    default: break;
    }
    return u;
}

/* ---- a step */

/* The failure of the step, the same for every thread that asks: bad data before divergence, then the first row */
static failure worst(const run *c, int n_threads) {
    failure f = {NN_OK, 0, -1};
    for (int t = 0; t < n_threads; t++) {
        const failure *o = &c->failures[t];
        if (o->status == NN_OK) continue;
        const int worse = bad_data(o) - bad_data(&f);
        if (f.status == NN_OK || worse > 0 || (worse == 0 && o->row < f.row)) f = *o;
    }
    return f;
}

/* Has the caller compute its loss from the batch's outputs */
static void ask_for_loss(const run *c, const batch *b, int n_threads, failure *mine) {
    const nn_plan *p = c->p;
    if (worst(c, n_threads).status != NN_OK) return;
    double losses = 0;
    const unsigned mode = nn_keep_subnormals();
    const nn_status status = c->job->given(c->job->context, b->order, b->first, b->rows, &losses);
    nn_restore_mode(mode);
    c->job->loss_sum += losses;
    if (status == NN_OK) return;
    *mine = (failure){status, 0, -1};
    for (int64_t r = 0; r < b->rows && mine->layer < 0; r++)
        *mine = (failure){status, r, first_bad_layer(p, &p->training[0], r)};
}

static int given_loss(const run *c, const batch *b, nn_team *team, int thread, int n_threads, failure *mine) {
    nn_barrier_patient(team);
    if (thread == 0) ask_for_loss(c, b, n_threads, mine);
    nn_barrier_patient(team);
    return worst(c, n_threads).status == NN_OK;
}

/* Runs one batch; returns whether it went well, and if so has updated (or filled the gradient) */
static failure one_batch(const run *c, const batch *b, const nn_update *u, nn_team *team, int thread, int n_threads,
                         int *given_up) {
    const nn_plan *p = c->p;
    failure *mine =
        &c->failures[thread]; /* not written but where something fails: other threads read it in each step */
    if (thread == 0 && !c->job->exact_threads) nn_watch_team(team, c->flops);
    if (c->chunked) {
        const int64_t chunks = nn_ceil_div(b->rows, CHUNK);
        for (int64_t k = chunks * thread / n_threads; k < chunks * (thread + 1) / n_threads && !bad_data(mine); k++)
            chunk_gradient(c, &p->training[thread], b, k, mine);
    } else if (p->n_segments > 1) {
        rows_by_segments(c, b, team, thread, n_threads, mine);
    } else {
        const int64_t r0 = b->rows * thread / n_threads, r1 = b->rows * (thread + 1) / n_threads;
        rows_in_blocks(c, b, c->job->given ? FORWARD : WHOLE, r0, r1, mine);
        if (c->job->given && given_loss(c, b, team, thread, n_threads, mine))
            rows_in_blocks(c, b, BACKWARD, r0, r1, mine);
    }
    nn_barrier(team);
    *given_up = nn_team_given_up(team);
    const failure f = worst(c, n_threads);
    const int goes_on = f.status == NN_OK || (c->gradient && f.status == NN_DIVERGED && !c->job->given);
    if (goes_on && thread == 0)
        c->job->loss_sum +=
            c->chunked ? sum(p->chunk_losses, nn_ceil_div(b->rows, CHUNK)) : sum(p->training[0].row_loss, b->rows);
    if (goes_on && thread == 0 && u->optimizer == NN_NADAM) {
        c->job->mu_product *= u->momentum;
        if (c->job->mu_product < 1e-20) c->job->mu_product = 0; /* 1 minus it is 1 either way */
    }
    if (goes_on && thread == 0 && p->n_segments > 1 && !c->gradient) {
        const nn_pass pass = pass_of(c, b, 0, thread);
        nn_update_running(p, &pass);
    }
    if (goes_on && c->job->clip_norm > 0 && !c->gradient)
        clipped_update(c, b, u, team, thread, n_threads);
    else if (goes_on)
        update_share(c, b, u, thread, n_threads);
    if (goes_on && p->has_max_norm && !c->gradient) {
        nn_barrier(team);
        limit_norms(p, thread, n_threads);
    }
    nn_barrier(team);
    return f;
}

static void run_task(void *context, nn_team *team, int thread, int n_threads) {
    const run *c = context;
    nn_job *job = c->job;
    const int shuffled = job->shuffle && job->batch < job->n; /* a batch of all rows is the same in any order */
    for (int64_t step = c->start; step < c->stop; step++) {
        const int64_t epoch = (c->first_step + step) / c->steps_per_epoch,
                      within = (c->first_step + step) % c->steps_per_epoch;
        const uint64_t stream = job->first_epoch + (uint64_t)epoch;
        if (shuffled && (within == 0 || step == c->start)) {
            if (thread == 0 && !(job->order_valid && job->order_epoch == stream)) {
                const int64_t began = nn_now();
                nn_permutation(job->seed, stream, (uint32_t)job->n, job->order, job->scratch);
                job->shuffle_ns += nn_now() - began;
                job->order_epoch = stream;
                job->order_valid = 1;
            }
            nn_barrier_patient(team);
        }
        const int64_t first = within * job->batch, rows = job->n - first < job->batch ? job->n - first : job->batch;
        const uint32_t *order = shuffled ? job->order : NULL;
        const batch b = {first, rows, order, batch_scale(job, order, first, rows), stream, 1};
        const nn_update u = update_of(job, step);
        if (within == 0 && thread == 0) job->loss_sum = 0;
        int given_up = 0;
        const failure f = one_batch(c, &b, &u, team, thread, n_threads, &given_up);
        if (f.status != NN_OK) {
            if (thread == 0) {
                job->steps_done = step;
                job->bad_row = b.order ? (int64_t)b.order[first + f.row] : first + f.row;
                job->bad_layer = f.layer;
            }
            return;
        }
        if (given_up && n_threads > 1) {
            if (thread != 0) return;
            nn_go_on_alone(team);
            n_threads = 1;
        }
    }
    if (thread == 0) job->steps_done = c->stop;
}

static void gradient_task(void *context, nn_team *team, int thread, int n_threads) {
    const run *c = context;
    const batch b = {0, c->job->n, NULL, batch_scale(c->job, NULL, 0, c->job->n), 0, 1};
    const nn_update none = {0};
    int given_up = 0;
    const failure f = one_batch(c, &b, &none, team, thread, n_threads, &given_up);
    if (thread == 0 && f.status != NN_OK) c->job->bad_row = f.row;
}

/* ---- preparation */

nn_status nn_job_prepare(nn_job *job, double *bytes_needed) {
    if (!job->shuffle || job->batch >= job->n) return NN_OK;
    if (job->n > (int64_t)UINT32_MAX) return NN_BAD_SIZE;
    const size_t scratch = nn_permutation_scratch((uint32_t)job->n);
    *bytes_needed = (double)job->n * sizeof *job->order + (double)scratch;
    job->order = nn_buffer_raw((size_t)job->n * sizeof *job->order);
    job->scratch = nn_buffer_raw(scratch);
    return job->order && job->scratch ? NN_OK : NN_NO_MEMORY;
}

void nn_job_release(nn_job *job) {
    nn_buffer_free(job->order);
    nn_buffer_free(job->scratch);
    job->order = NULL;
    job->scratch = NULL;
}

/* The mode, from the shape alone; then threads and memory for it */
static nn_status prepare(run *c, int64_t rows, int *threads, double *bytes_needed) {
    nn_plan *p = c->p;
    const int64_t chunks = nn_ceil_div(rows, CHUNK);
    c->chunked = nn_is_chunked(p, rows) && !c->job->given; /* whose outputs are wanted all at once */
    const nn_geometry *lowest = &p->layers[p->first < 0 ? 0 : p->first];
    const double first = lowest->kind == NN_DENSE ? 2.0 * (double)lowest->n_in * (double)lowest->n_out : 0;
    c->flops = (double)rows * (3 * p->flops_forward - first);
    *threads = nn_forced_threads() ? nn_forced_threads() : c->job->exact_threads;
    if (!*threads) {
        *threads = nn_usable_threads(c->job->max_threads);
        if (*threads > rows) *threads = (int)rows;
    }
    const double failures = (double)*threads * (double)sizeof *c->failures;
    if (nn_grow(&p->failures, &p->failures_bytes, failures, bytes_needed) != NN_OK) return NN_NO_MEMORY;
    c->failures = (failure *)(void *)p->failures;
    for (int t = 0; t < *threads; t++) c->failures[t] = (failure){NN_OK, 0, -1};
    if (c->job->clip_norm > 0) {
        const double sums = (double)nn_ceil_div(p->n_parameters, NORM_BLOCK) * sizeof(double);
        const double bytes = (double)p->n_parameters * (double)p->size + sums;
        if (nn_grow(&p->gradients, &p->gradients_bytes, bytes, bytes_needed) != NN_OK) return NN_NO_MEMORY;
    }
    const double statistics = (double)*threads * (double)p->n_statistics * (double)p->size;
    if (nn_grow(&p->statistics, &p->statistics_bytes, statistics, bytes_needed) != NN_OK) return NN_NO_MEMORY;
    if (!c->chunked) return nn_workspaces(p, 1, rows, bytes_needed);
    const nn_status status = nn_workspaces(p, *threads, CHUNK, bytes_needed);
    if (status != NN_OK) return status;
    const double parts = (double)chunks * (double)p->n_parameters * (double)p->size;
    const nn_status grown = nn_grow(&p->parts, &p->parts_bytes, parts + (double)chunks * sizeof(double), bytes_needed);
    /* parameter-shaped buffers are whole vectors, so that the doubles behind them are aligned */
    if (grown == NN_OK) p->chunk_losses = (double *)(void *)(p->parts + (size_t)parts);
    return grown;
}

nn_status nn_run(nn_plan *p, nn_job *job, int64_t first_step, int64_t n_steps, double *bytes_needed) {
    run c = {.p = p, .job = job, .first_step = first_step, .steps_per_epoch = nn_ceil_div(job->n, job->batch)};
    int threads = 1;
    job->steps_done = 0;
    job->bad_row = job->bad_layer = -1;
    nn_status status = prepare(&c, job->batch, &threads, bytes_needed);
    const int forced = nn_forced_threads() || job->exact_threads;
    const int tuned = !forced && !job->given && nn_tune(p, job->batch, job->optimizer, threads);
    if (job->given && !forced) { /* its time says nothing of the threads */
        const int worth = nn_choose_threads(c.flops, job->max_threads);
        if (worth < threads) threads = worth;
    }
    while (status == NN_OK && job->steps_done < n_steps) {
        const int team = tuned                  ? nn_tuner_pick(p->tuner, nn_is_short(c.flops) && nn_contended())
                         : forced || job->given ? threads
                                                : 1;
        const int64_t left = n_steps - job->steps_done, steps = tuned ? nn_tuner_steps(p->tuner) : left;
        c.start = job->steps_done;
        c.stop = c.start + (steps < left ? steps : left);
        const int64_t began = nn_now();
        job->shuffle_ns = 0;
        job->threads = nn_parallel(team, run_task, &c);
        if (job->steps_done < c.stop)
            status = worst(&c, job->threads).status;
        else if (tuned)
            nn_tuner_took(p->tuner, (double)(nn_now() - began - job->shuffle_ns) / (double)(c.stop - c.start),
                          c.stop - c.start);
    }
    job->updates += job->steps_done;
    return status;
}

nn_status nn_loss_and_gradient(nn_plan *p, nn_job *job, double *loss, void *gradient, double *bytes_needed) {
    run c = {.p = p, .job = job, .gradient = gradient};
    int threads = 1;
    job->loss_sum = 0;
    nn_status status = prepare(&c, job->n, &threads, bytes_needed);
    if (status == NN_OK) {
        const int worth = nn_choose_threads(c.flops, job->max_threads);
        job->threads = nn_parallel(worth < threads ? worth : threads, gradient_task, &c);
        status = worst(&c, job->threads).status;
        if (status == NN_DIVERGED && !job->given) status = NN_OK; /* the caller sees it in the loss */
        *loss = job->weights ? job->loss_sum * batch_scale(job, NULL, 0, job->n) : job->loss_sum / (double)job->n;
    }
    return status;
}
