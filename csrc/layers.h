/* layers.h: what train.c asks of layers.c. */
#ifndef NN_LAYERS_H
#define NN_LAYERS_H

#include "plan.h"

typedef struct nn_pass { /* of a batch, and of the thread that takes some of its rows */
    int64_t rows;        /* of the batch */
    int dropping;        /* whether dropout drops */
    uint64_t seed, stream;
    int64_t first;    /* position of the workspace's row 0 in the epoch: with seed and stream, what is dropped */
    char *statistics; /* this thread's set; NULL where no layer has any */
} nn_pass;

/* By the running statistics, as in evaluation */
nn_norm nn_norm_of(const nn_plan *p, int l);
/* The first layer, where it has tables: from panels of `rows` rows to panels */
void nn_columns_forward(const nn_plan *p, const void *in, void *out, int64_t rows, int64_t r0, int64_t r1);
void nn_layer_forward(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass, int activation, int64_t r0,
                      int64_t r1);
void nn_layer_backward(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass, int64_t r0, int64_t r1);

/* A batch normalisation's statistics: of chunks of rows, then, when all are there, of the batch. `backward`: the sums over
 * the gradient by the outputs. */
void nn_statistics_of_chunks(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass, int backward,
                             int64_t chunk0, int64_t chunk1);
void nn_join_statistics(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass, int backward);
void nn_update_running(const nn_plan *p, const nn_pass *pass);
void nn_norm_gradient(const nn_plan *p, int l, const nn_workspace *w, const nn_pass *pass, int64_t panel, char *dst);

#endif
