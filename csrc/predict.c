/* predict.c: outputs for new rows. Blocks of rows go through all layers in two buffers that stay in cache. */
#include "predict.h"

#include <stdatomic.h>

#include "layers.h"
#include "sparse.h"

enum { BLOCK = 112 };                      /* a whole number of the tallest register tiles */
static const int64_t ASK_AFTER = 50000000; /* ns */

typedef struct prediction {
    const nn_plan *p;
    const char *x;
    const nn_csr *csr; /* or sparse rows in place of x */
    char *out;
    int64_t n, rows; /* rows of a buffer */
    int n_layers;
    size_t buffer_bytes, entry_bytes;
    nn_asks asks;
    void *context;
    atomic_int stopped;
} prediction;

static void ask(prediction *c, int64_t *asked) {
    if (!c->asks || nn_now() - *asked < ASK_AFTER) return;
    const unsigned mode = nn_keep_subnormals();
    if (c->asks(c->context)) atomic_store(&c->stopped, 1);
    nn_restore_mode(mode);
    *asked = nn_now();
}

static int64_t widest(const nn_plan *p, int sparse) {
    int64_t panels = sparse ? 0 : nn_ceil_div(p->layers[0].n_in, p->panel);
    for (int l = 0; l < p->n_layers; l++)
        if (p->layers[l].panels > panels) panels = p->layers[l].panels;
    return panels;
}

/* The first layer of sparse rows, into panels */
static void sparse_rows(const prediction *c, char *memory, int64_t first, int64_t rows, char *to) {
    const nn_plan *p = c->p;
    const int own = p->layers[0].activation;
    const int64_t capacity = nn_most_entries(c->csr, c->rows);
    nn_sparse_gather g = {.x = c->csr, .n = p->layers[0].n_in, .first = first};
    nn_lay_entries(p, &g.to, memory, c->rows, capacity);
    nn_place_rows(c->csr, NULL, first, capacity, &g.to, 0, rows);
    for (int64_t r = 0; (r = p->kernels->sparse_gather(&g, r, rows)) >= 0; r++) continue;
    const nn_product f = nn_forward_of(p, 0, NULL, to, c->rows, own == NN_SOFTMAX ? NN_IDENTITY : own);
    p->kernels->sparse_forward(&f, &g.to, 0, rows);
}

static void predict_task(void *context, nn_team *team, int thread, int n_threads) {
    prediction *c = context;
    const nn_plan *p = c->p;
    const nn_kernels *k = p->kernels;
    (void)team;
    char *from = p->predicting + (size_t)thread * (2 * c->buffer_bytes + c->entry_bytes), *to = from + c->buffer_bytes;
    char *const entries = to + c->buffer_bytes;
    const int64_t blocks = nn_ceil_div(c->n, c->rows);
    const nn_geometry *last = &p->layers[c->n_layers - 1];
    int64_t asked = thread == 0 && c->asks ? nn_now() : 0;
    for (int64_t b = nn_share(blocks, thread, n_threads); b < nn_share(blocks, thread + 1, n_threads); b++) {
        if (thread == 0) ask(c, &asked);
        if (atomic_load_explicit(&c->stopped, memory_order_relaxed)) return;
        const int64_t first = b * c->rows, rows = c->n - first < c->rows ? c->n - first : c->rows;
        const nn_gather g = {.x = c->x,
                             .stride = p->layers[0].n_in,
                             .n = p->layers[0].n_in,
                             .first = first,
                             .panels = from,
                             .panel_rows = c->rows,
                             .width = (int)p->vector};
        /* a row with NaN or infinity stops gather: go on behind it, the row's outputs show it */
        for (int64_t r = 0; !c->csr && (r = k->gather(&g, r, rows)) >= 0; r++) continue;
        if (c->csr) sparse_rows(c, entries, first, rows, from);
        for (int l = c->csr ? 1 : 0; l < c->n_layers; l++) {
            const nn_geometry *layer = &p->layers[l];
            const int own = layer->activation, activation = own == NN_SOFTMAX ? NN_IDENTITY : own;
            if (layer->kind == NN_DROPOUT || layer->kind == NN_NOISE) continue;
            if (layer->kind == NN_DENSE) {
                const nn_product f = nn_forward_of(p, l, from, to, c->rows, activation);
                k->forward(&f, 0, rows);
            } else if (layer->kind == NN_COLUMNS) {
                nn_columns_forward(p, from, to, c->rows, 0, rows);
            } else {
                nn_norm f = nn_norm_of(p, l);
                f.x = from;
                f.out = to;
                f.x_rows = f.out_rows = c->rows;
                f.activation = activation;
                f.alpha = layer->alpha;
                (layer->kind == NN_BATCH_NORM ? k->batch_norm : k->layer_norm)(&f, 0, rows);
            }
            char *swap = from;
            from = to;
            to = swap;
        }
        if (last->activation == NN_SOFTMAX) k->softmax(from, c->rows, last->n_out, 0, rows, (int)p->vector);
        const nn_scatter s = {.panels = from,
                              .panel_rows = c->rows,
                              .n = last->n_out,
                              .y = c->out,
                              .stride = last->n_out,
                              .first = first,
                              .width = (int)p->vector};
        k->scatter(&s, 0, rows);
    }
}

nn_status nn_predict_asking(nn_plan *p, const void *x, const nn_csr *csr, int64_t n, int n_layers, void *out,
                            int max_threads, nn_asks asks, void *context, double *bytes_needed) {
    prediction c = {.p = p,
                    .x = x,
                    .csr = csr,
                    .out = out,
                    .n = n,
                    .rows = n < BLOCK ? n : BLOCK,
                    .n_layers = n_layers,
                    .asks = asks,
                    .context = context};
    double flops = (double)n * p->flops_forward;
    c.buffer_bytes = nn_times3((size_t)widest(p, csr != NULL), (size_t)c.rows, (size_t)(p->panel * p->size));
    if (csr) {
        const nn_geometry *g = &p->layers[0];
        if (g->kind != NN_DENSE || g->n_in > INT32_MAX) return NN_BAD_SIZE;
        flops += 2.0 * ((double)csr->stored - (double)n * (double)g->n_in) * (double)g->n_out;
        c.entry_bytes = nn_entries_bytes(p, c.rows, nn_most_entries(csr, c.rows));
    }
    const int threads = nn_choose_threads(flops, max_threads);
    const size_t bytes = nn_times(nn_plus(nn_times(2, c.buffer_bytes), c.entry_bytes), (size_t)threads);
    const nn_status status = nn_grow(&p->predicting, &p->predicting_bytes, bytes, bytes_needed);
    if (status != NN_OK) return status;
    nn_parallel(threads, predict_task, &c);
    return atomic_load(&c.stopped) ? NN_STOPPED : NN_OK;
}

nn_status nn_predict(nn_plan *p, const void *x, const nn_csr *csr, int64_t n, int n_layers, void *out, int max_threads,
                     double *bytes_needed) {
    return nn_predict_asking(p, x, csr, n, n_layers, out, max_threads, NULL, NULL, bytes_needed);
}
