/* penalty.c: |W|^2 of all dense weights, for the loss of a batch. Biases do not count.
 *
 * Each panel's sum is one thread's, and the sums are added in the order of the panels, so that the result is the same for
 * any number of threads.
 */
#include "step.h"

int64_t nn_count_panels(const nn_plan *p) {
    int64_t n = 0;
    for (int l = 0; l < p->n_layers; l++)
        if (p->layers[l].kind == NN_DENSE) n += p->layers[l].panels;
    return n;
}

void nn_square_panels(const run *c, int thread, int n_threads) {
    const nn_plan *p = c->p;
    int64_t at = 0;
    for (int l = 0; l < p->n_layers; l++) {
        const nn_geometry *g = &p->layers[l];
        if (g->kind != NN_DENSE) continue;
        for (int64_t panel = 0; panel < g->panels; panel++, at++) {
            if (at % n_threads != thread) continue;
            const int64_t n = g->k * nn_panel_width(p, g->n_out, panel); /* columns past n_out are zero */
            c->squares[at] = p->kernels->sum_of_squares(n, p->parameters + nn_weight_offset(p, l, panel, 0) * p->size);
        }
    }
}

double nn_penalty_of_batch(const run *c, const batch *b) {
    return 0.5 * b->penalty * nn_sum(c->squares, nn_count_panels(c->p)) * (double)b->rows;
}
