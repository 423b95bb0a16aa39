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

#include "cost.h"
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
    char *gradient;    /* where it is asked for rather than an update; else NULL */
    failure *failures; /* one for each thread; a failure ends the call */
} run;

typedef struct batch {
    int64_t first, rows; /* order[first .. first + rows) */
    const uint32_t *order;
    double scale; /* 1 / rows, or 1 / (sum of their weights) */
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

/* Rows [r0, r1) of a workspace, whose row r is row b->first + offset + r of the order: up to the outputs */
INLINE void rows_forward(const run *c, nn_workspace *w, const batch *b, int64_t offset, int64_t r0, int64_t r1,
                         failure *f) {
    const nn_plan *p = c->p;
    const nn_kernels *k = p->kernels;
    const nn_job *job = c->job;
    const int last = p->n_layers - 1;
    const nn_geometry *layers = p->layers;
    const int64_t first = b->first + offset;
    const int width = (int)p->vector;
    const int head = layers[last].activation;
    const int logits = head == NN_SOFTMAX || (head == NN_SIGMOID && job->loss == NN_BCE) ||
                       (head == NN_EXPONENTIAL_HEAD && job->loss == NN_POISSON);

    nn_gather g = {job->x, layers[0].n_in, layers[0].n_in, b->order, first, w->act[0], w->rows, width};
    int64_t bad = k->gather(&g, r0, r1);
    if (bad >= 0) {
        *f = (failure){NN_BAD_X, offset + bad, -1};
        return;
    }
    if (job->y) {
        g = (nn_gather){job->y, layers[last].n_out, layers[last].n_out, b->order, first, w->delta[last + 1], w->rows,
                        width};
        if ((bad = k->gather(&g, r0, r1)) >= 0) {
            *f = (failure){NN_BAD_Y, offset + bad, -1};
            return;
        }
    }
    for (int l = 0; l <= last; l++) {
        const int activation = l == last && logits ? NN_IDENTITY : layers[l].activation;
        const nn_product forward = nn_forward_of(p, l, w->act[l], w->act[l + 1], w->rows, activation);
        k->forward(&forward, r0, r1);
    }
    if (!job->given) return;
    if (head == NN_SOFTMAX) k->softmax(w->act[last + 1], w->rows, layers[last].n_out, r0, r1, width);
    const nn_scatter s = {w->act[last + 1], w->rows, layers[last].n_out, job->given_outputs, layers[last].n_out, NULL,
                          offset,           width};
    k->scatter(&s, r0, r1);
}

/* And from the outputs on */
INLINE void rows_backward(const run *c, nn_workspace *w, const batch *b, int64_t offset, int64_t r0, int64_t r1,
                          failure *f) {
    const nn_plan *p = c->p;
    const nn_kernels *k = p->kernels;
    const nn_job *job = c->job;
    const int last = p->n_layers - 1;
    const nn_geometry *layers = p->layers;
    const int64_t first = b->first + offset;
    const int width = (int)p->vector;
    if (job->given) {
        const nn_gather g = {job->given_gradient,
                             layers[last].n_out,
                             layers[last].n_out,
                             NULL,
                             offset,
                             w->delta[last + 1],
                             w->rows,
                             width};
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
                               job->smoothing};
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
    for (int l = last; l > 0; l--) {
        const nn_product backward = nn_backward_of(p, l, w);
        k->backward(&backward, r0, r1);
    }
}

static void rows_through(const run *c, nn_workspace *w, const batch *b, int64_t offset, int64_t r0, int64_t r1,
                         failure *f) {
    rows_forward(c, w, b, offset, r0, r1, f);
    if (!bad_data(f)) rows_backward(c, w, b, offset, r0, r1, f);
}

enum part { WHOLE, FORWARD, BACKWARD };

/* In blocks whose activations stay in cache from layer to layer, forward and back */
static void rows_in_blocks(const run *c, const batch *b, enum part part, int64_t r0, int64_t r1, failure *f) {
    nn_workspace *w = &c->p->training[0];
    for (int64_t blocks = nn_ceil_div(r1 - r0, BLOCK); blocks && !bad_data(f); blocks--) {
        const int64_t end = r0 + nn_ceil_div(r1 - r0, blocks);
        if (part == WHOLE)
            rows_through(c, w, b, 0, r0, end, f);
        else if (part == FORWARD)
            rows_forward(c, w, b, 0, r0, end, f);
        else
            rows_backward(c, w, b, 0, r0, end, f);
        r0 = end;
    }
}

static void chunk_gradient(const run *c, nn_workspace *w, const batch *b, int64_t chunk, failure *f) {
    const nn_plan *p = c->p;
    const int64_t offset = chunk * CHUNK, rows = b->rows - offset < CHUNK ? b->rows - offset : CHUNK;
    rows_through(c, w, b, offset, 0, rows, f);
    if (bad_data(f)) return;
    c->p->chunk_losses[chunk] = sum(w->row_loss, rows);
    char *part = c->p->parts + chunk * p->n_parameters * p->size;
    for (int l = 0; l < p->n_layers; l++) {
        const nn_outer o = nn_outer_of(p, w, l, rows);
        for (int64_t panel = 0; panel < p->layers[l].panels; panel++)
            p->kernels->outer(&o, panel, 0, o.k + 1, part + nn_weight_offset(p, l, panel, 0) * p->size);
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
        const int64_t rows = g->n_in + 1;
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
    if (layer == 0) return;
    const int64_t columns = g->n_out - first < p->panel ? g->n_out - first : p->panel;
    for (int64_t k = k0 - k0 % p->panel; k < k1 && k < g->n_in; k += p->panel) {
        const int64_t turned = nn_panel_width(p, g->n_in, k / p->panel);
        nn_prefetch_all_to_write(p->transposed + (g->transposed + k * g->n_out + first * turned) * p->size,
                                 columns * turned * p->size);
    }
}

/* Rows [k0, k1) of a panel: gradient, then optimizer and transposed copy, or into the gradient's buffer */
static void update_rows(const run *c, const batch *b, const nn_update *u, int layer, int64_t panel, int64_t k0,
                        int64_t k1, int shared) {
    const nn_plan *p = c->p;
    const nn_kernels *k = p->kernels;
    const nn_geometry *g = &p->layers[layer];
    const int64_t width = nn_panel_width(p, g->n_out, panel), at = nn_weight_offset(p, layer, panel, k0);
    _Alignas(64) char scratch[(UPDATE_ROWS + 1) * MOST_PANEL_BYTES];
    char *gradient = c->gradient ? c->gradient + at * p->size : scratch;
    if (shared && !c->gradient) prefetch_update(p, layer, panel, k0, k1);
    if (c->chunked) {
        k->sum_parts((k1 - k0) * width, nn_ceil_div(b->rows, CHUNK), p->n_parameters, p->parts + at * p->size,
                     gradient);
    } else {
        const nn_outer o = nn_outer_of(p, &p->training[0], layer, b->rows);
        k->outer(&o, panel, k0, k1, gradient);
    }
    if (c->gradient) return;
    const int64_t weight_rows = k1 > g->n_in ? g->n_in - k0 : k1 - k0;
    char *slots[2];
    for (int s = 0; s < 2; s++) slots[s] = c->job->slots[s] ? (char *)c->job->slots[s] + at * p->size : NULL;
    char *w = p->parameters + at * p->size;
    k->update(u, weight_rows * width, gradient, w, slots[0], slots[1]);
    if (k1 > g->n_in) { /* the bias: no decay */
        nn_update bias = *u;
        bias.decay = 0;
        const int64_t skip = weight_rows * width * p->size;
        k->update(&bias, width, gradient + skip, w + skip, slots[0] ? slots[0] + skip : NULL,
                  slots[1] ? slots[1] + skip : NULL);
    }
    if (layer) {
        const nn_transpose t = nn_transpose_of(p, layer);
        k->transpose(&t, panel, k0, k0 + weight_rows);
    }
}

static void update_units(const run *c, const batch *b, const nn_update *u, int64_t u0, int64_t u1) {
    const nn_plan *p = c->p;
    const place end = u1 >= p->n_vectors ? (place){p->n_layers, 0, 0} : locate(p, u1);
    for (place at = locate(p, u0); at.layer < p->n_layers; at = (place){at.layer + 1, 0, 0}) {
        if (at.layer > end.layer) return;
        const nn_geometry *g = &p->layers[at.layer];
        for (; at.panel < g->panels; at.panel++, at.row = 0) {
            int64_t stop = g->n_in + 1;
            if (at.layer == end.layer && at.panel >= end.panel) stop = at.panel == end.panel ? end.row : 0;
            for (int64_t k0 = at.row; k0 < stop;) {
                int64_t k1 = k0 + UPDATE_ROWS;
                if (k1 >= g->n_in) k1 = g->n_in + 1; /* the bias goes with the last weights */
                if (k1 > stop) k1 = stop;
                update_rows(c, b, u, at.layer, at.panel, k0, k1, u1 - u0 < p->n_vectors);
                k0 = k1;
            }
        }
    }
}

static nn_update update_of(const nn_job *job, int64_t step) {
    nn_update u = {.optimizer = job->optimizer,
                   .nesterov = job->nesterov,
                   .decay = job->decay,
                   .momentum = job->momentum,
                   .beta1 = job->beta1,
                   .beta2 = job->beta2,
                   .epsilon = job->epsilon};
    u.rate = job->n_rates == 1 ? job->rates[0] : job->rates[step];
    if (job->optimizer == NN_ADAM) {
        const double t = (double)(job->updates + step + 1);
        u.correction1 = 1 / (1 - pow(job->beta1, t));
        u.correction2 = 1 / sqrt(1 - pow(job->beta2, t));
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
    } else {
        const int64_t r0 = b->rows * thread / n_threads, r1 = b->rows * (thread + 1) / n_threads;
        rows_in_blocks(c, b, c->job->given ? FORWARD : WHOLE, r0, r1, mine);
        if (c->job->given) {
            nn_barrier_patient(team);
            if (thread == 0) ask_for_loss(c, b, n_threads, mine);
            nn_barrier_patient(team);
            if (worst(c, n_threads).status == NN_OK) rows_in_blocks(c, b, BACKWARD, r0, r1, mine);
        }
    }
    nn_barrier(team);
    *given_up = nn_team_given_up(team);
    const failure f = worst(c, n_threads);
    const int goes_on = f.status == NN_OK || (c->gradient && f.status == NN_DIVERGED && !c->job->given);
    if (goes_on && thread == 0)
        c->job->loss_sum +=
            c->chunked ? sum(p->chunk_losses, nn_ceil_div(b->rows, CHUNK)) : sum(p->training[0].row_loss, b->rows);
    if (goes_on) update_units(c, b, u, p->n_vectors * thread / n_threads, p->n_vectors * (thread + 1) / n_threads);
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
        const batch b = {first, rows, order, batch_scale(job, order, first, rows)};
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
    const batch b = {0, c->job->n, NULL, batch_scale(c->job, NULL, 0, c->job->n)};
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
    const double first = 2.0 * (double)p->layers[0].n_in * (double)p->layers[0].n_out;
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
