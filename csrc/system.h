/* system.h: all that the core asks of the operating system; system_posix.c and system_windows.c answer. */
#ifndef NN_SYSTEM_H
#define NN_SYSTEM_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32) /* windows.h, whose macros take common names, stays in system_windows.c */
typedef struct nn_lock {
    void *word;
} nn_lock; /* an SRWLOCK */
typedef struct nn_change {
    void *word;
} nn_change; /* a CONDITION_VARIABLE */
#define NN_LOCK_OPEN {NULL}
#define NN_SYSTEM_THREADS "Windows threads"
#else
#include <pthread.h>
typedef pthread_mutex_t nn_lock;
typedef pthread_cond_t nn_change;
#define NN_LOCK_OPEN PTHREAD_MUTEX_INITIALIZER
#define NN_SYSTEM_THREADS "POSIX threads"
#endif

void nn_lock_new(nn_lock *lock); /* open, whatever it was: also in the child of a fork, where its holder may be gone */
void nn_lock_take(nn_lock *lock);
void nn_lock_leave(nn_lock *lock);
void nn_lock_end(nn_lock *lock);
void nn_change_new(nn_change *change);
void nn_change_wait(nn_change *change, nn_lock *lock); /* may return early: ask again what was waited for */
void nn_change_tell(nn_change *change);                /* one of those who wait */
void nn_change_end(nn_change *change);

/* A thread that nobody waits for, which leaves signals to others; 0 where there can be no more. */
int nn_start_thread(void (*body)(void *), void *context);
void nn_yield(void);
void nn_nap(int64_t ns);
void nn_after_fork_in_child(void (*body)(void));

int nn_system_cores(void);                   /* on which this process may run */
int nn_this_core(void);                      /* 0 where threads cannot be placed */
void nn_leave_core(int crowded, int thread); /* this thread, `thread` of its team, onto another core, free to go on */

double nn_system_memory(void);                    /* bytes; INFINITY where the system does not say */
void *nn_aligned(size_t alignment, size_t bytes); /* bytes: a multiple of alignment */
void nn_aligned_free(void *memory);               /* not free(), which takes no such memory everywhere */

#endif
