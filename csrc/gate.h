/* gate.h: one at a time through what is not made for two, at the cost of an exchange where nobody waits.
 *
 * Whoever waits is let through when a holder that comes again and again (training, call after call) asks whether any do.
 */
#ifndef NN_GATE_H
#define NN_GATE_H

#include <stdatomic.h>

#include "system.h"

typedef struct nn_gate {
    atomic_int busy, waiting;
} nn_gate;

static inline int nn_gate_try(nn_gate *g) { return !atomic_exchange_explicit(&g->busy, 1, memory_order_acquire); }
static inline void nn_gate_leave(nn_gate *g) { atomic_store_explicit(&g->busy, 0, memory_order_release); }
static inline int nn_gate_wanted(nn_gate *g) { return atomic_load(&g->waiting) != 0; }

static inline void nn_gate_nap(void) { nn_nap(20000); }
static inline void nn_gate_wait(nn_gate *g) {
    atomic_fetch_add(&g->waiting, 1);
    while (!nn_gate_try(g)) nn_gate_nap();
    atomic_fetch_sub(&g->waiting, 1);
}
/* In the child of a fork: whoever held it or waited is no longer there. */
static inline void nn_gate_reset(nn_gate *g) {
    atomic_store(&g->busy, 0);
    atomic_store(&g->waiting, 0);
}
static inline void nn_gate_let_pass(nn_gate *g) {
    for (int naps = 0; naps < 50 && nn_gate_wanted(g); naps++) nn_gate_nap();
}

#endif
