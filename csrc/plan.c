/* plan.c: the geometry of a network, its buffers, and the way from row-major matrices into panels and back. */
#include "plan.h"

#include <string.h>

#include "system.h"

enum { ALIGNMENT = 64 };
static const size_t MOST_BYTES = SIZE_MAX >> 2; /* of a buffer: offsets in it, and sums of a few, fit into int64_t */

static _Atomic int64_t allocations, asked;

/* A system that promises more memory than it has would end the process as it is written to. */
static double memory_there(void) {
    static _Atomic double known;
    if (known == 0) known = nn_system_memory();
    return known;
}

void *nn_buffer_raw(size_t bytes) {
    allocations++;
    asked += (int64_t)(bytes < MOST_BYTES ? bytes : MOST_BYTES);
    if (bytes > MOST_BYTES || (double)bytes > memory_there()) return NULL;
    const size_t whole = nn_round_up(bytes, ALIGNMENT);
    return nn_aligned(ALIGNMENT, whole ? whole : ALIGNMENT);
}
void *nn_buffer(size_t bytes) {
    void *buffer = nn_buffer_raw(bytes);
    if (buffer) memset(buffer, 0, bytes);
    return buffer;
}
void nn_buffer_free(void *buffer) { nn_aligned_free(buffer); }
int64_t nn_allocations(void) { return allocations; }
int64_t nn_bytes_asked(void) { return asked; }

/* Makes *buffer hold at least `needed` bytes; its contents are not kept. */
nn_status nn_grow(char **buffer, size_t *bytes, size_t needed, double *bytes_needed) {
    *bytes_needed = (double)needed;
    if (*buffer && *bytes >= needed) return NN_OK;
    nn_buffer_free(*buffer);
    *buffer = nn_buffer(needed);
    *bytes = *buffer ? needed : 0;
    return *buffer ? NN_OK : NN_NO_MEMORY;
}

static int64_t padded(const nn_plan *p, int64_t n) { return nn_ceil_div(n, p->vector) * p->vector; }

static int is_size(int64_t n) { return n >= 1 && n <= INT64_MAX / 4; }

/* Block l behind those before it: parameters, their transposed copy, state */
static nn_status place(nn_plan *p, int l, double *bytes_needed) {
    nn_geometry *g = &p->layers[l];
    if (!is_size(g->n_in) || !is_size(g->n_out)) return NN_BAD_SIZE;
    const size_t wide_out = (size_t)padded(p, g->n_out), wide_in = (size_t)padded(p, g->n_in), size = (size_t)p->size;
    const size_t own = nn_plus((size_t)p->n_parameters, nn_times(wide_out, (size_t)(g->k + 1)));
    const size_t turned = g->kind == NN_DENSE ? nn_times(wide_in, (size_t)g->n_out) : 0;
    const size_t transposed = nn_plus((size_t)p->n_transposed, turned);
    const size_t statistics = nn_plus((size_t)p->n_statistics, nn_times(4, wide_out));
    const size_t bytes = nn_times(nn_plus(nn_plus(own, transposed), statistics), size);
    *bytes_needed = (double)bytes;
    if (bytes > MOST_BYTES) return NN_NO_MEMORY;
    if (p->first < 0 && g->k >= 0) p->first = l;
    g->state = g->statistics = -1;
    if (g->kind == NN_BATCH_NORM) {
        g->state = p->n_state;
        p->n_state += 2 * padded(p, g->n_out);
        g->statistics = p->n_statistics;
        p->n_statistics += 4 * padded(p, g->n_out);
        p->n_segments++;
    }
    g->panels = nn_ceil_div(g->n_out, p->panel);
    g->vectors = g->k < 0 ? 0 : padded(p, g->n_out) / p->vector;
    g->weights = p->n_parameters;
    g->transposed = p->n_transposed;
    p->n_parameters += padded(p, g->n_out) * (g->k + 1);
    if (nn_is_transposed(p, l)) p->n_transposed += padded(p, g->n_in) * g->n_out;
    p->n_vectors += (g->k + 1) * g->vectors;
    if (g->kind == NN_DENSE) p->flops_forward += 2.0 * (double)g->n_in * (double)g->n_out;
    return NN_OK;
}

/* The tables of the first layer, behind the layers, and which of its inputs go through as they are */
static nn_status place_tables(nn_plan *p, const nn_layer *first, double *bytes_needed) {
    int64_t column = 0, width = first->n_in - first->n_tables;
    for (int t = 0; t < first->n_tables; t++) {
        const nn_table *table = &first->tables[t];
        if (table->column < column || table->column >= first->n_in || table->cardinality < 1) return NN_BAD_SIZE;
        while (column < table->column) p->copied[p->n_copied++] = column++;
        column++;
        nn_geometry *g = &p->layers[p->n_layers + t];
        *g = (nn_geometry){.kind = NN_TABLE,
                           .n_in = table->cardinality,
                           .n_out = table->dim,
                           .k = table->cardinality - 1,
                           .column = table->column,
                           .offset = width};
        const nn_status status = place(p, p->n_layers + t, bytes_needed);
        if (status != NN_OK) return status;
        width += table->dim;
    }
    while (column < first->n_in) p->copied[p->n_copied++] = column++;
    return width == first->n_out ? NN_OK : NN_BAD_SIZE;
}

static int64_t rows_before_last(const nn_layer *layer) {
    switch (layer->kind) {
    case NN_DENSE: return layer->n_in;
    case NN_DROPOUT:
    case NN_NOISE:
    case NN_COLUMNS: return -1;
    default: return 1;
    }
}

static nn_status lay_out(nn_plan *p, const nn_layer *layers, double *bytes_needed) {
    p->first = layers[0].n_tables ? 0 : -1;
    p->n_segments = 1;
    for (int l = 0; l < p->n_layers; l++) {
        const nn_layer *given = &layers[l];
        if ((given->kind == NN_COLUMNS) != (given->n_tables > 0) || (given->n_tables && l)) return NN_BAD_SIZE;
        nn_geometry *g = &p->layers[l];
        *g = (nn_geometry){.kind = given->kind,
                           .n_in = given->n_in,
                           .n_out = given->n_out,
                           .k = rows_before_last(given),
                           .activation = given->activation,
                           .alpha = given->alpha,
                           .rate = given->rate,
                           .epsilon = given->epsilon,
                           .momentum = given->momentum,
                           .l1 = given->l1,
                           .l2 = given->l2,
                           .decay = given->decay,
                           .reshapes = given->l1 != 0 || given->l2 != 0 || given->decay != 0,
                           .max_norm = given->max_norm};
        p->has_max_norm |= g->max_norm > 0;
        const nn_status status = place(p, l, bytes_needed);
        if (status != NN_OK) return status;
    }
    for (int l = p->n_layers - 2; l >= 0; l--) { /* a shift goes through a linear layer as a shift */
        nn_geometry *g = &p->layers[l];
        g->idle_bias = g->k >= 0 && g->activation == NN_IDENTITY &&
                       (g[1].kind == NN_BATCH_NORM || (g[1].kind == NN_DENSE && g[1].idle_bias));
    }
    if (layers[0].n_tables) {
        const nn_status status = place_tables(p, &layers[0], bytes_needed);
        if (status != NN_OK) return status;
    }
    *bytes_needed = (double)(p->n_parameters + p->n_transposed + p->n_state) * (double)p->size;
    return NN_OK;
}

nn_plan *nn_plan_new(nn_dtype dtype, int n_layers, const nn_layer *layers, nn_status *status, double *bytes_needed) {
    *status = NN_NO_MEMORY;
    *bytes_needed = sizeof(nn_plan);
    nn_plan *p = nn_buffer(sizeof *p);
    if (!p) goto fail;
    p->dtype = dtype;
    p->kernels = nn_kernels_for(dtype);
    p->vector = p->kernels->width;
    p->panel = 2 * p->vector;
    p->size = p->kernels->element_size;
    p->n_layers = n_layers;
    p->n_blocks = n_layers + layers[0].n_tables;
    if (!is_size(layers[0].n_in)) {
        *status = NN_BAD_SIZE;
        goto fail;
    }
    const size_t geometry = nn_times((size_t)p->n_blocks, sizeof *p->layers);
    const size_t copied = nn_times(layers[0].n_tables ? (size_t)layers[0].n_in : 0, sizeof *p->copied);
    *bytes_needed = (double)nn_plus(geometry, copied);
    p->layers = nn_buffer(geometry);
    p->copied = nn_buffer(copied);
    if (!p->layers || !p->copied) goto fail;
    *status = lay_out(p, layers, bytes_needed);
    if (*status != NN_OK) goto fail;
    *status = NN_NO_MEMORY;
    p->parameters = nn_buffer(nn_times((size_t)p->n_parameters, (size_t)p->size));
    p->transposed = nn_buffer(nn_times((size_t)p->n_transposed, (size_t)p->size));
    p->state = nn_buffer(nn_times((size_t)p->n_state, (size_t)p->size));
    if (!p->parameters || !p->transposed || !p->state) goto fail;
    *status = NN_OK;
    return p;
fail:
    nn_plan_free(p);
    return NULL;
}

static void free_workspaces(nn_plan *p) {
    for (int i = 0; i < p->n_training; i++) {
        nn_buffer_free(p->training[i].memory);
        nn_buffer_free(p->training[i].act);
        nn_buffer_free(p->training[i].entry_memory);
    }
    nn_buffer_free(p->training);
    p->training = NULL;
    p->n_training = 0;
}

void nn_plan_free(nn_plan *p) {
    if (!p) return;
    free_workspaces(p);
    nn_buffer_free(p->parts);
    nn_buffer_free(p->predicting);
    nn_buffer_free(p->blocks.memory);
    nn_buffer_free(p->rest.memory);
    nn_buffer_free(p->state);
    nn_buffer_free(p->statistics);
    nn_buffer_free(p->gradients);
    nn_buffer_free(p->parameters);
    nn_buffer_free(p->transposed);
    nn_buffer_free(p->failures);
    nn_buffer_free(p->squares);
    nn_buffer_free(p->copied);
    nn_buffer_free(p->layers);
    nn_buffer_free(p);
}

/* Rows of a panel in memory: with a multiple of 4 KB from panel to panel, a thread's rows of all panels would crowd into
 * the same sets of its caches. */
static int64_t spread(int64_t rows, int64_t row_bytes) {
    return (uint64_t)rows * (uint64_t)row_bytes % 4096 == 0 ? rows + 1024 / row_bytes : rows;
}

/* n workspaces of at least `rows` rows each */
nn_status nn_workspaces(nn_plan *p, int n, int64_t rows, int inputs, double *bytes_needed) {
    if (p->n_training >= n && p->training[0].rows >= rows && p->training[0].has_inputs >= inputs) return NN_OK;
    free_workspaces(p);
    const int64_t row_bytes = p->panel * p->size;
    if (!is_size(rows)) return NN_BAD_SIZE;
    rows = spread(rows, row_bytes);
    const size_t many = (size_t)rows, size = (size_t)p->size;
    const int64_t input_panels = inputs ? nn_ceil_div(p->layers[0].n_in, p->panel) : 0;
    size_t panels = (size_t)input_panels, layer_norms = 0;
    for (int l = 0; l < p->n_layers; l++) {
        const size_t kept = nn_keeps_slopes(p->layers[l].activation) ? 3 : 2;
        panels = nn_plus(panels, nn_times(kept, (size_t)p->layers[l].panels));
        layer_norms += p->layers[l].kind == NN_LAYER_NORM;
    }
    const size_t chunks = (size_t)nn_ceil_div(rows, STATISTICS_ROWS);
    const size_t parts = nn_times3(chunks, (size_t)p->n_statistics, size);
    const size_t row_stats = nn_round_up(nn_times3(2, many, size), ALIGNMENT);
    size_t bytes = nn_times(many, nn_plus(nn_times((size_t)row_bytes, panels), sizeof(double)));
    bytes = nn_plus(bytes, nn_plus(parts, nn_times(layer_norms, row_stats)));
    *bytes_needed = (double)nn_times(bytes, (size_t)n);
    p->training = nn_buffer((size_t)n * sizeof *p->training);
    if (!p->training) return NN_NO_MEMORY;
    for (; p->n_training < n; p->n_training++) {
        nn_workspace *w = &p->training[p->n_training];
        w->rows = rows;
        w->has_inputs = inputs;
        w->bytes = bytes;
        w->memory = nn_buffer(w->bytes);
        w->act = nn_buffer(4 * ((size_t)p->n_layers + 1) * sizeof *w->act);
        if (!w->memory || !w->act) {
            p->n_training++;
            free_workspaces(p);
            return NN_NO_MEMORY;
        }
        w->delta = w->act + p->n_layers + 1;
        w->slope = w->delta + p->n_layers + 1;
        w->row_stats = w->slope + p->n_layers + 1;
        char *next = w->memory;
        w->act[0] = next;
        next += input_panels * rows * row_bytes;
        for (int l = 0; l < p->n_layers; l++)
            for (int kind = 0; kind < (nn_keeps_slopes(p->layers[l].activation) ? 3 : 2); kind++) {
                (kind == 0 ? w->act : kind == 1 ? w->delta : w->slope)[l + 1] = next;
                next += p->layers[l].panels * rows * row_bytes;
            }
        w->parts = next;
        next += parts;
        for (int l = 0; l < p->n_layers; l++)
            if (p->layers[l].kind == NN_LAYER_NORM) {
                w->row_stats[l] = next;
                next += row_stats;
            }
        w->row_loss = (double *)next;
    }
    return NN_OK;
}

int64_t nn_plan_padded(const nn_plan *p) { return p->n_parameters; }
int nn_plan_element_size(const nn_plan *p) { return (int)p->size; }
void *nn_plan_parameters(nn_plan *p) { return p->parameters; }
int64_t nn_plan_n_state(const nn_plan *p) { return p->n_state; }
void *nn_plan_state(nn_plan *p) { return p->state; }
int64_t nn_plan_state_offset(const nn_plan *p, int l) { return p->layers[l].state; }

enum { PACK, UNPACK };

static void move(const nn_plan *p, int layer, char *w, char *b, char *buffer, int direction) {
    const nn_geometry *g = &p->layers[layer];
    for (int64_t panel = 0; panel < g->panels; panel++) {
        const int64_t first = panel * p->panel, width = nn_panel_width(p, g->n_out, panel);
        const int64_t columns = g->n_out - first < width ? g->n_out - first : width;
        char *rows = buffer + (g->weights + first * (g->k + 1)) * p->size;
        for (int64_t k = 0; k <= g->k; k++, rows += width * p->size) {
            char *outside = k < g->k ? w + (k * g->n_out + first) * p->size : b + first * p->size;
            if (direction == PACK)
                memcpy(rows, outside, (size_t)(columns * p->size));
            else
                memcpy(outside, rows, (size_t)(columns * p->size));
        }
    }
}

void nn_pack(const nn_plan *p, int layer, const void *w, const void *b, void *buffer) {
    move(p, layer, (char *)(uintptr_t)w, (char *)(uintptr_t)b, buffer, PACK);
}
void nn_unpack(const nn_plan *p, int layer, const void *buffer, void *w, void *b) {
    move(p, layer, w, b, (char *)(uintptr_t)buffer, UNPACK);
}

/* Where few weights give dW too few tiles to feed the threads, and the partial gradients of all chunks stay small */
int nn_is_chunked(const nn_plan *p, int64_t rows) {
    if (p->n_segments > 1) return 0;
    const int64_t chunks = nn_ceil_div(rows, CHUNK), most = 256 * 1024; /* elements */
    return chunks > 1 && chunks <= most / p->n_parameters;
}

nn_columns nn_columns_of(const nn_plan *p, const void *in, void *out, int64_t rows) {
    return (nn_columns){in, rows, out, rows, p->layers[0].n_out, p->copied, p->n_copied, (int)p->vector};
}

nn_embedding nn_embedding_of(const nn_plan *p, int block, const void *in, void *out, int64_t rows) {
    const nn_geometry *g = &p->layers[block];
    return (nn_embedding){.x = in,
                          .x_rows = rows,
                          .column = g->column,
                          .w = p->parameters + g->weights * p->size,
                          .codes = g->k + 1,
                          .n = g->n_out,
                          .out = out,
                          .out_rows = rows,
                          .offset = g->offset,
                          .width = (int)p->vector};
}

int64_t nn_plan_bad_code(const nn_plan *p, const void *x, int64_t n, int *table) {
    const int64_t stride = p->layers[0].n_in;
    int64_t first = -1;
    for (int t = 0; t < p->n_blocks - p->n_layers; t++) {
        const nn_geometry *g = &p->layers[p->n_layers + t];
        for (int64_t r = 0; r < (first < 0 ? n : first); r++) {
            const int64_t i = r * stride + g->column;
            const double code = p->dtype == NN_F32 ? (double)((const float *)x)[i] : ((const double *)x)[i];
            if (code >= 0 && code <= (double)g->k && code == (double)(int64_t)code) continue;
            first = r;
            *table = t;
        }
    }
    return first;
}

void nn_plan_refresh(nn_plan *p) {
    for (int l = 1; l < p->n_layers; l++) {
        if (!nn_is_transposed(p, l)) continue;
        const nn_transpose t = nn_transpose_of(p, l);
        for (int64_t panel = 0; panel < p->layers[l].panels; panel++) p->kernels->transpose(&t, panel, 0, t.k);
    }
}

void nn_plan_forget(nn_plan *p) { p->rest.owner = 0; }

int nn_plan_finite(const nn_plan *p, const void *buffer) { return p->kernels->finite(p->n_parameters, buffer); }
