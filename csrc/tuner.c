/* tuner.c: how many threads train best is measured while training, for the result is the same either way.
 *
 * Whether another thread pays depends on what no shape tells: how far apart the cores are, whether something else runs on
 * one of them. So the steps of a call go in segments, each timed. The cost model says where to begin; the neighbours of
 * the best number so far (half and double) are tried at once where the model thinks them near, then ever more rarely
 * while they stay slower, and in the long run never so often that trying costs more than a fiftieth of the time: beside
 * a process that keeps a core busy, one step of two threads may wait for several time slices of the scheduler.
 */
#include "tuner.h"

static const double SEGMENT_NS = 200e3;
static const double FIRST_INTERVAL = 2e6, LAST_INTERVAL = 50e6; /* ns of training between two tries */
static const double PATIENCE = 10, MOST_PATIENCE = 50,
                    LONGEST = 5e9;     /* ns for each ns that a try cost, at first and later */
static const double HOPELESS = 1.6;    /* predicted to be so many times slower than what runs now: not tried, ... */
static const double AS_EXPECTED = 1.4; /* ... while that takes what was predicted, within this factor */
static const double CLEARLY = 0.98;    /* below which a change is worth it */

/* The neighbour that is to be tried, or the best itself where there is none worth trying */
static int candidate(nn_tuner *t) {
    const nn_choice *now = &t->choices[t->best];
    const int as_expected =
        now->measured < AS_EXPECTED * now->predicted && now->predicted < AS_EXPECTED * now->measured;
    for (int turn = 0; turn < 2; turn++) {
        const int next = t->best + (t->upwards ? 1 : -1);
        t->upwards = !t->upwards;
        if (next < 0 || next >= t->n) continue;
        if (!as_expected || t->choices[next].predicted < HOPELESS * now->predicted) return next;
    }
    return t->best;
}

/* Whether a neighbour of the best was never measured */
static int untried(const nn_tuner *t) {
    return (t->best > 0 && t->choices[t->best - 1].measured == 0) ||
           (t->best + 1 < t->n && t->choices[t->best + 1].measured == 0);
}

int nn_tuner_pick(nn_tuner *t, int alone) {
    t->trying = t->best;
    if (alone) {
        t->trying = 0;
    } else if (t->choices[t->best].measured > 0 && t->since_try >= t->interval) {
        t->trying = candidate(t);
        if (t->trying == t->best) t->since_try = 0;
    }
    return t->choices[t->trying].threads;
}

int64_t nn_tuner_steps(const nn_tuner *t) {
    const nn_choice *c = &t->choices[t->trying];
    const double steps = SEGMENT_NS / ((c->measured > 0 ? c->measured : c->predicted) + 1);
    return steps < 1 ? 1 : (int64_t)steps;
}

static double known(const nn_choice *c) { return c->measured > 0 ? c->measured : c->predicted; }

void nn_tuner_took(nn_tuner *t, double ns, int64_t steps) {
    nn_choice *c = &t->choices[t->trying];
    const nn_choice *best = &t->choices[t->best];
    const int first = c->measured == 0, before = t->best;
    if (c == best) {
        c->measured = first ? ns : 0.75 * c->measured + 0.25 * ns;
        t->since_try += ns * (double)steps;
        for (int k = 0; k < t->n; k++) /* something has slowed it down: another may be better now */
            if (known(&t->choices[k]) < CLEARLY * known(&t->choices[t->best])) t->best = k;
        if (t->best != before) t->interval = FIRST_INTERVAL, t->since_try = 0;
        return;
    }
    c->measured = ns;
    t->since_try = 0;
    if (best->measured == 0 || ns < CLEARLY * best->measured) {
        t->best = t->trying;
        t->interval = first ? 0 : FIRST_INTERVAL;
        t->patience = 0;
    } else if (!first || !untried(t)) {
        t->patience = t->patience < PATIENCE        ? PATIENCE
                      : t->patience < MOST_PATIENCE ? 1.5 * t->patience
                                                    : MOST_PATIENCE;
        const double cost = t->patience * (ns - best->measured) * (double)steps;
        t->interval = t->interval < FIRST_INTERVAL ? FIRST_INTERVAL : 2 * t->interval;
        if (t->interval > LAST_INTERVAL) t->interval = LAST_INTERVAL;
        if (t->interval < cost) t->interval = cost < LONGEST ? cost : LONGEST;
    }
}
