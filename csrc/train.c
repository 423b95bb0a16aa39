/* train.c: nn_run, n steps of training, and nn_loss_and_gradient.
 *
 * A step has two phases with a barrier after each. What is summed, and in which order, follows from the shape and the
 * ISA alone; threads only share out the work, so that any number of them gives the same bits.
 *
 *   TILES (the usual way)  1. each thread takes its rows of the batch through gather, all layers forward, the loss and
 *                             all layers backward, without meeting the others;
 *                          2. each thread owns a range of weight rows: their gradient over the whole batch, the
 *                             optimizer on it while it is in cache, the transposed copy.
 *   CHUNKS (few weights,   1. the batch is cut into chunks of CHUNK rows; a chunk's partial gradient is made while its
 *    large batch)             rows are in cache;
 *                          2. each thread owns a range of weight rows: the partials are added in the order of the
 *                             chunks, then as above.
 * Between the phases all threads see whether any met bad data or a loss that is not finite: then nobody updates, and
 * the weights are those of the step before.
 * A loss of the caller's needs the outputs of the whole batch: phase 1 is then cut in two, and thread 0 calls it between.
 */
#include "cost.h"
#include "sparse.h"
#include "step.h"

/* ---- a step */

/* Runs one batch; returns whether it went well, and if so has updated (or filled the gradient) */
static failure one_batch(const run *c, const batch *b, const nn_update *u, nn_team *team, int thread, int n_threads,
                         int *given_up) {
    const nn_plan *p = c->p;
    if (thread == 0 && !c->job->exact_threads) nn_watch_team(team, c->flops);
    if (c->squares) nn_square_panels(c, thread, n_threads);
    nn_rows_of_batch(c, b, team, thread, n_threads);
    nn_barrier(team);
    *given_up = nn_team_given_up(team);
    const failure f = nn_worst(c, n_threads);
    const int goes_on = f.status == NN_OK || (c->gradient && f.status == NN_DIVERGED && !c->job->given);
    if (goes_on && thread == 0) {
        const double sum = c->chunked ? nn_sum(p->chunk_losses, nn_ceil_div(b->rows, CHUNK))
                                      : nn_sum(p->training[0].row_loss, b->rows);
        c->job->loss_sum += c->job->by_batch ? sum * b->scale * (double)b->rows : sum;
        if (c->squares) c->job->penalty_sum += nn_penalty_of_batch(c, b);
    }
    if (goes_on && thread == 0 && u->optimizer == NN_NADAM) {
        c->job->mu_product *= u->momentum;
        if (c->job->mu_product < 1e-20) c->job->mu_product = 0; /* 1 minus it is 1 either way */
    }
    if (goes_on && thread == 0 && p->n_segments > 1 && !c->gradient) {
        const nn_pass pass = nn_pass_of(c, b, 0, thread);
        nn_update_running(p, &pass);
    }
    if (goes_on && c->job->csr && !c->chunked) {
        nn_sort_entries(c->p, thread, n_threads, nn_first_row(p, b->rows, thread, n_threads),
                        nn_first_row(p, b->rows, thread + 1, n_threads));
        nn_barrier(team);
    }
    if (goes_on) nn_update_weights(c, b, u, team, thread, n_threads);
    nn_barrier(team);
    return f;
}

static void run_task(void *context, nn_team *team, int thread, int n_threads) {
    const run *c = context;
    nn_job *job = c->job;
    const int shuffled = job->shuffle && job->batch < job->n; /* a batch of all rows is the same in any order */
    int64_t epoch = (c->first_step + c->start) / c->steps_per_epoch - 1;
    int64_t within = (c->first_step + c->start) % c->steps_per_epoch;
    for (int64_t step = c->start; step < c->stop; step++, within++) {
        if (within == c->steps_per_epoch || step == c->start) epoch++;
        if (within == c->steps_per_epoch) within = 0;
        const uint64_t stream = job->first_epoch + (uint64_t)epoch;
        if (shuffled && (within == 0 || step == c->start)) {
            if (thread == 0 && !(job->order_valid && job->order_epoch == stream)) {
                const int64_t began = nn_now();
                nn_permutation(job->seed, stream, (uint32_t)job->n, job->order, job->scratch);
                job->shuffle_ns += nn_now() - began;
                job->order_epoch = stream;
                job->order_valid = 1;
            }
            nn_barrier_patient(team);
        }
        const int64_t first = within * job->batch, rows = job->n - first < job->batch ? job->n - first : job->batch;
        const uint32_t *order = shuffled ? job->order : job->given_order;
        const double scale = nn_batch_scale(job, order, first, rows);
        const batch b = {first, rows, order, scale, stream, 1, step, job->penalty * scale};
        const nn_update u = nn_update_of(job, step);
        if (within == 0 && thread == 0) job->loss_sum = job->penalty_sum = 0;
        int given_up = 0;
        const failure f = one_batch(c, &b, &u, team, thread, n_threads, &given_up);
        if (f.status != NN_OK) {
            if (thread == 0) {
                job->steps_done = step;
                job->bad_row = b.order ? (int64_t)b.order[first + f.row] : first + f.row;
                job->bad_layer = f.layer;
            }
            return;
        }
        if (given_up && n_threads > 1) {
            if (thread != 0) return;
            nn_go_on_alone(team);
            n_threads = 1;
        }
    }
    if (thread == 0) job->steps_done = c->stop;
}

static void gradient_task(void *context, nn_team *team, int thread, int n_threads) {
    const run *c = context;
    const batch b = {0, c->job->n, NULL, nn_batch_scale(c->job, NULL, 0, c->job->n), 0, 1, 0, 0};
    const nn_update none = {0};
    int given_up = 0;
    const failure f = one_batch(c, &b, &none, team, thread, n_threads, &given_up);
    if (thread == 0 && f.status != NN_OK) c->job->bad_row = f.row;
}

/* ---- preparation */

nn_status nn_job_prepare(nn_job *job, double *bytes_needed) {
    static _Atomic uint64_t serials;
    job->serial = ++serials;
    if (!job->shuffle || job->batch >= job->n) return NN_OK;
    if (job->n > (int64_t)UINT32_MAX) return NN_BAD_SIZE;
    const size_t scratch = nn_permutation_scratch((uint32_t)job->n);
    const size_t order = nn_times((size_t)job->n, sizeof *job->order);
    *bytes_needed = (double)nn_plus(order, scratch);
    job->order = nn_buffer_raw(order);
    job->scratch = nn_buffer_raw(scratch);
    return job->order && job->scratch ? NN_OK : NN_NO_MEMORY;
}

void nn_job_release(nn_job *job) {
    nn_buffer_free(job->order);
    nn_buffer_free(job->scratch);
    job->order = NULL;
    job->scratch = NULL;
}

/* The mode, from the shape alone; then threads and memory for it */
static nn_status prepare(run *c, int64_t rows, int *threads, double *bytes_needed) {
    nn_plan *p = c->p;
    const int64_t chunks = nn_ceil_div(rows, CHUNK);
    c->chunked = nn_is_chunked(p, rows) && !c->job->given; /* whose outputs are wanted all at once */
    c->reshapes = c->job->clip_value > 0 || c->job->clip_norm > 0 || c->job->penalty != 0;
    const nn_geometry *lowest = &p->layers[p->first < 0 ? 0 : p->first];
    const double first = lowest->kind == NN_DENSE ? 2.0 * (double)lowest->n_in * (double)lowest->n_out : 0;
    c->flops = (double)rows * (3 * p->flops_forward - first);
    const nn_csr *csr = c->job->csr;
    if (csr && lowest->kind == NN_DENSE) { /* a row's products there and back are with what is stored of it */
        const double stored = (double)csr->stored / (double)c->job->n;
        c->flops += (double)rows * 4 * (stored - (double)lowest->n_in) * (double)lowest->n_out;
    }
    *threads = nn_forced_threads() ? nn_forced_threads() : c->job->exact_threads;
    if (!*threads) {
        *threads = nn_usable_threads(c->job->max_threads);
        if (*threads > rows) *threads = (int)rows;
    }
    const size_t size = (size_t)p->size, parameters = (size_t)p->n_parameters;
    const size_t failures = nn_times((size_t)*threads, sizeof *c->failures);
    if (nn_grow(&p->failures, &p->failures_bytes, failures, bytes_needed) != NN_OK) return NN_NO_MEMORY;
    c->failures = (failure *)(void *)p->failures;
    if (c->job->penalty != 0 && !c->gradient) {
        const size_t squares = nn_times((size_t)nn_count_panels(p), sizeof(double));
        if (nn_grow(&p->squares, &p->squares_bytes, squares, bytes_needed) != NN_OK) return NN_NO_MEMORY;
        c->squares = (double *)(void *)p->squares;
    }
    for (int t = 0; t < *threads; t++) c->failures[t] = (failure){NN_OK, 0, -1};
    if (c->job->clip_norm > 0) {
        const size_t sums = nn_times((size_t)nn_ceil_div(p->n_parameters, NORM_BLOCK), sizeof(double));
        const size_t bytes = nn_plus(nn_times(parameters, size), sums);
        if (nn_grow(&p->gradients, &p->gradients_bytes, bytes, bytes_needed) != NN_OK) return NN_NO_MEMORY;
    }
    const size_t statistics = nn_times3((size_t)*threads, (size_t)p->n_statistics, size);
    if (nn_grow(&p->statistics, &p->statistics_bytes, statistics, bytes_needed) != NN_OK) return NN_NO_MEMORY;
    const int n = c->chunked ? *threads : 1;
    const int64_t room = c->chunked ? CHUNK : rows;
    nn_status status = nn_workspaces(p, n, room, !csr, bytes_needed);
    if (status == NN_OK && csr) {
        c->most_entries = nn_most_entries(csr, room);
        status = nn_sparse_room(p, csr, n, room, c->chunked ? 0 : *threads, bytes_needed);
    }
    for (int i = 0; i < p->n_training && !csr; i++) p->training[i].sparse = NULL;
    if (status != NN_OK || !c->chunked) return status;
    const size_t parts = nn_times3((size_t)chunks, parameters, size), sums = nn_times((size_t)chunks, sizeof(double));
    const nn_status grown = nn_grow(&p->parts, &p->parts_bytes, nn_plus(parts, sums), bytes_needed);
    /* parameter-shaped buffers are whole vectors, so that the doubles behind them are aligned */
    if (grown == NN_OK) p->chunk_losses = (double *)(void *)(p->parts + parts);
    return grown;
}

nn_status nn_run(nn_plan *p, nn_job *job, int64_t first_step, int64_t n_steps, double *bytes_needed) {
    run c = {.p = p, .job = job, .first_step = first_step, .steps_per_epoch = nn_ceil_div(job->n, job->batch)};
    int threads = 1;
    nn_prepare_updates(job);
    job->steps_done = 0;
    job->bad_row = job->bad_layer = -1;
    nn_status status = prepare(&c, job->batch, &threads, bytes_needed);
    if (status == NN_OK) status = nn_rest_begin(&c, n_steps, bytes_needed);
    const int forced = nn_forced_threads() || job->exact_threads;
    const int tuned = !forced && !job->given && nn_tune(p, job->batch, job->optimizer, threads);
    if (job->given && !forced) { /* its time says nothing of the threads */
        const int worth = nn_choose_threads(c.flops, job->max_threads);
        if (worth < threads) threads = worth;
    }
    while (status == NN_OK && job->steps_done < n_steps) {
        const int team = tuned                  ? nn_tuner_pick(p->tuner, nn_is_short(c.flops) && nn_contended())
                         : forced || job->given ? threads
                                                : 1;
        const int64_t left = n_steps - job->steps_done, steps = tuned ? nn_tuner_steps(p->tuner) : left;
        c.start = job->steps_done;
        c.stop = c.start + (steps < left ? steps : left);
        const int64_t began = nn_now();
        job->shuffle_ns = 0;
        job->threads = nn_parallel(team, run_task, &c);
        if (job->steps_done < c.stop)
            status = nn_worst(&c, job->threads).status;
        else if (tuned)
            nn_tuner_took(p->tuner, (double)(nn_now() - began - job->shuffle_ns) / (double)(c.stop - c.start),
                          c.stop - c.start);
    }
    nn_rest_end(&c, job->threads);
    job->updates += job->steps_done;
    return status;
}

nn_status nn_loss_and_gradient(nn_plan *p, nn_job *job, double *loss, void *gradient, double *bytes_needed) {
    run c = {.p = p, .job = job, .gradient = gradient};
    int threads = 1;
    job->loss_sum = 0;
    p->rest.on = 0;
    nn_status status = prepare(&c, job->n, &threads, bytes_needed);
    if (status == NN_OK) {
        const int worth = nn_choose_threads(c.flops, job->max_threads);
        job->threads = nn_parallel(worth < threads ? worth : threads, gradient_task, &c);
        status = nn_worst(&c, job->threads).status;
        if (status == NN_DIVERGED && !job->given) status = NN_OK; /* the caller sees it in the loss */
        const int per_weight = job->weights && !job->by_batch;
        *loss = per_weight ? job->loss_sum * nn_batch_scale(job, NULL, 0, job->n) : job->loss_sum / (double)job->n;
    }
    return status;
}