/* reference.c: every kernel as the formula that it computes, number by number over libm: the oracle of the kernel tests.
 *
 * Never optimised. Arithmetic is done in a wider type than the one that it reads and writes, so that this is the better
 * answer of the two wherever it and a SIMD kernel differ. Compiled twice, for float and, with NN_DOUBLE, for double.
 * It has no vector width of its own (0 in its table): the width of the layout always comes with the arguments.
 * Here are products, losses, updates and random words; reference_layers.c has what the other layers do.
 */
#include "reference.h"

/* ---- rows in and out */

int64_t REFERENCE(gather)(const nn_gather *g, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++) {
        const real *x = (const real *)g->x + source_row(g->order, g->first, r) * g->stride;
        int good = 1;
        for (int64_t j = 0; j < g->n; j++) {
            ((real *)g->panels)[in_panels(r, j, g->panel_rows, g->width)] = x[j];
            if (!isfinite(x[j])) good = 0;
        }
        if (!good) return r;
    }
    return -1;
}

void REFERENCE(scatter)(const nn_scatter *s, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++) {
        real *y = (real *)s->y + source_row(s->order, s->first, r) * s->stride;
        for (int64_t j = 0; j < s->n; j++) y[j] = ((const real *)s->panels)[in_panels(r, j, s->panel_rows, s->width)];
    }
}

int REFERENCE(finite)(int64_t n, const void *x) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(((const real *)x)[i])) return 0;
    return 1;
}

/* ---- products */

void REFERENCE(forward)(const nn_product *p, int64_t r0, int64_t r1) {
    const real *a = p->a, *w = p->w;
    real *out = p->out;
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < p->n; j++) {
            wide z = w[in_weights(p->k, j, p->w_rows, p->n, p->width)];
            for (int64_t k = 0; k < p->k; k++)
                z += (wide)a[in_panels(r, k, p->a_rows, p->width)] * w[in_weights(k, j, p->w_rows, p->n, p->width)];
            const int64_t here = in_panels(r, j, p->out_rows, p->width);
            out[here] = (real)apply(p->activation, p->alpha, z);
            if (p->slopes) ((real *)p->slopes)[here] = (real)slope_at(p->activation, z);
        }
}

void REFERENCE(backward)(const nn_product *p, int64_t r0, int64_t r1) {
    const real *d = p->a, *wt = p->w, *outputs = p->outputs;
    real *out = p->out;
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < p->n; j++) {
            const int64_t here = in_panels(r, j, p->out_rows, p->width);
            wide sum = 0;
            for (int64_t k = 0; k < p->k; k++)
                sum += (wide)d[in_panels(r, k, p->a_rows, p->width)] * wt[in_weights(k, j, p->w_rows, p->n, p->width)];
            out[here] = (real)times_derivative(p->activation, p->alpha, outputs[here], sum);
        }
}

void REFERENCE(outer)(const nn_outer *o, int64_t panel, int64_t k0, int64_t k1, void *dst) {
    const real *a = o->a, *d = o->d;
    real *out = dst;
    const int64_t j0 = panel * 2 * o->width, columns = panel_width(j0, o->n, o->width);
    for (int64_t k = k0; k < k1; k++)
        for (int64_t j = j0; j < j0 + columns; j++) {
            wide sum = 0; /* and 0 where the panel has columns that the matrix has not */
            for (int64_t r = o->r0; r < o->r1 && j < o->n; r++)
                sum += (k < o->k ? (wide)a[in_panels(r, k, o->a_rows, o->width)] : 1) *
                       d[in_panels(r, j, o->d_rows, o->width)];
            out[(k - k0) * columns + (j - j0)] = (real)sum;
        }
}

void REFERENCE(sum_parts)(int64_t n, int64_t parts, int64_t stride, const void *src, void *dst) {
    for (int64_t i = 0; i < n; i++) {
        wide sum = 0;
        for (int64_t p = 0; p < parts; p++) sum += ((const real *)src)[p * stride + i];
        ((real *)dst)[i] = (real)sum;
    }
}

void REFERENCE(transpose)(const nn_transpose *t, int64_t panel, int64_t k0, int64_t k1) {
    const int64_t j0 = panel * 2 * t->width, j1 = j0 + 2 * t->width < t->n ? j0 + 2 * t->width : t->n;
    for (int64_t k = k0; k < k1; k++)
        for (int64_t j = j0; j < j1; j++)
            ((real *)t->wt)[in_weights(j, k, t->n, t->k, t->width)] =
                ((const real *)t->w)[in_weights(k, j, t->k + 1, t->n, t->width)];
}

/* ---- softmax and the losses */

/* p = softmax(z), in place; returns log sum exp z - max z, and max z */
static wide softmax_row(real *z, int64_t r, int64_t n, int64_t panel_rows, int width, wide *largest) {
    wide top = -INFINITY, sum = 0;
    for (int64_t j = 0; j < n; j++) top = LIBM(fmax)(top, z[in_panels(r, j, panel_rows, width)]);
    for (int64_t j = 0; j < n; j++) sum += LIBM(exp)(z[in_panels(r, j, panel_rows, width)] - top);
    for (int64_t j = 0; j < n; j++) {
        real *p = &z[in_panels(r, j, panel_rows, width)];
        *p = (real)(LIBM(exp)(*p - top) / sum);
    }
    *largest = top;
    return LIBM(log)(sum);
}

void REFERENCE(softmax)(void *panels, int64_t panel_rows, int64_t n, int64_t r0, int64_t r1, int width) {
    wide largest;
    for (int64_t r = r0; r < r1; r++) softmax_row(panels, r, n, panel_rows, width, &largest);
}

static wide floored(wide x) { return x < SMALLEST ? SMALLEST : x; }

static int sign(wide x) { return (x > 0) - (x < 0); }

/* Loss of one output a with target y, and its derivative with respect to a; without the 1 / n of those that are means
 * over the columns. x: huber's delta, quantile's q, bce's weight of the positive */
static wide loss_of(int loss, wide x, wide a, wide y) {
    const wide e = a - y;
    switch (loss) {
    case NN_MSE: return e * e;
    case NN_MAE: return LIBM(fabs)(e);
    case NN_HUBER: return LIBM(fabs)(e) > x ? x * (LIBM(fabs)(e) - x / 2) : e * e / 2;
    case NN_HINGE: return 1 - y * a < 0 ? 0 : 1 - y * a;
    case NN_POISSON: return a - y * LIBM(log)(floored(a));
    case NN_QUANTILE: return e > 0 ? (1 - x) * e : -x * e;
    case NN_BCE: return -(x * y * LIBM(log)(floored(a)) + (1 - y) * LIBM(log)(floored(1 - a)));
    default: return -(y * LIBM(log)(floored(a)));
    }
}
static wide slope_of(int loss, wide x, wide a, wide y) {
    const wide e = a - y;
    switch (loss) {
    case NN_MSE: return 2 * e;
    case NN_MAE: return sign(e);
    case NN_HUBER: return LIBM(fabs)(e) > x ? x * sign(e) : e;
    case NN_HINGE: return 1 - y * a > 0 ? -y : 0;
    case NN_POISSON: return 1 - y / floored(a);
    case NN_QUANTILE: return e > 0 ? 1 - x : e < 0 ? -x : 0;
    case NN_BCE: return (1 - y) / floored(1 - a) - x * y / floored(a);
    default: return -y / floored(a);
    }
}

static void loss_row(const nn_loss_args *l, int64_t r, int32_t label) {
    const int64_t n = l->n;
    const int over_rows = l->loss == NN_CROSS_ENTROPY || l->loss == NN_COSINE || l->loss == NN_GIVEN;
    const wide weight = l->weights ? (wide)l->weights[source_row(l->order, l->first, r)] : 1, x = (wide)l->parameter;
    const wide scale = l->loss == NN_GIVEN ? 1 : weight * (wide)l->scale / (over_rows ? 1 : (wide)n);
    real *outputs = l->outputs, *delta = l->delta;
#define OUTPUT(j) outputs[in_panels(r, j, l->panel_rows, l->width)]
#define DELTA(j) delta[in_panels(r, j, l->panel_rows, l->width)]
#define KEPT(j) (l->slopes ? (const real *)l->slopes : outputs)[in_panels(r, j, l->panel_rows, l->width)]
    if (l->labels) /* one-hot */
        for (int64_t j = 0; j < n; j++) DELTA(j) = j == label;
    if (l->smoothing != 0)
        for (int64_t j = 0; j < n; j++)
            DELTA(j) = (real)((1 - (wide)l->smoothing) * DELTA(j) +
                              (wide)l->smoothing / (l->loss == NN_CROSS_ENTROPY ? (wide)n : 2));
    wide total = 0;
    if (l->loss == NN_CROSS_ENTROPY && l->activation == NN_SOFTMAX) { /* from the logits */
        wide mass = 0, largest = -INFINITY, log_sum;
        for (int64_t j = 0; j < n; j++) largest = LIBM(fmax)(largest, OUTPUT(j));
        for (int64_t j = 0; j < n; j++) {
            mass += DELTA(j);
            if (DELTA(j) != 0 || isnan(OUTPUT(j))) total += DELTA(j) * (largest - OUTPUT(j));
        }
        log_sum = softmax_row(outputs, r, n, l->panel_rows, l->width, &largest);
        total += mass * log_sum;
        for (int64_t j = 0; j < n; j++) DELTA(j) = (real)((OUTPUT(j) * mass - DELTA(j)) * scale);
    } else if (l->loss == NN_BCE && l->activation == NN_SIGMOID) { /* from the logits */
        for (int64_t j = 0; j < n; j++) {
            const wide z = OUTPUT(j), y = DELTA(j), p = sigmoid(z);
            const wide tail = LIBM(log1p)(LIBM(exp)(-LIBM(fabs)(z)));
            total += x * y * ((z < 0 ? -z : 0) + tail) + (1 - y) * ((z < 0 ? 0 : z) + tail);
            OUTPUT(j) = (real)p;
            DELTA(j) = (real)(((1 - y) * p - x * y * (1 - p)) * scale);
        }
        total /= (wide)n;
    } else if (l->loss == NN_POISSON && l->activation == NN_EXPONENTIAL) { /* from the logits */
        for (int64_t j = 0; j < n; j++) {
            const wide z = OUTPUT(j), y = DELTA(j), a = LIBM(exp)(z);
            total += isinf((real)a) ? INFINITY : a - y * z;
            OUTPUT(j) = (real)a;
            DELTA(j) = (real)((a - y) * scale);
        }
        total /= (wide)n;
    } else { /* from the outputs, by the chain rule */
        wide largest, dot = 0, aa = 0, yy = 0, ay = 0;
        if (l->activation == NN_SOFTMAX && l->loss != NN_GIVEN)
            softmax_row(outputs, r, n, l->panel_rows, l->width, &largest);
        for (int64_t j = 0; j < n; j++) {
            aa += (wide)OUTPUT(j) * OUTPUT(j);
            yy += (wide)DELTA(j) * DELTA(j);
            ay += (wide)OUTPUT(j) * DELTA(j);
        }
        const int zero = aa == 0 || yy == 0;
        const wide norms = LIBM(sqrt)(aa) * LIBM(sqrt)(yy), cosine = zero ? 0 * (aa + yy) : ay / norms;
#define SLOPE(j)                                                                      \
    (l->loss == NN_GIVEN    ? (wide)DELTA(j)                                          \
     : l->loss == NN_COSINE ? (zero ? 0 : cosine * OUTPUT(j) / aa - DELTA(j) / norms) \
                            : slope_of(l->loss, x, OUTPUT(j), DELTA(j)))
        if (l->loss == NN_COSINE) total = cosine > 1 ? 0 : 1 - cosine;
        for (int64_t j = 0; j < n; j++) {
            if (l->loss != NN_GIVEN && l->loss != NN_COSINE) total += loss_of(l->loss, x, OUTPUT(j), DELTA(j));
            dot += SLOPE(j) * OUTPUT(j);
        }
        for (int64_t j = 0; j < n; j++) {
            const wide slope = SLOPE(j);
            const wide through = l->activation == NN_SOFTMAX
                                     ? OUTPUT(j) * (slope - dot)
                                     : times_derivative(l->activation, l->alpha, KEPT(j), slope);
            DELTA(j) = (real)(through * scale);
        }
#undef SLOPE
        if (!over_rows) total /= (wide)n;
    }
    l->row_loss[r] = (double)(real)total;
#undef OUTPUT
#undef DELTA
#undef KEPT
}

void REFERENCE(loss)(const nn_loss_args *l, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++) loss_row(l, r, l->labels ? l->labels[source_row(l->order, l->first, r)] : -1);
}

/* ---- one number after the other */

/* One parameter's step: p and the slots a, b before it are replaced by what is after it, g is its gradient */
static void update_one(const nn_update *u, wide g, real *p, real *a, real *b) {
    const wide rate = u->rate, decay = u->decay, beta1 = u->beta1, beta2 = u->beta2, epsilon = u->epsilon;
    const int decoupled = u->optimizer == NN_ADAMW || u->optimizer == NN_LION;
    wide w = *p;
    if (decoupled)
        w *= 1 - rate * decay;
    else
        g += decay * w;
    switch (u->optimizer) {
    case NN_SGD: w -= rate * g; break;
    case NN_MOMENTUM: {
        const wide v = u->momentum * (wide)*a + g;
        *a = (real)v;
        w -= rate * (u->nesterov ? g + u->momentum * v : v);
        break;
    }
    case NN_ADAM:
    case NN_ADAMW:
    case NN_NADAM: {
        *a = (real)(beta1 * *a + (1 - beta1) * g);
        *b = (real)(beta2 * *b + (1 - beta2) * g * g);
        const wide along = u->correction1 * (wide)*a + (u->optimizer == NN_NADAM ? u->correction3 * g : 0);
        w -= rate * along / (LIBM(sqrt)(*b) * u->correction2 + epsilon);
        break;
    }
    case NN_RMSPROP:
        *a = (real)(beta2 * *a + (1 - beta2) * g * g);
        w -= rate * g / (LIBM(sqrt)(*a) + epsilon);
        break;
    case NN_ADAGRAD:
        *a = (real)(*a + g * g);
        w -= rate * g / (LIBM(sqrt)(*a) + epsilon);
        break;
    case NN_LION: {
        const wide c = beta1 * *a + (1 - beta1) * g;
        w -= c > 0 ? rate : c < 0 ? -rate : c;
        *a = (real)(beta2 * *a + (1 - beta2) * g);
        break;
    }
    default: break;
    }
    *p = (real)w;
}

void REFERENCE(update)(const nn_update *u, int64_t n, const void *g_, void *p_, void *s0, void *s1) {
    real *p = p_, *a = s0, *b = s1, none = 0;
    for (int64_t i = 0; i < n; i++) update_one(u, ((const real *)g_)[i], &p[i], a ? &a[i] : &none, b ? &b[i] : &none);
}

void REFERENCE(idle)(const nn_update *u, int64_t times, int64_t n, void *s0, void *s1) {
    real *a = s0, *b = s1, none = 0;
    for (int64_t t = 0; t < times; t++)
        for (int64_t i = 0; i < n; i++) {
            real p = 0;
            update_one(u, 0, &p, a ? &a[i] : &none, b ? &b[i] : &none);
        }
}

void REFERENCE(activate)(int activation, double alpha, int64_t rows, int64_t n, int64_t stride, void *z_) {
    real *z = z_;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = r * stride; i < r * stride + n; i++) z[i] = (real)apply(activation, alpha, z[i]);
}

void REFERENCE(activate_keeping)(int activation, double alpha, int64_t rows, int64_t n, int64_t stride, void *z_,
                                 void *slopes) {
    real *z = z_;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = r * stride; i < r * stride + n; i++) {
            ((real *)slopes)[i] = (real)slope_at(activation, z[i]);
            z[i] = (real)apply(activation, alpha, z[i]);
        }
}

void REFERENCE(scale_by_derivative)(int activation, double alpha, int64_t rows, int64_t n, int64_t stride,
                                    const void *a_, void *d_) {
    const real *a = a_;
    real *d = d_;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = r * stride; i < r * stride + n; i++)
            d[i] = (real)times_derivative(activation, alpha, a[i], d[i]);
}

void REFERENCE(elementary)(int function, int64_t n, void *x_) {
    real *x = x_;
    for (int64_t i = 0; i < n; i++) {
        const wide v = x[i];
        switch (function) {
        case 0: x[i] = (real)LIBM(exp)(v); break;
        case 2: x[i] = (real)LIBM(log1p)(v); break;
        case 4: x[i] = (real)LIBM(sin)(PI / 2 * v); break;
        case 5: x[i] = (real)LIBM(cos)(PI / 2 * v); break;
        default: x[i] = (real)LIBM(log)(v); break;
        }
    }
}

double REFERENCE(fma_peak)(int64_t rounds) {
    volatile wide sum = 0;
    for (int64_t r = 0; r < rounds; r++) sum = sum * (wide)0.999 + (wide)0.001;
    return (double)rounds * 2;
}

/* Philox4x32-10, Salmon et al. 2011 */
static void philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3], k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c0, b = (uint64_t)0xCD9E8D57u * c2;
        const uint32_t n0 = (uint32_t)(b >> 32) ^ c1 ^ k0, n2 = (uint32_t)(a >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)b;
        c3 = (uint32_t)a;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0, out[1] = c1, out[2] = c2, out[3] = c3;
}

void REFERENCE(keys)(const nn_keys *k, int64_t n, uint64_t *out) {
    for (int64_t i = 0; i < n; i++) {
        const uint64_t index = k->indices ? k->indices[i] : k->first + (uint64_t)i, block = index / 2;
        const uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), (uint32_t)k->stream,
                                     k->purpose | (uint32_t)(k->stream >> 32) << 8};
        const uint32_t key[2] = {(uint32_t)k->seed, (uint32_t)(k->seed >> 32)};
        uint32_t words[4];
        philox(counter, key, words);
        out[i] = words[2 * (index % 2)] | (uint64_t)words[2 * (index % 2) + 1] << 32;
    }
}

extern const nn_kernels TABLE;
const nn_kernels TABLE = {
    .isa = "reference",
    .width = 0,
    .element_size = sizeof(real),
#define NN_KERNEL(result, name, arguments) .name = REFERENCE(name),
#include "kernels.inc"
#undef NN_KERNEL
};
