/* tuner.c: one thread or many for short steps: measured while training, for the result is the same either way.
 *
 * Whether a second thread pays for a step of microseconds depends on what no shape tells: how far apart the cores are,
 * whether something else runs on one of them. So the steps of a call go in segments, each timed; the faster way is kept
 * and the other is tried again, ever more rarely while it stays slower.
 */
#include "tuner.h"

enum { FIRST_INTERVAL = 8, LAST_INTERVAL = 256 };
static const double SEGMENT_NS = 200e3, GUESS_FLOPS_PER_NS = 50;

void nn_tuner_for(nn_tuner *t, double flops, int many) {
    if (t->flops == flops && t->many == many) return;
    *t = (nn_tuner){.flops = flops, .many = many, .interval = FIRST_INTERVAL};
}

int nn_tuner_pick(nn_tuner *t) {
    const int faster = t->ns[1] < t->ns[0];
    int way = faster;
    if (t->ns[1] == 0)
        way = 1;
    else if (t->ns[0] == 0)
        way = 0;
    else if (t->since_probe >= t->interval)
        way = !faster;
    t->way = way;
    return way ? t->many : 1;
}

int64_t nn_tuner_steps(const nn_tuner *t) {
    const double ns = t->ns[t->way] > 0 ? t->ns[t->way] : t->flops / GUESS_FLOPS_PER_NS;
    const double steps = SEGMENT_NS / (ns + 1);
    return steps < 1 ? 1 : (int64_t)steps;
}

void nn_tuner_took(nn_tuner *t, double ns_per_step) {
    double *mine = &t->ns[t->way];
    const int probing = t->since_probe >= t->interval, was_faster = t->ns[1] < t->ns[0];
    const int slowed = *mine > 0 && ns_per_step > 1.5 * *mine;
    *mine = *mine > 0 && !probing ? 0.75 * *mine + 0.25 * ns_per_step : ns_per_step;
    if (probing) {
        const int same = (t->ns[1] < t->ns[0]) == was_faster;
        t->interval = !same ? FIRST_INTERVAL : t->interval < LAST_INTERVAL ? 2 * t->interval : LAST_INTERVAL;
        t->since_probe = 0;
    } else {
        t->since_probe++;
        if (slowed && t->interval > FIRST_INTERVAL) t->interval = FIRST_INTERVAL;
    }
}
