/* step.h: what the files of a training step share: train.c runs steps, rows.c is their first phase, update.c the second.
 */
#ifndef NN_STEP_H
#define NN_STEP_H

#include <math.h>

#include "layers.h"

typedef struct failure {
    nn_status status;
    int64_t row; /* position in the batch */
    int layer;   /* NN_DIVERGED: the first whose output is not finite; -1: only the loss is not */
} failure;

static inline int bad_data(const failure *f) { return f->status == NN_BAD_X || f->status == NN_BAD_Y; }

/* A call of nn_run or nn_loss_and_gradient */
typedef struct run {
    nn_plan *p;
    nn_job *job;
    int64_t first_step;
    int64_t start, stop; /* this segment's steps of the call */
    int64_t steps_per_epoch;
    int chunked;
    int reshapes;         /* whether limits or a penalty of the job change gradients before the update */
    int64_t most_entries; /* of a batch, or of a chunk where it goes by chunks; X sparse */
    double flops;         /* a step's */
    char *given;          /* the gradient, where it was worked out before; else NULL */
    char *gradient;       /* where it is asked for rather than an update; else NULL */
    failure *failures;    /* one for each thread; a failure ends the call */
    double *squares;      /* of each panel of dense weights, where there is a penalty; else NULL */
} run;

typedef struct batch {
    int64_t first, rows; /* order[first .. first + rows) */
    const uint32_t *order;
    double scale;    /* 1 / rows, or 1 / (sum of their weights) */
    uint64_t stream; /* the epoch: of what is dropped */
    double factor;   /* the gradient is multiplied by this before the update */
    int64_t step;    /* of the call */
    double penalty;  /* penalty * W is added to it */
} batch;

/* In an order that depends on n alone; eight sums, so that none waits for the one before */
static inline double nn_sum(const double *x, int64_t n) {
    double s[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        for (int k = 0; k < 8; k++) s[k] += x[i + k];
    for (int k = 0; i < n; i++, k++) s[k] += x[i];
    return ((s[0] + s[4]) + (s[2] + s[6])) + ((s[1] + s[5]) + (s[3] + s[7]));
}

/* ---- rows.c */
double nn_weighted_scale(const nn_job *job, const uint32_t *order, int64_t first, int64_t rows);
static inline double nn_batch_scale(const nn_job *job, const uint32_t *order, int64_t first, int64_t rows) {
    return job->weights ? nn_weighted_scale(job, order, first, rows) : 1.0 / (double)rows;
}
int64_t nn_first_row(const nn_plan *p, int64_t rows, int thread, int n_threads);
nn_pass nn_pass_of(const run *c, const batch *b, int64_t offset, int thread);
/* This thread's rows of the batch there and back; what fails goes into c->failures[thread]. */
void nn_rows_of_batch(const run *c, const batch *b, nn_team *team, int thread, int n_threads);
/* The failure of the step, the same for every thread that asks: bad data before divergence, then the first row */
failure nn_worst(const run *c, int n_threads);

/* ---- rest.c */
enum { MOST_PANEL_BYTES = 128 }; /* of a row of a panel */
nn_status nn_rest_begin(run *c, int64_t n_steps, double *bytes_needed);
/* A block of rows of a panel of the first layer's weights: the update of those that the step touches or that move */
void nn_rest_update(const run *c, const batch *b, const nn_update *u, int64_t panel, int64_t block);
void nn_rest_end(const run *c, int threads); /* all slots as after job->steps_done steps */
/* ---- penalty.c */
int64_t nn_count_panels(const nn_plan *p);
void nn_square_panels(const run *c, int thread, int n_threads); /* this thread's share of c->squares */
double nn_penalty_of_batch(const run *c, const batch *b);       /* for the loss, after all of them */

/* ---- update.c */
void nn_prepare_updates(nn_job *job); /* once a call, before the others */
nn_update nn_update_of(const nn_job *job, int64_t step);
/* The optimizer on rows [k0, k1) of a panel, and their transposed copy */
void nn_apply_gradient(const run *c, const batch *b, const nn_update *u, int layer, int64_t panel, int64_t k0,
                       int64_t k1, char *gradient);
/* This thread's weights: their gradient over the batch, and the update or the gradient's buffer. */
void nn_update_weights(const run *c, const batch *b, const nn_update *u, nn_team *team, int thread, int n_threads);

#endif
