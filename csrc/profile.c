/* profile.c: how long the parts of a layer take, measured: forward, backward, and update (gradient, optimizer, transposed
 * copy). Runs the kernels of a training step on the plan's own buffers, but for the update, which works on scratch.
 */
#include <math.h>

#include "layers.h"

enum { REPETITIONS = 9 };

typedef struct profile {
    nn_plan *p;
    int64_t rows;
    int layer, optimizer;
    char *gradient, *scratch[3]; /* weights and slots */
    double ns[3];
} profile;

static void update_layer(const profile *c, const nn_workspace *w) {
    const nn_plan *p = c->p;
    const nn_geometry *g = &p->layers[c->layer];
    const nn_update u = {.optimizer = c->optimizer, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .momentum = 0.9};
    const nn_outer o = nn_outer_of(p, w, c->layer, c->rows);
    for (int64_t panel = 0; panel < g->panels; panel++) {
        const int64_t width = nn_panel_width(p, g->n_out, panel);
        for (int64_t k0 = 0; k0 < g->n_in; k0 += UPDATE_ROWS) {
            const int64_t k1 = k0 + UPDATE_ROWS >= g->n_in ? g->n_in + 1 : k0 + UPDATE_ROWS;
            const int64_t at = nn_weight_offset(p, c->layer, panel, k0) * p->size;
            p->kernels->outer(&o, panel, k0, k1, c->gradient);
            p->kernels->update(&u, (k1 - k0) * width, c->gradient, c->scratch[0] + at, c->scratch[1] + at,
                               c->scratch[2] + at);
            if (nn_is_transposed(p, c->layer)) {
                const nn_transpose t = nn_transpose_of(p, c->layer); /* which writes what is there already */
                p->kernels->transpose(&t, panel, k0, k1 > g->n_in ? g->n_in : k1);
            }
        }
    }
}

static void run_part(const profile *c, const nn_workspace *w, int part) {
    const nn_plan *p = c->p;
    const int own = p->layers[c->layer].activation, activation = own == NN_SOFTMAX ? NN_IDENTITY : own;
    const nn_pass pass = {.rows = c->rows, .dropping = 1, .statistics = p->statistics};
    if (part == 0) {
        nn_layer_forward(p, c->layer, w, &pass, activation, 0, c->rows);
    } else if (part == 1) {
        nn_layer_backward(p, c->layer, w, &pass, 0, c->rows);
    } else if (p->layers[c->layer].kind == NN_DENSE) {
        update_layer(c, w);
    } else {
        for (int64_t panel = 0; p->layers[c->layer].k > 0 && panel < p->layers[c->layer].panels; panel++)
            nn_norm_gradient(p, c->layer, w, &pass, panel, c->gradient);
    }
}

static void profile_task(void *context, nn_team *team, int thread, int n_threads) {
    profile *c = context;
    (void)team, (void)thread, (void)n_threads;
    for (int part = 0; part < 3; part++) {
        if (part == 1 && c->layer <= c->p->first) continue; /* which needs no gradient by its inputs */
        c->ns[part] = INFINITY;                             /* the least of several: what else runs only adds to it */
        for (int k = 0; k < REPETITIONS; k++) {
            const int64_t began = nn_now();
            int runs = 0;
            do run_part(c, &c->p->training[0], part), runs++;
            while (nn_now() - began < 20000);
            const double took = (double)(nn_now() - began) / runs;
            if (took < c->ns[part]) c->ns[part] = took;
        }
    }
}

nn_status nn_profile(nn_plan *p, int64_t rows, int optimizer, int layer, double ns[3], double *bytes_needed) {
    const int chunked = nn_is_chunked(p, rows);
    profile c = {.p = p, .rows = chunked ? CHUNK : rows, .layer = layer, .optimizer = optimizer};
    const size_t bytes = nn_times((size_t)p->n_parameters, (size_t)p->size);
    nn_status status = nn_workspaces(p, 1, c.rows, 1, bytes_needed);
    if (status == NN_OK)
        status = nn_grow(&p->statistics, &p->statistics_bytes, nn_times((size_t)p->n_statistics, (size_t)p->size),
                         bytes_needed);
    if (status != NN_OK) return status;
    p->training[0].sparse = NULL;
    c.gradient = nn_buffer((size_t)((UPDATE_ROWS + 1) * p->panel * p->size));
    for (int s = 0; s < 3; s++) c.scratch[s] = nn_buffer(bytes);
    if (c.gradient && c.scratch[0] && c.scratch[1] && c.scratch[2]) {
        nn_parallel(1, profile_task, &c);
        for (int part = 0; part < 3; part++) ns[part] = c.ns[part] * (chunked ? (double)rows / (double)CHUNK : 1);
    } else {
        *bytes_needed = (double)nn_times(3, bytes);
        status = NN_NO_MEMORY;
    }
    for (int s = 0; s < 3; s++) nn_buffer_free(c.scratch[s]);
    nn_buffer_free(c.gradient);
    return status;
}
