/* smoke.c: the core without Python, for systems on which there is no Python to test it with: tools/cross.sh.
 *
 * Asks the system for what csrc/system.h has, and trains a network with every instruction set of this CPU, in both types,
 * with 1, 2 and 3 threads, whose weights must be the same bits, and which must have learned. Prints one line for each,
 * with a hash of the weights that can be compared with another system's. Status 1, and what was wrong, where it fails.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernels.h"
#include "nncore.h"
#include "system.h"

enum { N = 600, N_IN = 20, HIDDEN = 37, CLASSES = 5, BATCH = 48, EPOCHS = 12 };

static double data[N * N_IN];
static float data_f32[N * N_IN];
static int32_t labels[N];

static void fail(const char *why) {
    printf("FAILED: %s\n", why);
    exit(1);
}

static double number(uint64_t *state) { /* -1 to 1 */
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(int32_t)(*state >> 32) / 2147483648.0;
}

static void make_data(void) {
    uint64_t state = 1;
    double map[N_IN * CLASSES];
    for (int i = 0; i < N_IN * CLASSES; i++) map[i] = number(&state);
    for (int i = 0; i < N * N_IN; i++) data[i] = data_f32[i] = (float)number(&state);
    for (int r = 0; r < N; r++) {
        double best = -INFINITY;
        for (int c = 0; c < CLASSES; c++) {
            double sum = 0;
            for (int i = 0; i < N_IN; i++) sum += data[r * N_IN + i] * map[i * CLASSES + c];
            if (sum > best) best = sum, labels[r] = c;
        }
    }
}

static void fill(nn_plan *plan, nn_dtype dtype, int layer, int n_in, int n_out, double scale, double bias) {
    static double w[HIDDEN * HIDDEN], b[HIDDEN];
    static float w_f32[HIDDEN * HIDDEN], b_f32[HIDDEN];
    uint64_t state = (uint64_t)layer + 7;
    for (int i = 0; i < n_in * n_out; i++) w[i] = w_f32[i] = (float)(scale ? scale * number(&state) : 1);
    for (int i = 0; i < n_out; i++) b[i] = b_f32[i] = (float)bias;
    if (dtype == NN_F32)
        nn_pack(plan, layer, w_f32, b_f32, nn_plan_parameters(plan));
    else
        nn_pack(plan, layer, w, b, nn_plan_parameters(plan));
}

static uint64_t hash_of(const void *memory, size_t bytes) { /* FNV-1a */
    uint64_t hash = 14695981039346656037u;
    for (size_t i = 0; i < bytes; i++) hash = (hash ^ ((const unsigned char *)memory)[i]) * 1099511628211u;
    return hash;
}

static int right(nn_plan *plan, nn_dtype dtype) {
    double *out = nn_buffer(N * CLASSES * sizeof *out), bytes;
    const void *x = dtype == NN_F32 ? (const void *)data_f32 : data;
    if (!out || nn_predict(plan, x, NULL, N, 4, out, 0, &bytes) != NN_OK) fail("predictions");
    int n = 0;
    for (int r = 0; r < N; r++) {
        int best = 0;
        for (int c = 1; c < CLASSES; c++)
            if (dtype == NN_F32 ? ((float *)out)[r * CLASSES + c] > ((float *)out)[r * CLASSES + best]
                                : out[r * CLASSES + c] > out[r * CLASSES + best])
                best = c;
        n += best == labels[r];
    }
    nn_buffer_free(out);
    return n;
}

static uint64_t train(nn_dtype dtype, int threads, double *loss, int *n_right) {
    const nn_layer layers[] = {
        {.kind = NN_DENSE, .n_in = N_IN, .n_out = HIDDEN, .activation = NN_TANH},
        {.kind = NN_LAYER_NORM, .n_in = HIDDEN, .n_out = HIDDEN, .epsilon = 1e-5},
        {.kind = NN_DROPOUT, .n_in = HIDDEN, .n_out = HIDDEN, .rate = 0.1},
        {.kind = NN_DENSE, .n_in = HIDDEN, .n_out = CLASSES, .activation = NN_SOFTMAX},
    };
    nn_status status;
    double bytes;
    nn_plan *plan = nn_plan_new(dtype, 4, layers, &status, &bytes);
    if (!plan) fail("the plan");
    fill(plan, dtype, 0, N_IN, HIDDEN, 0.4, 0);
    fill(plan, dtype, 1, 1, HIDDEN, 0, 0);
    fill(plan, dtype, 3, HIDDEN, CLASSES, 0.3, 0);
    nn_plan_refresh(plan);
    const size_t size = (size_t)(nn_plan_padded(plan) * nn_plan_element_size(plan));
    const double rate = 0.01;
    nn_job job = {.x = dtype == NN_F32 ? (const void *)data_f32 : data,
                  .labels = labels,
                  .n = N,
                  .batch = BATCH,
                  .loss = NN_CROSS_ENTROPY,
                  .loss_parameter = 1,
                  .shuffle = 1,
                  .seed = 3,
                  .optimizer = NN_ADAM,
                  .beta1 = 0.9,
                  .beta2 = 0.999,
                  .epsilon = 1e-8,
                  .rates = &rate,
                  .n_rates = 1,
                  .slots = {nn_buffer(size), nn_buffer(size)},
                  .exact_threads = threads};
    if (!job.slots[0] || !job.slots[1] || nn_job_prepare(&job, &bytes) != NN_OK) fail("the job");
    const int64_t steps = (N + BATCH - 1) / BATCH;
    if (nn_run(plan, &job, 0, steps * EPOCHS, &bytes) != NN_OK) fail("training");
    *loss = job.loss_sum / N;
    *n_right = right(plan, dtype);
    const uint64_t hash = hash_of(nn_plan_parameters(plan), size);
    nn_job_release(&job);
    nn_buffer_free(job.slots[0]);
    nn_buffer_free(job.slots[1]);
    nn_plan_free(plan);
    return hash;
}

static void ask_the_system(void) {
    const int64_t began = nn_now();
    nn_nap(2000000);
    nn_yield();
    const int64_t took = nn_now() - began;
    if (took < 1000000 || took > 10000000000) fail("the clock, or a nap of 2 ms");
    if (nn_system_cores() < 1) fail("the number of cores");
    if (!(nn_system_memory() > 1e8)) fail("the size of the memory");
    void *memory = nn_aligned(64, 4096);
    if (!memory || (uintptr_t)memory % 64) fail("aligned memory");
    nn_aligned_free(memory);
    nn_aligned_free(NULL);
    if (nn_buffer((size_t)1 << 60)) fail("a buffer larger than the memory");
}

int main(void) {
    const char *message;
    ask_the_system();
    make_data();
    if (nn_select(NULL, &message) != 0) fail(message);
    for (int i = 0; nn_isas_available(i); i++) {
        if (nn_select(nn_isas_available(i), &message) != 0) fail(message);
        for (int dtype = NN_F32; dtype <= NN_F64; dtype++) {
            double loss, again;
            int n_right;
            const uint64_t hash = train((nn_dtype)dtype, 1, &loss, &n_right);
            for (int threads = 2; threads <= 3; threads++)
                if (train((nn_dtype)dtype, threads, &again, &n_right) != hash || again != loss)
                    fail("the bits depend on the number of threads");
            if (n_right < N * 9 / 10) fail("it has not learned");
            printf("%s %s loss %.17g right %d of %d weights %016llx\n", nn_isa(), dtype == NN_F32 ? "f32" : "f64", loss,
                   n_right, N, (unsigned long long)hash);
        }
    }
    fprintf(stderr, "%d cores, %.0f MB, %s\n", nn_system_cores(), nn_system_memory() / 1e6, nn_openmp());
    return 0;
}
