/* threads.c: the only file that knows OpenMP: teams, their barrier, how many threads a piece of work is worth. With
 * NN_OWN_THREADS the threads are those of pool.c, as where there is no OpenMP, or for ThreadSanitizer.
 *
 * One parallel region a call; inside it threads meet at a barrier of our own, which spins briefly and then yields, so
 * that a machine with more threads than cores still gets on. Each team has its own barrier: two Python threads may
 * train two networks at once. The region also flushes subnormals to zero in every thread, and puts the mode back.
 * Where a thread has waited in vain for another that has no core to run on, short steps go on in one thread: waiting
 * for a time slice would cost a thousand of them, and the result is the same.
 * After a fork the child has lost libgomp's threads; it works on alone rather than wait for them.
 */
#include <stdatomic.h>

#include "nncore.h"
#include "system.h"

#if defined(NN_OWN_THREADS)
#include "pool.h"
#else
#include <omp.h>
#endif

#if defined(__x86_64__)
#include <immintrin.h>
static unsigned flush_subnormals(void) {
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(0x9fc0u); /* FTZ and DAZ; to nearest and no traps, whatever the caller has: so in all threads */
    return mode;
}
static unsigned keep_subnormals(void) {
    const unsigned mode = _mm_getcsr();
    _mm_setcsr(mode & ~0x8040u);
    return mode;
}
static void restore_mode(unsigned mode) { _mm_setcsr(mode); }
static void pause_briefly(void) { _mm_pause(); }
#else
static unsigned flush_subnormals(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)1 << 24)); /* as above */
    return (unsigned)mode;
}
static unsigned keep_subnormals(void) {
    uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    __asm__ volatile("msr fpcr, %0" : : "r"(mode & ~((uint64_t)1 << 24)));
    return (unsigned)mode;
}
static void restore_mode(unsigned mode) { __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)mode)); }
static void pause_briefly(void) { __asm__ volatile("yield"); }
#endif

enum {
    SPINS = 4000,  /* some 50 us */
    LATE_MOST = 2, /* barriers with a longer wait in one call until the team is given up */
    MOST_LOGGED = 256
};
static const double FLOPS_SHORT = 20e6;        /* a step of about 100 us on one core: below, a time slice is an age */
static const double FLOPS_WORTH = 300e3;       /* a thread's share that pays for the barriers */
static const int64_t CONTENDED_NS = 300000000; /* how long one thread is preferred after a team was given up */

struct nn_team {
    int n;
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_uint generation;
    atomic_int late;
    int given_up; /* written by thread 0 before the first barrier of a step, read by all before the second */
};

static atomic_int set_threads, forced_threads, forked;
static atomic_int default_bound;         /* bound of the number that nobody has set; 0 for none */
static int threads_at_load;              /* OpenMP's number then: where it is lower later, someone limits us */
static _Thread_local int spread;         /* how many of this thread's helpers were put on cores of their own */
static _Atomic int64_t contended_until;  /* ns */
static atomic_int seen[MOST_LOGGED + 1]; /* seen[n]: teams of n since nn_force_threads */

static void after_fork_in_child(void) {
    atomic_store(&forked, 1); /* also where it was another library that used the pool */
}

static void meet(nn_team *team, int counts) {
    const int n = team->n;
    if (n == 1) return;
    const unsigned generation = atomic_load_explicit(&team->generation, memory_order_acquire);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == n) {
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&team->generation, generation + 1, memory_order_release);
        return;
    }
    for (int spin = 0; atomic_load_explicit(&team->generation, memory_order_acquire) == generation;) {
        if (spin < SPINS)
            pause_briefly();
        else
            nn_yield();
        if (spin == SPINS && counts) atomic_fetch_add(&team->late, 1);
        spin += spin <= SPINS; /* stops there: a wait may be long */
    }
}

void nn_barrier(nn_team *team) { meet(team, 1); }
void nn_barrier_patient(nn_team *team) { meet(team, 0); }

void nn_watch_team(nn_team *team, double flops) {
    if (team->n == 1 || flops > FLOPS_SHORT || atomic_load(&team->late) < LATE_MOST || atomic_load(&forced_threads))
        return;
    team->given_up = 1;
    atomic_store(&contended_until, nn_now() + CONTENDED_NS);
}
int nn_is_short(double flops) { return flops <= FLOPS_SHORT; }
int nn_team_given_up(const nn_team *team) { return team->given_up; }
void nn_go_on_alone(nn_team *team) { team->n = 1; }

unsigned nn_keep_subnormals(void) { return keep_subnormals(); }
void nn_restore_mode(unsigned mode) { restore_mode(mode); }

static void run_one(nn_team *team, nn_task task, void *context, int thread, int n_threads) {
    const unsigned mode = flush_subnormals();
    task(context, team, thread, n_threads);
    restore_mode(mode);
}

#if defined(NN_OWN_THREADS)
typedef struct call {
    nn_team *team;
    nn_task task;
    void *context;
    int core;
} call;
static void in_worker(void *context, int thread, int n_threads) {
    const call *c = context;
    if (c->core >= 0 && thread > 0) nn_leave_core(c->core, thread);
    run_one(c->team, c->task, c->context, thread, n_threads);
}
static int run_team(nn_team *team, int n_threads, nn_task task, void *context, int core) {
    const int limit = nn_pool_limit();
    nn_worker *workers = nn_pool_take((n_threads < limit ? n_threads : limit) - 1, &team->n);
    const int helpers = team->n++;
    call c = {team, task, context, core};
    nn_pool_run(workers, helpers, in_worker, &c);
    return helpers + 1;
}
static int default_threads(void) { return nn_pool_most_threads(); }
static int cores(void) { return nn_system_cores(); }
const char *nn_openmp(void) { return "none, " NN_SYSTEM_THREADS; }
#else
static int run_team(nn_team *team, int n_threads, nn_task task, void *context, int core) {
    int ran = 1;
#pragma omp parallel num_threads(n_threads)
    {
        if (core >= 0 && omp_get_thread_num() > 0) nn_leave_core(core, omp_get_thread_num());
#pragma omp single
        ran = team->n = omp_get_num_threads(); /* OMP_THREAD_LIMIT may give fewer than asked for */
        run_one(team, task, context, omp_get_thread_num(), ran);
    }
    return ran;
}
static int default_threads(void) { return omp_get_max_threads(); }
/* libomp keeps the number that it found first; but where the runtime binds threads, this one's own affinity says nothing. */
static int cores(void) { return omp_get_proc_bind() == omp_proc_bind_false ? nn_system_cores() : omp_get_num_procs(); }
const char *nn_openmp(void) {
#if defined(__clang__)
    return "libomp";
#else
    return "libgomp";
#endif
}
#endif

int nn_parallel(int n_threads, nn_task task, void *context) {
    nn_team team = {.n = 1};
    int ran = 1;
    if (n_threads > 1 && !atomic_load(&forked)) {
        const int core = spread < n_threads ? nn_this_core() : -1;
        if (core >= 0) spread = n_threads;
        ran = run_team(&team, n_threads, task, context, core);
    } else {
        run_one(&team, task, context, 0, 1);
    }
    if (atomic_load(&forced_threads)) atomic_fetch_add(&seen[ran < MOST_LOGGED ? ran : MOST_LOGGED], 1);
    return ran;
}

__attribute__((constructor)) static void begin(void) {
    nn_after_fork_in_child(after_fork_in_child);
    threads_at_load = default_threads();
}

/* OpenMP's own number is what OMP_NUM_THREADS says at first, and what threadpoolctl changes. */
int nn_max_threads(void) {
    const int set = atomic_load(&set_threads), bound = atomic_load(&default_bound), now = default_threads();
    int most = set ? set : now;
    if (set && now < threads_at_load && now < most) most = now;
    if (!set && bound && bound < most) most = bound;
    if (set || most < 2) return most;
    const int there = cores();
    return most < there ? most : there;
}
void nn_set_max_threads(int n) { atomic_store(&set_threads, n); }
int nn_set_threads(void) { return atomic_load(&set_threads); }
void nn_limit_default_threads(int n) { atomic_store(&default_bound, n); }

int nn_forced_threads(void) { return atomic_load(&forced_threads); }
void nn_force_threads(int n) {
    for (int i = 0; i <= MOST_LOGGED; i++) atomic_store(&seen[i], 0);
    atomic_store(&forced_threads, n);
}
int nn_thread_log(int i) {
    for (int n = 1; n <= MOST_LOGGED; n++)
        if (atomic_load(&seen[n]) && i-- == 0) return n;
    return 0;
}

int nn_usable_threads(int limit) {
    int most = nn_max_threads();
    if (limit > 0 && limit < most) most = limit;
    if (most < 2) return 1;
    if (!atomic_load(&set_threads)) return most;
    const int there = cores();
    return most < there ? most : there; /* more than cores only wait for each other */
}

int nn_contended(void) { return nn_now() < atomic_load(&contended_until); }

/* For work without barriers: a thread must have some for a few times what it takes to start it. */
int nn_choose_threads(double flops, int limit) {
    const int forced = atomic_load(&forced_threads);
    if (forced) return forced;
    const double worth = flops / FLOPS_WORTH;
    if (worth < 2) return 1; /* before what costs a system call: a one-row predict takes less */
    const int most = nn_usable_threads(limit);
    if (most > 1 && flops <= FLOPS_SHORT && nn_contended()) return 1;
    return worth < most ? (int)worth : most;
}
