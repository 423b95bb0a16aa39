/* plan.h: what plan.c, train.c and predict.c share: the geometry of a network over flat buffers. */
#ifndef NN_PLAN_H
#define NN_PLAN_H

#include "kernels.h"
#include "sizes.h"
#include "tuner.h"

enum { NN_TUNERS = 4 };

typedef struct nn_geometry {
    int kind;
    int64_t n_in, n_out;
    int64_t k; /* rows of its weights, without the last: n_in before the bias, 1 for gamma and beta, -1 for none */
    int activation;
    double alpha, rate, epsilon, momentum, l1, l2, decay, max_norm;
    int reshapes;       /* whether l1, l2 or decay is not zero */
    int idle_bias;      /* a batch normalisation follows, which takes any bias (or beta) away: its gradient is zero */
    int64_t state;      /* offset of running mean and variance, in elements; -1: none */
    int64_t statistics; /* offset in a thread's own statistics, and of the parts of a chunk of rows */
    int64_t panels;     /* of the layer's outputs */
    int64_t vectors;    /* vectors in a row of all its weight panels */
    int64_t weights;    /* offset in a parameter-shaped buffer, in elements; row n_in of each panel is the bias */
    int64_t transposed; /* offset in the transposed copy; the first layer has none */
    int64_t column, offset; /* table: of the codes in the inputs, and of its first output in the first layer's */
} nn_geometry;

/* Activations, deltas and slopes of `rows` rows, in panels. act[0] are the inputs, act[l + 1], delta[l + 1] and
 * slope[l + 1] layer l's; the last is NULL but for those whose activation nn_keeps_slopes. */
typedef struct nn_workspace {
    void *memory;
    size_t bytes;
    int64_t rows;
    int has_inputs;           /* whether act[0] is there, which sparse rows do without */
    const nn_entries *sparse; /* the inputs where X is sparse; else NULL */
    nn_entries entries;
    char *entry_memory;
    size_t entry_bytes;
    char **act, **delta, **slope;
    double *row_loss;
    char **row_stats; /* of each layer normalisation: two numbers for each row */
    char *parts;      /* of the batch normalisations: each chunk of STATISTICS_ROWS rows' share of the statistics */
} nn_workspace;

/* The entries of a batch by the block of UPDATE_ROWS weight rows that they belong to, in a block by row; see sparse.c */
typedef struct nn_blocks {
    char *memory;
    size_t bytes;
    int64_t n;              /* blocks */
    int64_t *starts;        /* entries starts[i] .. starts[i + 1] of `sorted` are block i's */
    int64_t *counts, *next; /* of each thread, n: its entries in each block; where its next one goes */
    nn_entries sorted;
} nn_blocks;

/* Which rows of the first layer's weights need no work in a step that does not touch them; see rest.c */
typedef struct nn_rest {
    char *memory;
    size_t bytes;
    int on, moves, decays; /* without a gradient: whether weights move on; whether slots decay and weights do not */
    int64_t blocks;        /* of UPDATE_ROWS rows, in a panel */
    uint64_t *active;      /* of each panel's blocks: a bit for each row that moves on */
    uint64_t owner;        /* whose job's latest call `active` is of; 0: slots may have changed since */
    int known;             /* `active` is as the call before has left it */
    int32_t *since;        /* decays: of each row, the step of the call that its slots are as after */
} nn_rest;

struct nn_plan {
    nn_dtype dtype;
    const nn_kernels *kernels;
    int64_t vector, panel, size; /* W, 2 W, bytes in a real */
    int n_layers, n_blocks;      /* blocks of parameters: the layers, then the tables of the first */
    nn_geometry *layers;
    int64_t n_copied, *copied; /* columns of the inputs that the first layer passes on, where it has tables */
    int64_t n_parameters;      /* elements of a parameter-shaped buffer */
    int64_t n_transposed;      /* elements of the transposed copies */
    int64_t n_vectors;         /* sum over layers of (n_in + 1) * vectors: the unit in which updates are shared out */
    double flops_forward;      /* a row's */
    int has_max_norm;
    char *gradients; /* where the length of the whole gradient is wanted: parameter-shaped, then a sum for each block */
    size_t gradients_bytes;
    int first;            /* the first layer with weights: gradients by the inputs go no further down */
    int n_segments;       /* the layers are cut before each batch normalisation, which needs the whole batch */
    int64_t n_state;      /* elements */
    char *state;          /* running means and variances */
    int64_t n_statistics; /* elements of one set of statistics: mean, variance, two sums for each batch normalisation */
    char *statistics;     /* a set for each thread */
    size_t statistics_bytes;
    char *parameters, *transposed;
    nn_tuner tuners[NN_TUNERS], *tuner; /* of the latest kinds of steps; that of the steps under way */
    unsigned next_tuner;
    nn_workspace *training; /* one, or in chunk mode one for each thread */
    int n_training;
    char *parts; /* chunk mode: partial gradients, parameter-shaped, one after the other */
    size_t parts_bytes;
    double *chunk_losses; /* behind them: the sum of each chunk's losses */
    char *failures;       /* one for each thread; train.c's */
    size_t failures_bytes;
    char *squares; /* a double for each panel of dense weights; penalty.c's */
    size_t squares_bytes;
    char *predicting; /* two buffers of panels for each thread, and entries where X is sparse */
    size_t predicting_bytes;
    nn_blocks blocks;
    nn_rest rest;
};

static inline int64_t nn_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t nn_panel_width(const nn_plan *p, int64_t n, int64_t panel) {
    return n - panel * p->panel > p->vector ? p->panel : p->vector;
}

/* Of n things shared out among so many threads, the first that is this thread's; without a division where it can be had,
 * as small steps ask several times */
static inline int64_t nn_share(int64_t n, int thread, int n_threads) {
    return thread == 0 ? 0 : thread == n_threads ? n : n * thread / n_threads;
}
/* In a parameter-shaped buffer */
static inline int64_t nn_weight_offset(const nn_plan *p, int l, int64_t panel, int64_t row) {
    const nn_geometry *g = &p->layers[l];
    return g->weights + panel * p->panel * (g->k + 1) + row * nn_panel_width(p, g->n_out, panel);
}
/* Whether layer l has a transposed copy: dense, and gradients by its inputs are needed */
static inline int nn_is_transposed(const nn_plan *p, int l) {
    return p->layers[l].kind == NN_DENSE && p->first >= 0 && l > p->first;
}

/* ---- arguments of the kernels for layer l, in line as each step makes them anew */

/* Its product with inputs of `rows` panel rows */
static inline nn_product nn_forward_of(const nn_plan *p, int l, const void *in, void *out, int64_t rows,
                                       int activation) {
    const nn_geometry *g = &p->layers[l];
    return (nn_product){.a = in,
                        .a_rows = rows,
                        .k = g->n_in,
                        .w = p->parameters + g->weights * p->size,
                        .w_rows = g->n_in + 1,
                        .n = g->n_out,
                        .out = out,
                        .out_rows = rows,
                        .activation = activation,
                        .alpha = g->alpha,
                        .width = (int)p->vector};
}

/* The deltas of layer l - 1, l > 0 */
static inline nn_product nn_backward_of(const nn_plan *p, int l, const nn_workspace *w) {
    const nn_geometry *g = &p->layers[l];
    return (nn_product){.a = w->delta[l + 1],
                        .a_rows = w->rows,
                        .k = g->n_out,
                        .w = p->transposed + g->transposed * p->size,
                        .w_rows = g->n_out,
                        .n = g->n_in,
                        .out = w->delta[l],
                        .out_rows = w->rows,
                        .outputs = w->slope[l] ? w->slope[l] : w->act[l],
                        .activation = g[-1].activation,
                        .alpha = g[-1].alpha,
                        .width = (int)p->vector};
}

static inline nn_outer nn_outer_of(const nn_plan *p, const nn_workspace *w, int l, int64_t rows) {
    const nn_geometry *g = &p->layers[l];
    return (nn_outer){w->act[l], w->rows, g->n_in, w->delta[l + 1], w->rows, g->n_out, 0, rows, (int)p->vector};
}

static inline nn_transpose nn_transpose_of(const nn_plan *p, int l) {
    const nn_geometry *g = &p->layers[l];
    return (nn_transpose){p->parameters + g->weights * p->size, g->n_in, g->n_out,
                          p->transposed + g->transposed * p->size, (int)p->vector};
}

nn_columns nn_columns_of(const nn_plan *p, const void *in, void *out, int64_t rows);
nn_embedding nn_embedding_of(const nn_plan *p, int block, const void *in, void *out, int64_t rows);

enum { STATISTICS_ROWS = 16 };
enum { NORM_BLOCK = 4096 };                        /* numbers whose squares are summed together */
enum { UPDATE_ROWS = 64 };                         /* weight rows whose gradient is in cache at a time */
enum { CHUNK = 256 };                              /* rows; see train.c */
int nn_is_chunked(const nn_plan *p, int64_t rows); /* whether a step of so many rows goes by chunks */

nn_status nn_workspaces(nn_plan *p, int n, int64_t rows, int inputs, double *bytes_needed); /* inputs: with act[0] */
nn_status nn_grow(char **buffer, size_t *bytes, size_t needed, double *bytes_needed);

#endif
