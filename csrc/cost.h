/* cost.h: the cost model; see cost.c. Times in ns. */
#ifndef NN_COST_H
#define NN_COST_H

#include "plan.h"

/* What this machine does, measured once in a process */
typedef struct nn_machine {
    double flops_per_ns[2]; /* multiply-adds on registers of one core, by nn_dtype; 2 flops each */
    double barrier;         /* one barrier of two threads */
    double barrier_all;     /* of `threads` */
    double line;            /* for 64 bytes to go from core to core: one writes them, another reads them */
    int threads;
} nn_machine;

typedef struct nn_cost {
    double forward, backward, update; /* one layer's, with one thread; update: gradient, optimizer, transposed copy */
} nn_cost;

nn_machine nn_machine_of(nn_dtype dtype); /* calibrates at the first call: about 0.2 ms */
/* Each layer's cost (layers: n_layers of them, or NULL) and the time of a step of `rows` rows with `threads` threads. */
double nn_predict_step(const nn_plan *p, int64_t rows, int optimizer, int threads, nn_cost *layers);
/* Makes p->tuner that for steps of `rows` rows on at most `most` threads; the plan remembers a few kinds. Returns whether
 * there is a choice. */
int nn_tune(nn_plan *p, int64_t rows, int optimizer, int most);
/* The number of threads, `most` at most, that training of such steps begins with */
int nn_first_choice(nn_plan *p, int64_t rows, int optimizer, int most);

#endif
