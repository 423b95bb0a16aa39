/* system_posix.c: system.h on Linux and macOS. */
#define _GNU_SOURCE
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "nncore.h"
#include "system.h"

void nn_lock_new(nn_lock *lock) { pthread_mutex_init(lock, NULL); }
void nn_lock_take(nn_lock *lock) { pthread_mutex_lock(lock); }
void nn_lock_leave(nn_lock *lock) { pthread_mutex_unlock(lock); }
void nn_lock_end(nn_lock *lock) { pthread_mutex_destroy(lock); }
void nn_change_new(nn_change *change) { pthread_cond_init(change, NULL); }
void nn_change_wait(nn_change *change, nn_lock *lock) { pthread_cond_wait(change, lock); }
void nn_change_tell(nn_change *change) { pthread_cond_signal(change); }
void nn_change_end(nn_change *change) { pthread_cond_destroy(change); }

typedef struct start {
    void (*body)(void *);
    void *context;
} start;

static void *begin(void *given) {
    const start s = *(start *)given;
    free(given);
    s.body(s.context);
    return NULL;
}

int nn_start_thread(void (*body)(void *), void *context) {
    start *s = malloc(sizeof *s);
    if (!s) return 0;
    *s = (start){body, context};
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* which the new thread takes over */
    pthread_t thread;
    const int failed = pthread_create(&thread, NULL, begin, s);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed)
        free(s);
    else
        pthread_detach(thread);
    return !failed;
}

void nn_yield(void) { sched_yield(); }
void nn_nap(int64_t ns) {
    const struct timespec nap = {ns / 1000000000, (long)(ns % 1000000000)};
    nanosleep(&nap, NULL);
}
void nn_after_fork_in_child(void (*body)(void)) { pthread_atfork(NULL, NULL, body); }

int64_t nn_now(void) {
    struct timespec t;
#if defined(__APPLE__) /* whose CLOCK_MONOTONIC counts microseconds */
    clock_gettime(CLOCK_UPTIME_RAW, &t);
#else
    clock_gettime(CLOCK_MONOTONIC, &t);
#endif
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int nn_system_cores(void) {
#if defined(__linux__)
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) return CPU_COUNT(&allowed);
#endif
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 1 ? 1 : (int)cores;
}

/* New threads begin on the core of the one that made them, and it takes the scheduler milliseconds, hundreds of steps, to
 * move them. So each is put on a core of its own once, among those that it may use, and is free to go from there. */
#if defined(__linux__)
void nn_leave_core(int crowded_, int thread) {
    cpu_set_t allowed, one;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0) return;
    const size_t crowded = (size_t)crowded_;
    int others = CPU_COUNT(&allowed) - (CPU_ISSET(crowded, &allowed) ? 1 : 0);
    if (others < 1) return;
    int skip = (thread - 1) % others;
    for (size_t i = 1; i < CPU_SETSIZE; i++) { /* the next ones, and round */
        const size_t cpu = (crowded + i) % CPU_SETSIZE;
        if (cpu == crowded || !CPU_ISSET(cpu, &allowed) || skip-- > 0) continue;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (sched_setaffinity(0, sizeof one, &one) == 0) sched_setaffinity(0, sizeof allowed, &allowed);
        return;
    }
}
int nn_this_core(void) { return sched_getcpu(); }
#else
void nn_leave_core(int crowded, int thread) { (void)crowded, (void)thread; }
int nn_this_core(void) { return 0; }
#endif

double nn_system_memory(void) {
    const double bytes = (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE);
    return bytes > 0 ? bytes : INFINITY;
}
void *nn_aligned(size_t alignment, size_t bytes) { return aligned_alloc(alignment, bytes); }
void nn_aligned_free(void *memory) { free(memory); }
