/* pool.c: threads that wait for work, the counterpart of OpenMP's where the core is built with NN_OWN_THREADS.
 *
 * Workers live as long as the process and are taken from a list of idle ones, so that two Python threads that train two
 * networks have a team each. Whoever waits, a worker for its next call or the caller for its workers, looks for some 50 us
 * before it sleeps: calls follow each other closely. Signals are left to the threads of Python.
 */
#include "pool.h"

#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "system.h"

enum { LOOKS = 4000 };

struct nn_worker {
    nn_worker *next;
    nn_lock lock;
    nn_change changed;
    atomic_int
        busy; /* changes under the lock; what follows is the caller's while it is 0, and the worker's while it is 1 */
    nn_pool_body body;
    void *context;
    int thread, n_threads;
};

static nn_lock idle_lock = NN_LOCK_OPEN;
static nn_worker *idle;

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#else
    __asm__ volatile("yield");
#endif
}

static void wait_until(nn_worker *w, int busy) {
    for (int look = 0; look < LOOKS; look++) {
        if (atomic_load_explicit(&w->busy, memory_order_acquire) == busy) return;
        pause_briefly();
    }
    nn_lock_take(&w->lock);
    while (atomic_load(&w->busy) != busy) nn_change_wait(&w->changed, &w->lock);
    nn_lock_leave(&w->lock);
}

static void make_busy(nn_worker *w, int busy) {
    nn_lock_take(&w->lock);
    atomic_store_explicit(&w->busy, busy, memory_order_release);
    nn_change_tell(&w->changed); /* the only one who may wait: the worker, or the caller that has it */
    nn_lock_leave(&w->lock);
}

static void live(void *worker) {
    nn_worker *w = worker;
    for (;;) {
        wait_until(w, 1);
        w->body(w->context, w->thread, w->n_threads);
        make_busy(w, 0);
    }
}

static nn_worker *new_worker(void) {
    nn_worker *w = calloc(1, sizeof *w);
    if (!w) return NULL;
    nn_lock_new(&w->lock);
    nn_change_new(&w->changed);
    if (nn_start_thread(live, w)) return w;
    nn_change_end(&w->changed);
    nn_lock_end(&w->lock);
    free(w);
    return NULL;
}

nn_worker *nn_pool_take(int wanted, int *n) {
    nn_worker *taken = NULL;
    for (*n = 0; *n < wanted; (*n)++) {
        nn_lock_take(&idle_lock);
        nn_worker *w = idle;
        if (w) idle = w->next;
        nn_lock_leave(&idle_lock);
        if (!w) w = new_worker();
        if (!w) break;
        w->next = taken;
        taken = w;
    }
    return taken;
}

void nn_pool_run(nn_worker *workers, int n, nn_pool_body body, void *context) {
    int thread = n;
    for (nn_worker *w = workers; w; w = w->next) {
        w->body = body;
        w->context = context;
        w->thread = thread--;
        w->n_threads = n + 1;
        make_busy(w, 1);
    }
    body(context, 0, n + 1);
    for (nn_worker *w = workers; w;) {
        nn_worker *next = w->next;
        wait_until(w, 0);
        nn_lock_take(&idle_lock);
        w->next = idle;
        idle = w;
        nn_lock_leave(&idle_lock);
        w = next;
    }
}

static int number_in(const char *variable, int otherwise) {
    const char *text = getenv(variable);
    const long n = text ? strtol(text, NULL, 10) : 0; /* a list begins with the outermost level's number */
    return n < 1 ? otherwise : n > INT_MAX ? INT_MAX : (int)n;
}

int nn_pool_limit(void) { return number_in("OMP_THREAD_LIMIT", INT_MAX); }
int nn_pool_most_threads(void) {
    const int most = number_in("OMP_NUM_THREADS", nn_system_cores()), limit = nn_pool_limit();
    return most < limit ? most : limit;
}
