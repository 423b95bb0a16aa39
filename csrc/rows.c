/* rows.c: the first phase of a step: each thread takes its rows of the batch through gather, all layers forward, the loss
 * and all layers backward, in blocks that stay in cache; train.c says what the phases are.
 */
#include <string.h>

#include "sparse.h"
#include "step.h"

enum { BLOCK = 168 }; /* rows that go through the layers together */

/* First layer with an output of row r that is not finite; -1 for none */
static int first_bad_layer(const nn_plan *p, const nn_workspace *w, int64_t r) {
    for (int l = 0; l < p->n_layers; l++)
        for (int64_t panel = 0; panel < p->layers[l].panels; panel++) {
            const int64_t left = p->layers[l].n_out - panel * p->panel, columns = left < p->panel ? left : p->panel;
            if (!p->kernels->finite(columns, w->act[l + 1] + (panel * w->rows + r) * p->panel * p->size)) return l;
        }
    return -1;
}

nn_pass nn_pass_of(const run *c, const batch *b, int64_t offset, int thread) {
    const nn_plan *p = c->p;
    return (nn_pass){.rows = b->rows,
                     .dropping = !c->gradient,
                     .seed = c->job->seed,
                     .stream = b->stream,
                     .first = c->job->first_row + b->first + offset,
                     .statistics = p->n_statistics ? p->statistics + thread * p->n_statistics * p->size : NULL};
}

/* 1 / (number of rows), or 1 / (sum of their weights) and 0 where none counts; every thread does this sum, alike. */
double nn_weighted_scale(const nn_job *job, const uint32_t *order, int64_t first, int64_t rows) {
    const double *w = job->weights;
    double s[8] = {0};
    for (int64_t i = 0; i < rows; i++) s[i % 8] += w[order ? (int64_t)order[first + i] : first + i];
    const double total = nn_sum(s, 8);
    return total > 0 ? 1 / total : 0;
}

static double weight_of(const nn_job *job, const batch *b, int64_t first, int64_t r) {
    return job->weights ? job->weights[b->order ? (int64_t)b->order[first + r] : first + r] : 1;
}

/* What is not finite among n numbers becomes zero; x may lie anywhere where n is below a vector. */
static void clear_not_finite(const nn_plan *p, int64_t n, char *x) {
    if (p->kernels->finite(n, x)) return;
    for (int64_t i = 0; i < n; i++) {
        char *at = x + i * p->size;
        if (!isfinite(p->dtype == NN_F32 ? (double)*(float *)(void *)at : *(double *)(void *)at))
            memset(at, 0, (size_t)p->size);
    }
}

/* Makes a row that does not count add nothing to any gradient, even where its loss or its outputs are infinite: its
 * gradient is zero, and what that will be multiplied with is finite, as zero times infinity is no zero. */
static void discount(const nn_plan *p, const nn_workspace *w, int64_t r) {
    const int last = p->n_layers - 1;
    for (int l = 0; l <= last; l++) {
        for (int64_t panel = 0; panel < p->layers[l].panels; panel++) {
            const int64_t at = (panel * w->rows + r) * p->panel * p->size;
            if (l == last) {
                memset(w->delta[l + 1] + at, 0, (size_t)(p->panel * p->size));
                continue; /* its outputs are only read */
            }
            clear_not_finite(p, p->panel, w->act[l + 1] + at);
            if (w->slope[l + 1]) clear_not_finite(p, p->panel, w->slope[l + 1] + at);
        }
        if (w->row_stats[l]) clear_not_finite(p, 2, w->row_stats[l] + 2 * r * p->size);
    }
}

/* Times the weights; not inline, so that steps without any have nothing of it. */
static __attribute__((noinline)) void weigh(const run *c, const nn_workspace *w, const batch *b, int64_t first,
                                            int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++) {
        const double weight = weight_of(c->job, b, first, r);
        w->row_loss[r] = weight > 0 ? weight * w->row_loss[r] : 0;
        if (!(weight > 0)) discount(c->p, w, r);
    }
}

static inline int is_from_logits(const run *c) {
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
    int64_t bad;
    if (job->csr) {
        const nn_sparse_gather s = {job->csr, layers[0].n_in, b->order, first, w->entries};
        bad = p->kernels->sparse_gather(&s, r0, r1);
    } else {
        bad = p->kernels->gather(&g, r0, r1);
    }
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
                               job->gradient_factor != 0 ? b->scale * job->gradient_factor : b->scale,
                               w->row_loss,
                               width,
                               job->weights,
                               job->loss_parameter,
                               job->smoothing,
                               w->slope[last + 1],
                               job->least,
                               job->most};
    k->loss(&loss, r0, r1);
    if (job->weights) weigh(c, w, b, first, r0, r1);
    if (!isfinite(nn_sum(w->row_loss + r0, r1 - r0)))
        for (int64_t r = r0; r < r1 && f->status == NN_OK; r++)
            if (!isfinite(w->row_loss[r])) *f = (failure){NN_DIVERGED, offset + r, first_bad_layer(p, w, r)};
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
    const nn_pass pass = nn_pass_of(c, b, offset, 0);
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

/* The failure of the step, the same for every thread that asks: bad data before divergence, then the first row */
failure nn_worst(const run *c, int n_threads) {
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
    if (nn_worst(c, n_threads).status != NN_OK) return;
    double losses = 0;
    const unsigned mode = nn_keep_subnormals();
    const nn_status status = c->job->given(c->job->context, b->order, b->first, b->rows, &losses);
    nn_restore_mode(mode);
    c->job->loss_sum += c->job->by_batch ? losses * b->scale * (double)b->rows : losses;
    if (status == NN_OK) return;
    *mine = (failure){status, 0, -1};
    for (int64_t r = 0; r < b->rows && mine->layer < 0; r++)
        if (weight_of(c->job, b, b->first, r) > 0) *mine = (failure){status, r, first_bad_layer(p, &p->training[0], r)};
}

static int given_loss(const run *c, const batch *b, nn_team *team, int thread, int n_threads, failure *mine) {
    nn_barrier_patient(team);
    if (thread == 0) ask_for_loss(c, b, n_threads, mine);
    nn_barrier_patient(team);
    return nn_worst(c, n_threads).status == NN_OK;
}

/* Rows of chunks [k, k + CHUNKS) of statistics */
typedef struct block {
    int64_t k0, k1, r0, r1;
} block;
static block block_at(const batch *b, int64_t k, int64_t end) {
    enum { CHUNKS = 4 };
    const int64_t k1 = k + CHUNKS < end ? k + CHUNKS : end, r1 = k1 * STATISTICS_ROWS;
    return (block){k, k1, k * STATISTICS_ROWS, r1 < b->rows ? r1 : b->rows};
}

/* A thread's rows of a batch begin here, and end where the next one's do. Batch normalisations: with whole chunks of their
 * statistics. */
int64_t nn_first_row(const nn_plan *p, int64_t rows, int thread, int n_threads) {
    if (p->n_segments == 1) return nn_share(rows, thread, n_threads);
    const int64_t first = nn_share(nn_ceil_div(rows, STATISTICS_ROWS), thread, n_threads) * STATISTICS_ROWS;
    return first < rows ? first : rows;
}

/* With batch normalisations: their statistics need all rows, so that the threads meet at each, there and back. In between
 * blocks of rows go through the layers, and give their share of the next statistics while they are in cache. */
static void rows_by_segments(const run *c, const batch *b, nn_team *team, int thread, int n_threads, failure *f) {
    const nn_plan *p = c->p;
    nn_workspace *w = &c->p->training[0];
    const nn_pass pass = nn_pass_of(c, b, 0, thread);
    const int64_t chunks = nn_ceil_div(b->rows, STATISTICS_ROWS);
    const int64_t first = nn_share(chunks, thread, n_threads), end = nn_share(chunks, thread + 1, n_threads);
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

/* Says where the entries of rows [r0, r1) go, where X is sparse. */
static void place_rows(const run *c, const nn_workspace *w, const batch *b, int64_t offset, int64_t r0, int64_t r1) {
    if (!c->job->csr) return;
    nn_entries e = w->entries;
    nn_place_rows(c->job->csr, b->order, b->first + offset, c->most_entries, &e, r0, r1);
}

static void chunk_gradient(const run *c, nn_workspace *w, const batch *b, int64_t chunk, failure *f) {
    const nn_plan *p = c->p;
    const int64_t offset = chunk * CHUNK, rows = b->rows - offset < CHUNK ? b->rows - offset : CHUNK;
    place_rows(c, w, b, offset, 0, rows);
    rows_through(c, w, b, offset, WHOLE, 0, rows, f);
    if (bad_data(f)) return;
    c->p->chunk_losses[chunk] = nn_sum(w->row_loss, rows);
    char *part = c->p->parts + chunk * p->n_parameters * p->size;
    for (int l = 0; l < p->n_blocks; l++) {
        const nn_geometry *g = &p->layers[l];
        for (int64_t panel = 0; g->k >= 0 && panel < g->panels; panel++) {
            char *dst = part + nn_weight_offset(p, l, panel, 0) * p->size;
            if (g->kind == NN_DENSE) {
                const nn_outer o = nn_outer_of(p, w, l, rows);
                const int sparse = l == 0 && w->sparse;
                if (sparse) nn_sparse_gradient(p, &o, w->sparse, w->sparse->end[rows - 1], panel, dst);
                const int64_t k0 = sparse ? o.k : 0;
                p->kernels->outer(&o, panel, k0, o.k + 1, dst + k0 * nn_panel_width(p, g->n_out, panel) * p->size);
            } else if (g->kind == NN_TABLE) {
                const nn_embedding e = nn_embedding_of(p, l, w->act[0], w->delta[1], w->rows);
                p->kernels->embedding_gradient(&e, rows, panel, 0, g->k + 1, dst);
            } else { /* layer normalisation: one with statistics of the batch does not go by chunks */
                const nn_pass pass = {.rows = rows};
                nn_norm_gradient(p, l, w, &pass, panel, dst);
            }
        }
    }
}

void nn_rows_of_batch(const run *c, const batch *b, nn_team *team, int thread, int n_threads) {
    const nn_plan *p = c->p;
    failure *mine = &c->failures[thread]; /* not written but where something fails: others read it in each step */
    if (c->chunked) {
        const int64_t chunks = nn_ceil_div(b->rows, CHUNK);
        for (int64_t k = nn_share(chunks, thread, n_threads);
             k < nn_share(chunks, thread + 1, n_threads) && !bad_data(mine); k++)
            chunk_gradient(c, &p->training[thread], b, k, mine);
        return;
    }
    const int64_t r0 = nn_first_row(p, b->rows, thread, n_threads),
                  r1 = nn_first_row(p, b->rows, thread + 1, n_threads);
    place_rows(c, &p->training[0], b, 0, r0, r1);
    if (p->n_segments > 1) {
        rows_by_segments(c, b, team, thread, n_threads, mine);
    } else {
        rows_in_blocks(c, b, c->job->given ? FORWARD : WHOLE, r0, r1, mine);
        if (c->job->given && given_loss(c, b, team, thread, n_threads, mine))
            rows_in_blocks(c, b, BACKWARD, r0, r1, mine);
    }
    if (c->job->csr && !bad_data(mine)) nn_count_entries(c->p, thread, r0, r1);
}
