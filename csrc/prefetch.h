/* prefetch.h: asks for cache lines that are about to be written.
 *
 * What one core writes in a step, the others read in the next: each line is then shared, and a store to it waits until
 * they have let it go, which takes 100 ns and more between cores that share no cache. Asked for early, it takes nothing.
 */
#ifndef NN_PREFETCH_H
#define NN_PREFETCH_H

#include <stdint.h>

static inline __attribute__((always_inline)) void nn_prefetch_to_write(const void *p) {
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0"
                     :
                     : "m"(*(const char *)p)); /* which __builtin_prefetch gives for some -march only */
#else
    __builtin_prefetch(p, 1);
#endif
}

static inline void nn_prefetch_all_to_write(const char *p, int64_t bytes) {
    for (int64_t i = 0; i < bytes; i += 64) nn_prefetch_to_write(p + i);
}

#endif
