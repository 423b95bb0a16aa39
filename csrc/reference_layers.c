/* reference_layers.c: the naive kernels of normalisation, dropout and noise, penalties and bounds; see reference.c. */
#include "reference.h"

/* ---- normalisation: what norm.c says, in the wide type */

static int64_t padded(int64_t n, int width) { return (n + width - 1) / width * width; }
static wide x_of(const nn_norm *a, int64_t r, int64_t j) {
    return ((const real *)a->x)[in_panels(r, j, a->x_rows, a->width)];
}
static wide d_of(const nn_norm *a, int64_t r, int64_t j) {
    return ((const real *)a->d)[in_panels(r, j, a->d_rows, a->width)];
}
static wide weight_of(const nn_norm *a, int64_t k, int64_t j) {
    return ((const real *)a->weights)[in_weights(k, j, 2, a->n, a->width)];
}
static wide xhat_by_column(const nn_norm *a, int64_t r, int64_t j) {
    const wide variance = ((const real *)a->variance)[j];
    return (x_of(a, r, j) - ((const real *)a->mean)[j]) / LIBM(sqrt)(variance + (wide)(real)a->epsilon);
}
static void put_normed(const nn_norm *a, int64_t r, int64_t j, wide xhat) {
    ((real *)a->out)[in_panels(r, j, a->out_rows, a->width)] =
        (real)apply(a->activation, a->alpha, xhat * weight_of(a, 0, j) + weight_of(a, 1, j));
}
static void put_gradient(const nn_norm *a, int64_t r, int64_t j, wide g) {
    ((real *)a->out)[in_panels(r, j, a->out_rows, a->width)] = (real)times_derivative(
        a->activation, a->alpha, ((const real *)a->kept)[in_panels(r, j, a->x_rows, a->width)], g);
}

void REFERENCE(moments)(const nn_norm *a, int64_t r0, int64_t r1, void *mean, void *square) {
    for (int64_t j = 0; j < a->n; j++) {
        wide sum = 0, squares = 0;
        for (int64_t r = r0; r < r1; r++) sum += x_of(a, r, j);
        sum /= (wide)(r1 - r0);
        for (int64_t r = r0; r < r1; r++) squares += (x_of(a, r, j) - sum) * (x_of(a, r, j) - sum);
        ((real *)mean)[j] = (real)sum;
        ((real *)square)[j] = (real)squares;
    }
}

void REFERENCE(merge_moments)(int64_t n, int64_t rows, int64_t part_rows, const void *parts_, void *mean_,
                              void *variance, int width) {
    const int64_t length = padded(n, width);
    for (int64_t j = 0; j < n; j++) {
        wide mean = 0, squares = 0;
        for (int64_t done = 0, part = 0; done < rows; done += part_rows, part++) {
            const wide here = rows - done < part_rows ? (wide)(rows - done) : (wide)part_rows;
            mean += here * ((const real *)parts_)[part * 2 * length + j] / (wide)rows;
        }
        for (int64_t done = 0, part = 0; done < rows; done += part_rows, part++) {
            const wide here = rows - done < part_rows ? (wide)(rows - done) : (wide)part_rows;
            const wide apart = ((const real *)parts_)[part * 2 * length + j] - mean;
            squares += ((const real *)parts_)[part * 2 * length + length + j] + here * apart * apart;
        }
        ((real *)mean_)[j] = (real)mean;
        ((real *)variance)[j] = (real)(squares / (wide)rows);
    }
}

void REFERENCE(batch_norm)(const nn_norm *a, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < a->n; j++) put_normed(a, r, j, xhat_by_column(a, r, j));
}

void REFERENCE(norm_sums)(const nn_norm *a, int64_t r0, int64_t r1, void *sums_) {
    real *sums = sums_;
    for (int64_t j = 0; j < a->n; j++) {
        wide product = 0, sum = 0;
        for (int64_t r = r0; r < r1; r++) product += d_of(a, r, j) * xhat_by_column(a, r, j), sum += d_of(a, r, j);
        sums[j] = (real)product;
        sums[padded(a->n, a->width) + j] = (real)sum;
    }
}

void REFERENCE(batch_norm_backward)(const nn_norm *a, int64_t r0, int64_t r1) {
    const real *sums = a->sums;
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < a->n; j++) {
            const wide product = sums[j] * (wide)a->share, mean = sums[padded(a->n, a->width) + j] * (wide)a->share;
            const wide scale = 1 / LIBM(sqrt)(((const real *)a->variance)[j] + (wide)(real)a->epsilon);
            put_gradient(a, r, j,
                         weight_of(a, 0, j) * scale * (d_of(a, r, j) - mean - xhat_by_column(a, r, j) * product));
        }
}

void REFERENCE(layer_norm)(const nn_norm *a, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++) {
        wide mean = 0, variance = 0;
        for (int64_t j = 0; j < a->n; j++) mean += x_of(a, r, j) / (wide)a->n;
        for (int64_t j = 0; j < a->n; j++) variance += (x_of(a, r, j) - mean) * (x_of(a, r, j) - mean) / (wide)a->n;
        const wide scale = 1 / LIBM(sqrt)(variance + (wide)(real)a->epsilon);
        for (int64_t j = 0; j < a->n; j++) put_normed(a, r, j, (x_of(a, r, j) - mean) * scale);
        if (!a->row_stats) continue;
        ((real *)a->row_stats)[2 * r] = (real)mean;
        ((real *)a->row_stats)[2 * r + 1] = (real)scale;
    }
}

static wide xhat_by_row(const nn_norm *a, int64_t r, int64_t j) {
    const real *stats = (const real *)a->row_stats + 2 * r;
    return (x_of(a, r, j) - stats[0]) * stats[1];
}

void REFERENCE(layer_norm_backward)(const nn_norm *a, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++) {
        wide mean = 0, product = 0;
        for (int64_t j = 0; j < a->n; j++) {
            mean += d_of(a, r, j) * weight_of(a, 0, j) / (wide)a->n;
            product += d_of(a, r, j) * weight_of(a, 0, j) * xhat_by_row(a, r, j) / (wide)a->n;
        }
        for (int64_t j = 0; j < a->n; j++)
            put_gradient(a, r, j,
                         ((const real *)a->row_stats)[2 * r + 1] *
                             (d_of(a, r, j) * weight_of(a, 0, j) - mean - xhat_by_row(a, r, j) * product));
    }
}

void REFERENCE(layer_norm_gradient)(const nn_norm *a, int64_t panel, int64_t r0, int64_t r1, void *dst_) {
    const int64_t start = panel * 2 * a->width, stored = panel_width(start, a->n, a->width);
    real *dst = dst_;
    for (int64_t j = start; j < start + stored; j++) {
        wide product = 0, sum = 0;
        for (int64_t r = r0; j < a->n && r < r1; r++)
            product += d_of(a, r, j) * xhat_by_row(a, r, j), sum += d_of(a, r, j);
        dst[j - start] = (real)product;
        dst[stored + j - start] = (real)sum;
    }
}

void REFERENCE(dropout)(const nn_dropout *a, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < a->n; j++) {
            nn_keys k = a->keys;
            const uint64_t word = (uint64_t)(a->first + r) * (uint64_t)a->stride + (uint64_t)j;
            uint64_t key;
            k.first = word / 2;
            REFERENCE(keys)(&k, 1, &key);
            const wide x = ((const real *)a->x)[in_panels(r, j, a->x_rows, a->width)];
            const wide kept = (uint32_t)(word % 2 ? key >> 32 : key) < a->threshold ? 0 : x * (wide)(real)a->scale;
            const wide f =
                a->activation == NN_IDENTITY
                    ? kept
                    : times_derivative(a->activation, a->alpha,
                                       ((const real *)a->outputs)[in_panels(r, j, a->outputs_rows, a->width)], kept);
            ((real *)a->out)[in_panels(r, j, a->out_rows, a->width)] = (real)f;
        }
}

/* sin(2 pi word / 2^32); by whole right angles first, or a small sine would be the error of the angle */
static wide sine_of_turn(uint32_t word) {
    const int64_t quarter = ((int64_t)word + (1 << 29)) >> 30;
    const wide x = PI / 2 * (wide)((int64_t)word - (quarter << 30)) / (wide)(1 << 30);
    const wide y = quarter % 2 ? LIBM(cos)(x) : LIBM(sin)(x);
    return quarter & 2 ? -y : y;
}

void REFERENCE(noise)(const nn_dropout *a, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < a->n; j++) {
            wide z = 0;
            if (a->scale != 0) {
                uint32_t words[2]; /* the radius', the angle's */
                for (int i = 0; i < 2; i++) {
                    nn_keys k = a->keys;
                    uint64_t key;
                    const uint64_t word =
                        (uint64_t)(a->first + r) * (uint64_t)a->stride + (uint64_t)(j / 32 * 32 + j % 16 + 16 * i);
                    k.first = word / 2;
                    REFERENCE(keys)(&k, 1, &key);
                    words[i] = (uint32_t)(word % 2 ? key >> 32 : key);
                }
                const wide radius = LIBM(sqrt)(-2 * LIBM(log)(((wide)words[0] + (wide)0.5) / (wide)4294967296.0));
                z = radius * sine_of_turn(words[1] + (j % 32 < 16 ? 1u << 30 : 0)) * (wide)(real)a->scale;
            }
            const wide sum = ((const real *)a->x)[in_panels(r, j, a->x_rows, a->width)] + z;
            const wide f =
                a->activation == NN_IDENTITY
                    ? sum
                    : times_derivative(a->activation, a->alpha,
                                       ((const real *)a->outputs)[in_panels(r, j, a->outputs_rows, a->width)], sum);
            ((real *)a->out)[in_panels(r, j, a->out_rows, a->width)] = (real)f;
        }
}

void REFERENCE(columns)(const nn_columns *a, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < a->n || j % (2 * a->width); j++) {
            real *to = (real *)a->out + in_panels(r, j, a->out_rows, a->width);
            if (j >= a->n) *to = 0;
            if (j < a->n_copied) *to = ((const real *)a->x)[in_panels(r, a->copied[j], a->x_rows, a->width)];
        }
}

static int64_t code_of(const nn_embedding *a, int64_t r) {
    const real code = ((const real *)a->x)[in_panels(r, a->column, a->x_rows, a->width)];
    return code >= 0 && code < (real)a->codes ? (int64_t)code : 0;
}

void REFERENCE(embedding)(const nn_embedding *a, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < a->n; j++)
            ((real *)a->out)[in_panels(r, a->offset + j, a->out_rows, a->width)] =
                ((const real *)a->w)[in_weights(code_of(a, r), j, a->codes, a->n, a->width)];
}

void REFERENCE(embedding_gradient)(const nn_embedding *a, int64_t rows, int64_t panel, int64_t k0, int64_t k1,
                                   void *dst) {
    const int64_t start = panel * 2 * a->width, stored = panel_width(start, a->n, a->width);
    for (int64_t k = k0; k < k1; k++)
        for (int64_t j = start; j < start + stored; j++) {
            wide sum = 0;
            for (int64_t r = 0; r < rows && j < a->n; r++)
                if (code_of(a, r) == k)
                    sum += ((const real *)a->out)[in_panels(r, a->offset + j, a->out_rows, a->width)];
            ((real *)dst)[(k - k0) * stored + j - start] = (real)sum;
        }
}

void REFERENCE(regularize)(double l1, double l2, int64_t n, const void *p_, void *g_) {
    const real *p = p_;
    real *g = g_;
    for (int64_t i = 0; i < n; i++)
        g[i] = (real)((wide)g[i] + (wide)(real)l2 * p[i] + (wide)(real)l1 * ((p[i] > 0) - (p[i] < 0)));
}

void REFERENCE(clip)(double factor, double limit, int64_t n, void *g_) {
    real *g = g_;
    for (int64_t i = 0; i < n; i++) {
        wide x = (wide)g[i] * (wide)(real)factor;
        if (limit > 0 && x > (wide)(real)limit) x = (wide)(real)limit;
        if (limit > 0 && x < -(wide)(real)limit) x = -(wide)(real)limit;
        g[i] = (real)x;
    }
}

double REFERENCE(sum_of_squares)(int64_t n, const void *g) {
    wide sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (wide)((const real *)g)[i] * (wide)((const real *)g)[i];
    return (double)sum;
}

void REFERENCE(limit_norms)(double limit, int64_t k, int64_t stored, void *w_) {
    real *w = w_;
    for (int64_t j = 0; j < stored; j++) {
        wide squares = 0;
        for (int64_t i = 0; i < k; i++) squares += (wide)w[i * stored + j] * w[i * stored + j];
        const wide length = LIBM(sqrt)(squares);
        for (int64_t i = 0; i < k && length > (wide)(real)limit; i++)
            w[i * stored + j] = (real)((wide)w[i * stored + j] * ((wide)(real)limit / length));
    }
}
