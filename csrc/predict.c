/* predict.c: outputs for new rows. Blocks of rows go through all layers in two buffers that stay in cache. */
#include "layers.h"

enum { BLOCK = 112 }; /* a whole number of the tallest register tiles */

typedef struct prediction {
    const nn_plan *p;
    const char *x;
    char *out;
    int64_t n, rows; /* rows of a buffer */
    int n_layers;
    size_t buffer_bytes;
} prediction;

static int64_t widest(const nn_plan *p) {
    int64_t panels = nn_ceil_div(p->layers[0].n_in, p->panel);
    for (int l = 0; l < p->n_layers; l++)
        if (p->layers[l].panels > panels) panels = p->layers[l].panels;
    return panels;
}

static void predict_task(void *context, nn_team *team, int thread, int n_threads) {
    const prediction *c = context;
    const nn_plan *p = c->p;
    const nn_kernels *k = p->kernels;
    (void)team;
    char *from = p->predicting + (size_t)thread * 2 * c->buffer_bytes, *to = from + c->buffer_bytes;
    const int64_t blocks = nn_ceil_div(c->n, c->rows);
    const nn_geometry *last = &p->layers[c->n_layers - 1];
    for (int64_t b = blocks * thread / n_threads; b < blocks * (thread + 1) / n_threads; b++) {
        const int64_t first = b * c->rows, rows = c->n - first < c->rows ? c->n - first : c->rows;
        const nn_gather g = {.x = c->x,
                             .stride = p->layers[0].n_in,
                             .n = p->layers[0].n_in,
                             .first = first,
                             .panels = from,
                             .panel_rows = c->rows,
                             .width = (int)p->vector};
        /* a row with NaN or infinity stops gather: go on behind it, the row's outputs show it */
        for (int64_t r = 0; (r = k->gather(&g, r, rows)) >= 0; r++) continue;
        for (int l = 0; l < c->n_layers; l++) {
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

nn_status nn_predict(nn_plan *p, const void *x, int64_t n, int n_layers, void *out, int max_threads,
                     double *bytes_needed) {
    prediction c = {p, x, out, n, n < BLOCK ? n : BLOCK, n_layers, 0};
    int threads = nn_choose_threads((double)n * p->flops_forward, max_threads);
    c.buffer_bytes = nn_times3((size_t)widest(p), (size_t)c.rows, (size_t)(p->panel * p->size));
    const size_t bytes = nn_times3(2, c.buffer_bytes, (size_t)threads);
    const nn_status status = nn_grow(&p->predicting, &p->predicting_bytes, bytes, bytes_needed);
    if (status != NN_OK) return status;
    nn_parallel(threads, predict_task, &c);
    return NN_OK;
}
