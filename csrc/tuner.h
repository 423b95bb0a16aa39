/* tuner.h: the choice between one thread and many for steps of one kind; see tuner.c. Zeroed memory is a new tuner. */
#ifndef NN_TUNER_H
#define NN_TUNER_H

#include <stdint.h>

typedef struct nn_tuner {
    double flops; /* of a step: what it was tuned for */
    int many;
    double ns[2];              /* a step's time with one and with many threads; 0: not known */
    int way;                   /* of the segment that is under way */
    int since_probe, interval; /* segments */
} nn_tuner;

void nn_tuner_for(nn_tuner *t, double flops, int many); /* begins anew where these differ from what it was tuned for */
int nn_tuner_pick(nn_tuner *t);                         /* threads for the next segment */
int64_t nn_tuner_steps(const nn_tuner *t);              /* its length */
void nn_tuner_took(nn_tuner *t, double ns_per_step);

#endif
