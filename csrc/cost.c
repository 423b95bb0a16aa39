/* cost.c: how long a training step takes, from its shape and four numbers that are measured once in a process.
 *
 *     T(threads) = (rows' way through the layers + updates) / threads + 2 barriers + what crosses between cores
 *
 * Arithmetic is counted in SLOTS, each as long as one vector multiply-add of one of two ports takes; the numbers of slots
 * below were fitted to kernel times of two CPUs (AVX2, AVX-512), and a slot's length is measured, so that they carry over.
 * The model says which numbers of threads are worth trying first, and `net.plan` prints it; tuner.c then measures real
 * steps, which decides. Nothing here touches the arithmetic: results are the same for any choice.
 */
#include "cost.h"

#include "system.h"

enum { PROBE_BARRIERS = 8, PROBE_LINES = 512, PROBE_FMAS = 3000, PROBES = 5 };

static const int64_t PATIENCE = 1000000; /* ns: where others keep the cores busy, barriers may take a time slice each */

typedef struct probe {
    double barrier, line;
    char *lines;
    int enough;
} probe;

static void probe_task(void *context, nn_team *team, int thread, int n_threads) {
    probe *c = context;
    double barrier = 1e9, line = 1e9;
    const int64_t start = nn_now();
    for (int k = 0; k < PROBES; k++) {
        if (thread == 0) c->enough = nn_now() - start > PATIENCE;
        nn_barrier(team);
        if (c->enough && k) break;
        int64_t began = nn_now();
        for (int b = 0; b < PROBE_BARRIERS; b++) nn_barrier(team);
        double took = (double)(nn_now() - began) / (double)PROBE_BARRIERS;
        if (took < barrier) barrier = took;
        /* lines that the last thread writes and the first reads, in turn, and in no order that hardware foresees */
        began = nn_now();
        if (thread == n_threads - 1)
            for (int i = 0; i < PROBE_LINES; i++) ((volatile char *)c->lines)[64 * (i * 211 % PROBE_LINES)] = (char)k;
        nn_barrier(team);
        if (thread == 0) {
            for (int i = 0; i < PROBE_LINES; i++) (void)((volatile char *)c->lines)[64 * (i * 211 % PROBE_LINES)];
            took = (double)(nn_now() - began) / (double)PROBE_LINES;
            if (took < line) line = took;
        }
        nn_barrier(team);
    }
    if (thread == 0) c->barrier = barrier, c->line = line;
}

static nn_machine machine;
static int64_t try_again = INT64_MAX;
static nn_lock calibrating = NN_LOCK_OPEN;

static void after_fork_in_child(void) { nn_lock_new(&calibrating); } /* its holder may be gone */
__attribute__((constructor)) static void watch_forks(void) { nn_after_fork_in_child(after_fork_in_child); }

/* What is assumed where it cannot be measured: a new thread shares a core for its first milliseconds, and other
 * processes may keep the cores busy. */
static const double USUAL_BARRIER = 300, USUAL_LINE = 5, UNUSUAL = 5000;
static const int64_t TRY_AGAIN = 50000000;

static void calibrate_threads(int threads) {
    probe c = {.lines = nn_buffer(64 * PROBE_LINES)};
    machine.threads = threads;
    machine.barrier = machine.barrier_all = USUAL_BARRIER;
    machine.line = USUAL_LINE;
    if (threads < 2 || !c.lines) return;
    nn_parallel(2, probe_task, &c);
    if (c.barrier > UNUSUAL) {
        try_again = nn_now() + TRY_AGAIN;
    } else {
        try_again = INT64_MAX;
        machine.barrier = machine.barrier_all = c.barrier;
        machine.line = c.line;
        if (threads > 2) {
            nn_parallel(threads, probe_task, &c);
            if (c.barrier < UNUSUAL) machine.barrier_all = c.barrier;
        }
    }
    nn_buffer_free(c.lines);
}

nn_machine nn_machine_of(nn_dtype dtype) {
    nn_lock_take(&calibrating);
    const int usable = nn_usable_threads(0);
    if (machine.threads < usable || nn_now() > try_again) calibrate_threads(usable);
    if (machine.flops_per_ns[dtype] == 0) {
        double best = 0;
        for (int k = 0; k < PROBES; k++) {
            const int64_t began = nn_now();
            const double flops = nn_kernels_for(dtype)->fma_peak(PROBE_FMAS);
            const double rate = flops / (double)(nn_now() - began + 1);
            if (rate > best) best = rate;
        }
        machine.flops_per_ns[dtype] = best;
    }
    const nn_machine found = machine;
    nn_lock_leave(&calibrating);
    return found;
}

/* ---- slots */

static double activation_slots(const nn_plan *p, int activation) { /* for a vector */
    const int single = p->dtype == NN_F32;
    switch (activation) {
    case NN_TANH:
    case NN_SIGMOID: return single ? 40 : 56;
    case NN_ELU:
    case NN_SELU:
    case NN_EXPONENTIAL: return single ? 22 : 33;
    case NN_SILU: return single ? 44 : 60; /* here and below with the derivative, which is computed along with f */
    case NN_SOFTPLUS:
    case NN_MISH: return single ? 54 : 80;
    case NN_GELU_TANH: return single ? 60 : 84;
    case NN_GELU: return single ? 80 : 124;
    case NN_HARD_SILU: return 8;
    case NN_IDENTITY: return 0;
    default: return 2;
    }
}

static double optimizer_slots(int optimizer) { /* for a vector of parameters */
    switch (optimizer) {
    case NN_ADAM:
    case NN_ADAMW: return 14;
    case NN_NADAM: return 15;
    case NN_RMSPROP:
    case NN_ADAGRAD: return 12;
    case NN_MOMENTUM:
    case NN_LION: return 8;
    default: return 6;
    }
}

static const double EFFICIENCY = 0.95;    /* of the inner loops */
static const double CALL = 22;            /* ns of a kernel call's own */
static const double STEP = 60;            /* ns of a step's own */
static const double BYTES_PER_NS = 20;    /* gathering rows */
static const double TRANSPOSE = 3;        /* slots for a vector */
static const double LOSS = 45, STORE = 2; /* slots for a vector */

double nn_predict_step(const nn_plan *p, int64_t rows_, int optimizer, int threads, nn_cost *layers) {
    const nn_machine m = nn_machine_of(p->dtype);
    const double rows = (double)rows_, slot = 2.0 * (double)p->vector / m.flops_per_ns[p->dtype];
    double through = 0, updates = 0, crossing = 0, barriers = 0;
    for (int l = 0; l < p->n_layers; l++) {
        const nn_geometry *g = &p->layers[l];
        /* a last panel of few columns goes along the inputs in `outer` */
        const double last = (double)(g->n_out % p->panel) / (double)p->vector,
                     spared = last > 0 && last <= 0.25 ? 1 - 1.5 * last : 0;
        const double k = (double)g->n_in, n = (double)g->vectors, below = (double)nn_ceil_div(g->n_in, p->vector);
        nn_cost c = {0};
        if (g->kind != NN_DENSE) { /* a few passes over the rows */
            c.forward = c.backward = CALL + slot * rows * below * (g->kind == NN_DROPOUT ? 50 : 8);
            if (g->kind == NN_NOISE) c.forward = CALL + slot * rows * below * 100;
            c.update = g->k > 0 ? CALL + slot * below * (rows * 3 + 2 * optimizer_slots(optimizer)) : 0;
            if (layers) layers[l] = c;
            through += c.forward + c.backward;
            updates += c.update;
            barriers += g->kind == NN_BATCH_NORM ? 2 : 0;
            crossing += (double)p->size * 2 * rows * (double)g->n_out;
            continue;
        }
        c.forward = CALL + slot * rows * n * (k / EFFICIENCY + STORE + activation_slots(p, g->activation));
        if (nn_is_transposed(p, l))
            c.backward = CALL + slot * rows * below * ((double)g->n_out / EFFICIENCY + 2 * STORE);
        c.update = 2 * CALL + slot * (k + 1) * n *
                                  ((1 - spared / n) * rows / EFFICIENCY + optimizer_slots(optimizer) +
                                   (nn_is_transposed(p, l) ? TRANSPOSE : 0));
        if (layers) layers[l] = c;
        through += c.forward + c.backward;
        updates += c.update;
        crossing += (double)p->size *
                    ((double)p->vector * n * (k * (nn_is_transposed(p, l) ? 2 : 1) + 2 * rows) + (l ? 0 : k * rows));
    }
    for (int block = p->n_layers; block < p->n_blocks; block++) {
        const nn_geometry *g = &p->layers[block];
        updates += CALL + slot * (double)((g->k + 1) * g->vectors) * optimizer_slots(optimizer);
    }
    const nn_geometry *last = &p->layers[p->n_layers - 1];
    through += slot * rows * (double)last->vectors * LOSS;
    through += CALL + rows * (double)(p->layers[0].n_in * p->size) / BYTES_PER_NS;
    if (threads > 1) {
        const double share = threads > 2 && m.threads > 2 ? (double)(threads - 2) / (double)(m.threads - 2) : 0;
        barriers = (2 + barriers) * (m.barrier + share * (m.barrier_all - m.barrier));
        crossing *= (1 - 1.0 / threads) / threads * m.line / 64;
    } else {
        crossing = barriers = 0;
    }
    /* whole rows and whole blocks of weights are shared out: the thread with one more sets the time */
    double most_rows = rows_ > threads ? (double)nn_ceil_div(rows_, threads) : 1;
    if (nn_is_chunked(p, rows_)) { /* whole chunks are */
        most_rows = (double)(nn_ceil_div(nn_ceil_div(rows_, CHUNK), threads) * CHUNK);
        if (most_rows > rows) most_rows = rows;
    }
    const double blocks = (double)nn_ceil_div(p->n_vectors, p->vector);
    const double most_blocks = blocks > threads ? 1.0 / threads + 0.5 / blocks : 1 / blocks;
    return STEP + through * most_rows / rows + updates * most_blocks + barriers + crossing;
}

/* Half of a step of so few flops takes no longer than two barriers, on any CPU */
static const double FLOPS_ALONE = 60e3;

int nn_tune(nn_plan *p, int64_t rows, int optimizer, int most) {
    const int64_t shares = nn_is_chunked(p, rows) ? nn_ceil_div(rows, CHUNK) : rows;
    if (most > shares) most = (int)shares;
    if (most < 2 || 3 * p->flops_forward * (double)rows < FLOPS_ALONE) return 0;
    for (int i = 0; i < NN_TUNERS; i++) {
        p->tuner = &p->tuners[i];
        if (p->tuner->rows == rows && p->tuner->optimizer == optimizer && p->tuner->most == most) return 1;
    }
    nn_tuner *t = p->tuner = &p->tuners[p->next_tuner++ % NN_TUNERS];
    *t = (nn_tuner){.rows = rows, .optimizer = optimizer, .most = most};
    for (int threads = 1; t->n < NN_MOST_CHOICES; threads = 2 * threads < most ? 2 * threads : most) {
        nn_choice *c = &t->choices[t->n];
        *c = (nn_choice){threads, nn_predict_step(p, rows, optimizer, threads, NULL), 0};
        if (c->predicted < t->choices[t->best].predicted) t->best = t->n;
        t->n++;
        if (threads == most) break;
    }
    t->upwards = t->best < t->n - 1;
    return 1;
}

int nn_first_choice(nn_plan *p, int64_t rows, int optimizer, int most) {
    return nn_tune(p, rows, optimizer, most) ? p->tuner->choices[p->tuner->best].threads : 1;
}
