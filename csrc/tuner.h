/* tuner.h: the choice of the number of threads for steps of one kind; see tuner.c. Zeroed memory is a new tuner. */
#ifndef NN_TUNER_H
#define NN_TUNER_H

#include <stdint.h>

enum { NN_MOST_CHOICES = 12 };

typedef struct nn_choice {
    int threads;
    double predicted, measured; /* ns a step; measured: 0 where it is not known */
} nn_choice;

typedef struct nn_tuner {
    int64_t rows; /* of a step, and of which optimizer: what it was tuned for */
    int optimizer, most;
    int n, best, trying; /* choices, ordered by threads; the best so far; that of the segment under way */
    nn_choice choices[NN_MOST_CHOICES];
    double since_try, interval; /* ns of training since another choice was tried, and until one is tried again */
    double patience;            /* grows while tries fail */
    int upwards;                /* which neighbour is next */
} nn_tuner;

int nn_tuner_pick(nn_tuner *t, int alone);                 /* threads for the next segment; alone: it must be one */
int64_t nn_tuner_steps(const nn_tuner *t);                 /* its length */
void nn_tuner_took(nn_tuner *t, double ns, int64_t steps); /* what each of its steps took */

#endif
