/* peak.c: the multiply-add rate of these cores now, the limit that the bench compares with. */
#include "kernels.h"

typedef struct peak {
    const nn_kernels *kernels;
    double seconds;
    double flops[256], time[256];
} peak;

static void peak_task(void *context, nn_team *team, int thread, int n_threads) {
    peak *c = context;
    (void)n_threads;
    nn_barrier(team);
    const int64_t start = nn_now();
    do c->flops[thread] += c->kernels->fma_peak(10000);
    while ((c->time[thread] = 1e-9 * (double)(nn_now() - start)) < c->seconds);
}

/* flops a second, summed over the threads */
double nn_peak(nn_dtype dtype, int threads, double seconds) {
    peak c = {.kernels = nn_kernels_for(dtype), .seconds = seconds};
    const int ran = nn_parallel(threads < 1 ? 1 : threads > 256 ? 256 : threads, peak_task, &c);
    double rate = 0;
    for (int t = 0; t < ran; t++) rate += c.flops[t] / c.time[t];
    return rate;
}
