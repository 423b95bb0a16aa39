/* layers.c: one layer's part of a step for rows [r0, r1): outputs from inputs, the gradient by the inputs from that by
 * the outputs; and the statistics of batch normalisation, which the whole batch has a share in.
 *
 * Layer l reads act[l] and writes act[l + 1]; delta[l + 1] is the gradient by what its activation gets, so that going
 * back each layer also takes the derivative of the activation below it.
 * Statistics are worked out for chunks of STATISTICS_ROWS rows, which do not depend on the threads, and joined in their
 * order by every thread for itself.
 */
#include "layers.h"

#include <string.h>

static char *weights_of(const nn_plan *p, int l) { return p->parameters + p->layers[l].weights * p->size; }

/* A batch of one row has no variance: it is normalised by the running statistics, as in evaluation. */
static int by_batch(const nn_pass *pass) { return pass->rows > 1; }

static int64_t padded(const nn_plan *p, int64_t n) { return nn_ceil_div(n, p->vector) * p->vector; }

nn_norm nn_norm_of(const nn_plan *p, int l) {
    const nn_geometry *g = &p->layers[l];
    nn_norm a = {.n = g->n_out, .weights = weights_of(p, l), .epsilon = g->epsilon, .width = (int)p->vector};
    if (g->kind == NN_BATCH_NORM) {
        a.mean = p->state + g->state * p->size;
        a.variance = (const char *)a.mean + padded(p, g->n_out) * p->size;
    }
    return a;
}

static nn_norm norm_in(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass) {
    const nn_geometry *g = &p->layers[l];
    nn_norm a = nn_norm_of(p, l);
    if (g->kind == NN_BATCH_NORM) {
        const int64_t length = padded(p, g->n_out) * p->size;
        char *own = pass->statistics + g->statistics * p->size;
        if (by_batch(pass)) {
            a.mean = own;
            a.variance = own + length;
            a.share = 1 / (double)pass->rows;
        }
        a.sums = own + 2 * length;
    }
    a.x = w->act[l];
    a.d = w->delta[l + 1];
    a.x_rows = a.d_rows = a.out_rows = w->rows;
    a.row_stats = w->row_stats[l];
    return a;
}

static nn_dropout dropout_in(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass) {
    const nn_geometry *g = &p->layers[l];
    nn_dropout a = {.x_rows = w->rows,
                    .out_rows = w->rows,
                    .n = g->n_out,
                    .first = pass->first,
                    .stride = nn_ceil_div(g->n_out, 16) * 16,
                    .scale = 1,
                    .activation = NN_IDENTITY,
                    .width = (int)p->vector};
    a.keys = (nn_keys){.seed = pass->seed, .stream = pass->stream | (uint64_t)l << 40, .purpose = NN_PURPOSE_DROPOUT};
    if (pass->dropping && g->kind == NN_DROPOUT) {
        a.threshold = (uint32_t)(g->rate * 4294967296.0);
        a.scale = 1 / (1 - g->rate);
    }
    return a;
}

void nn_columns_forward(const nn_plan *p, const void *in, void *out, int64_t rows, int64_t r0, int64_t r1) {
    const nn_columns a = nn_columns_of(p, in, out, rows);
    p->kernels->columns(&a, r0, r1);
    for (int block = p->n_layers; block < p->n_blocks; block++) {
        const nn_embedding e = nn_embedding_of(p, block, in, out, rows);
        p->kernels->embedding(&e, r0, r1);
    }
}

static nn_dropout noise_in(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass) {
    nn_dropout a = dropout_in(p, l, w, pass);
    a.keys.purpose = NN_PURPOSE_NOISE;
    a.stride = nn_ceil_div(a.n, 32) * 32;
    a.scale = pass->dropping ? p->layers[l].rate : 0;
    return a;
}

/* Dense layers, which there are most of, need little room: the others have functions of their own, so that theirs is not
 * made for every layer. */
static __attribute__((noinline)) void other_forward(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass,
                                                    int activation, int64_t r0, int64_t r1) {
    const nn_geometry *g = &p->layers[l];
    if (g->kind == NN_COLUMNS) {
        nn_columns_forward(p, w->act[0], w->act[1], w->rows, r0, r1);
    } else if (g->kind == NN_DROPOUT) {
        nn_dropout a = dropout_in(p, l, w, pass);
        a.x = w->act[l];
        a.out = w->act[l + 1];
        p->kernels->dropout(&a, r0, r1);
    } else if (g->kind == NN_NOISE) {
        nn_dropout a = noise_in(p, l, w, pass);
        a.x = w->act[l];
        a.out = w->act[l + 1];
        p->kernels->noise(&a, r0, r1);
    } else {
        nn_norm a = norm_in(p, l, w, pass);
        a.out = w->act[l + 1];
        a.activation = activation;
        a.alpha = g->alpha;
        a.slopes = w->slope[l + 1];
        (g->kind == NN_BATCH_NORM ? p->kernels->batch_norm : p->kernels->layer_norm)(&a, r0, r1);
    }
}

void nn_layer_forward(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass, int activation, int64_t r0,
                      int64_t r1) {
    if (p->layers[l].kind != NN_DENSE) {
        other_forward(p, l, w, pass, activation, r0, r1);
        return;
    }
    nn_product forward = nn_forward_of(p, l, w->act[l], w->act[l + 1], w->rows, activation);
    forward.slopes = w->slope[l + 1];
    if (l == 0 && w->sparse)
        p->kernels->sparse_forward(&forward, w->sparse, r0, r1);
    else
        p->kernels->forward(&forward, r0, r1);
}

static __attribute__((noinline)) void other_backward(const nn_plan *p, int l, const nn_workspace *w,
                                                     const nn_pass *pass, int64_t r0, int64_t r1) {
    const nn_geometry *g = &p->layers[l], *below = g - 1;
    if (g->kind == NN_DROPOUT || g->kind == NN_NOISE) {
        const int noise = g->kind == NN_NOISE;
        nn_dropout a = noise ? noise_in(p, l, w, pass) : dropout_in(p, l, w, pass);
        if (noise) a.scale = 0; /* what is added has no gradient */
        a.x = w->delta[l + 1];
        a.out = w->delta[l];
        a.activation = below->activation;
        a.alpha = below->alpha;
        a.outputs = w->slope[l] ? w->slope[l] : w->act[l];
        a.outputs_rows = w->rows;
        (noise ? p->kernels->noise : p->kernels->dropout)(&a, r0, r1);
    } else {
        nn_norm a = norm_in(p, l, w, pass);
        a.out = w->delta[l];
        a.activation = below->activation;
        a.alpha = below->alpha;
        a.kept = w->slope[l] ? w->slope[l] : w->act[l];
        (g->kind == NN_BATCH_NORM ? p->kernels->batch_norm_backward : p->kernels->layer_norm_backward)(&a, r0, r1);
    }
}

void nn_layer_backward(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass, int64_t r0, int64_t r1) {
    if (p->layers[l].kind != NN_DENSE) {
        other_backward(p, l, w, pass, r0, r1);
        return;
    }
    const nn_product backward = nn_backward_of(p, l, w);
    p->kernels->backward(&backward, r0, r1);
}

/* ---- statistics of the batch */

/* Those of the way back lie apart: one thread may be at them while another still joins those of the way there. */
static char *parts_of(const nn_plan *p, int l, const nn_workspace *w, int backward) {
    const int64_t before = (p->layers[l].statistics + (backward ? p->n_statistics : 0)) / 2;
    return w->parts + before * nn_ceil_div(w->rows, STATISTICS_ROWS) * p->size;
}

void nn_statistics_of_chunks(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass, int backward,
                             int64_t chunk0, int64_t chunk1) {
    const int64_t length = padded(p, p->layers[l].n_out) * p->size;
    const nn_norm a = norm_in(p, l, w, pass);
    for (int64_t chunk = chunk0; chunk < chunk1; chunk++) {
        const int64_t r0 = chunk * STATISTICS_ROWS,
                      r1 = r0 + STATISTICS_ROWS < pass->rows ? r0 + STATISTICS_ROWS : pass->rows;
        char *part = parts_of(p, l, w, backward) + chunk * 2 * length;
        if (backward)
            p->kernels->norm_sums(&a, r0, r1, part);
        else
            p->kernels->moments(&a, r0, r1, part, part + length);
    }
}

void nn_join_statistics(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass, int backward) {
    const nn_geometry *g = &p->layers[l];
    const int64_t length = padded(p, g->n_out);
    char *own = pass->statistics + g->statistics * p->size;
    if (backward)
        p->kernels->sum_parts(2 * length, nn_ceil_div(pass->rows, STATISTICS_ROWS), 2 * length, parts_of(p, l, w, 1),
                              own + 2 * length * p->size);
    else
        p->kernels->merge_moments(g->n_out, pass->rows, STATISTICS_ROWS, parts_of(p, l, w, 0), own,
                                  own + length * p->size, (int)p->vector);
}

/* running = (1 - momentum) running + momentum batch, the variance being the unbiased one, as in PyTorch */
void nn_update_running(const nn_plan *p, const nn_pass *pass) {
    if (!by_batch(pass)) return;
    const double unbiased = (double)pass->rows / (double)(pass->rows - 1);
    for (int l = 0; l < p->n_layers; l++) {
        const nn_geometry *g = &p->layers[l];
        if (g->kind != NN_BATCH_NORM) continue;
        const int64_t length = padded(p, g->n_out);
        for (int64_t i = 0; i < 2 * length; i++) {
            const double share = g->momentum * (i < length ? 1 : unbiased);
            if (p->dtype == NN_F32) {
                float *running = (float *)(void *)p->state + g->state + i;
                const float batch = ((const float *)(const void *)pass->statistics)[g->statistics + i];
                *running = (float)((1 - g->momentum) * (double)*running + share * (double)batch);
            } else {
                double *running = (double *)(void *)p->state + g->state + i;
                const double batch = ((const double *)(const void *)pass->statistics)[g->statistics + i];
                *running = (1 - g->momentum) * *running + share * batch;
            }
        }
    }
}

/* The gradient of one panel of gamma and beta, two rows */
void nn_norm_gradient(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass, int64_t panel, char *dst) {
    const nn_geometry *g = &p->layers[l];
    if (g->kind == NN_LAYER_NORM) {
        const nn_norm a = norm_in(p, l, w, pass);
        p->kernels->layer_norm_gradient(&a, panel, 0, pass->rows, dst);
        return;
    }
    const int64_t length = padded(p, g->n_out), width = nn_panel_width(p, g->n_out, panel) * p->size;
    const char *sums = pass->statistics + (g->statistics + 2 * length + panel * p->panel) * p->size;
    memcpy(dst, sums, (size_t)width);
    memcpy(dst + width, sums + length * p->size, (size_t)width);
}
