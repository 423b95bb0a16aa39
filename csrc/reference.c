/* reference.c: every kernel as the formula that it computes, number by number over libm: the oracle of the kernel tests.
 *
 * Never optimised. Arithmetic is done in a wider type than the one that it reads and writes, so that this is the better
 * answer of the two wherever it and a SIMD kernel differ. Compiled twice, for float and, with NN_DOUBLE, for double.
 * It has no vector width of its own (0 in its table): the width of the layout always comes with the arguments.
 */
#include <float.h>
#include <math.h>

#include "kernels.h"

#ifdef NN_DOUBLE
typedef double real;
typedef long double wide;
#define TABLE nn_table_reference_f64
#define SMALLEST ((wide)DBL_MIN)
#else
typedef float real;
typedef double wide;
#define TABLE nn_table_reference_f32
#define SMALLEST ((wide)FLT_MIN)
#endif
/* a wide function of libm by its name for double */
#ifdef NN_DOUBLE
#define LIBM(name) name##l
#else
#define LIBM(name) name
#endif

/* ---- where an element lies; `width` is W, a panel has 2 W columns */

/* columns of the panel that column j of n lies in, as weights store it */
static int64_t panel_width(int64_t j, int64_t n, int width) {
    const int64_t start = j / (2 * width) * (2 * width);
    return n - start > width ? 2 * width : width;
}

/* element (r, j) of panels of activations or deltas */
static int64_t in_panels(int64_t r, int64_t j, int64_t panel_rows, int width) {
    const int64_t panel = j / (2 * width), column = j % (2 * width);
    return (panel * panel_rows + r) * (2 * width) + column;
}

/* element (k, j) of weight panels with `rows` rows and n columns */
static int64_t in_weights(int64_t k, int64_t j, int64_t rows, int64_t n, int width) {
    const int64_t start = j / (2 * width) * (2 * width);
    return start * rows + k * panel_width(j, n, width) + (j - start);
}

static int64_t source_row(const uint32_t *order, int64_t first, int64_t r) {
    return order ? order[first + r] : first + r;
}

/* ---- functions of one number */

static wide sigmoid(wide z) { return z < 0 ? LIBM(exp)(z) / (1 + LIBM(exp)(z)) : 1 / (1 + LIBM(exp)(-z)); }

#define SELU_SCALE ((wide)1.0507009873554804934193349852946L)
#define SELU_ALPHA ((wide)1.6732632423543772848170429916717L)
#define PI ((wide)3.1415926535897932384626433832795L)

/* What the activations of the form z gate(z) multiply by; hard_sigmoid itself */
static wide gate(int activation, wide z) {
    switch (activation) {
    case NN_HARD_SIGMOID:
    case NN_HARD_SILU: return z < -3 ? 0 : z > 3 ? 1 : (z + 3) / 6;
    case NN_GELU: return LIBM(erfc)(-z / LIBM(sqrt)((wide)2)) / 2;
    case NN_GELU_TANH: return sigmoid(2 * LIBM(sqrt)(2 / PI) * (z + (wide)0.044715L * z * z * z));
    case NN_SILU: return sigmoid(z);
    default: { /* mish: tanh(log(1 + exp(z))) */
        const wide e = LIBM(exp)(z < 100 ? z : 100), w = e * (e + 2);
        return w / (w + 2);
    }
    }
}

/* f'(z) of those of which nn_keeps_slopes */
static wide slope_at(int activation, wide z) {
    if (isnan(z)) return z;
    if (isinf(z)) return z > 0;
    const wide g = gate(activation, z);
    switch (activation) {
    case NN_GELU: return g + z * LIBM(exp)(-z * z / 2) / LIBM(sqrt)(2 * PI);
    case NN_GELU_TANH: {
        const wide c = 2 * LIBM(sqrt)(2 / PI), w = c * (z + (wide)0.044715L * z * z * z);
        return g + z * c * (1 + 3 * (wide)0.044715L * z * z) * sigmoid(w) * sigmoid(-w);
    }
    case NN_SILU: return g + z * g * sigmoid(-z);
    case NN_MISH: return g + z * (1 - g * g) * sigmoid(z);
    default: return z <= -3 ? 0 : z > 3 ? 1 : (2 * z + 3) / 6; /* hard_silu */
    }
}

static wide apply(int activation, wide alpha, wide z) {
    switch (activation) {
    case NN_STEP: return isnan(z) ? z : z >= 0 ? 1 : 0;
    case NN_SIGMOID: return sigmoid(z);
    case NN_TANH: return LIBM(tanh)(z);
    case NN_RELU: return z < 0 ? 0 : z; /* NaN stays */
    case NN_LEAKY_RELU: return z > 0 ? z : alpha * z;
    case NN_ELU: return z > 0 ? z : alpha * LIBM(expm1)(z);
    case NN_SELU: return SELU_SCALE * (z > 0 ? z : SELU_ALPHA * LIBM(expm1)(z));
    case NN_SOFTPLUS: return (z > 0 ? z : 0) + LIBM(log1p)(LIBM(exp)(-LIBM(fabs)(z)));
    case NN_EXPONENTIAL: return LIBM(exp)(z);
    case NN_HARD_SIGMOID: return gate(activation, z);
    case NN_HARD_TANH: return z < -1 ? -1 : z > 1 ? 1 : z;
    case NN_GELU:
    case NN_GELU_TANH:
    case NN_SILU:
    case NN_MISH:
    case NN_HARD_SILU: return z == -INFINITY ? (wide)-0.0 : z * gate(activation, z);
    default: return z; /* softmax is not elementwise: see softmax_row */
    }
}

/* d f'(z), where a = f(z), or f'(z) itself if nn_keeps_slopes */
static wide times_derivative(int activation, wide alpha, wide a, wide d) {
    switch (activation) {
    case NN_STEP: return 0 * a + 0 * d; /* zero, but NaN stays */
    case NN_SIGMOID: return d * (a * (1 - a));
    case NN_TANH: return d * (1 - a * a);
    case NN_RELU: return a > 0 ? d : 0;
    case NN_LEAKY_RELU: return a > 0 ? d : alpha * d;
    case NN_ELU: return a > 0 ? d : d * (a + alpha);
    case NN_SELU: return d * (a > 0 ? SELU_SCALE : a + SELU_SCALE * SELU_ALPHA);
    case NN_SOFTPLUS: return d * -LIBM(expm1)(-a);
    case NN_HARD_SIGMOID: return a > 0 && a < 1 ? d / 6 : 0;
    case NN_HARD_TANH: return a > -1 && a < 1 ? d : 0;
    case NN_EXPONENTIAL:
    case NN_GELU:
    case NN_GELU_TANH:
    case NN_SILU:
    case NN_MISH:
    case NN_HARD_SILU: return d * a;
    default: return d;
    }
}

/* ---- rows in and out */

static int64_t reference_gather(const nn_gather *g, int64_t r0, int64_t r1) {
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

static void reference_scatter(const nn_scatter *s, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++) {
        real *y = (real *)s->y + source_row(s->order, s->first, r) * s->stride;
        for (int64_t j = 0; j < s->n; j++) y[j] = ((const real *)s->panels)[in_panels(r, j, s->panel_rows, s->width)];
    }
}

static int reference_finite(int64_t n, const void *x) {
    for (int64_t i = 0; i < n; i++)
        if (!isfinite(((const real *)x)[i])) return 0;
    return 1;
}

/* ---- products */

static void reference_forward(const nn_product *p, int64_t r0, int64_t r1) {
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

static void reference_backward(const nn_product *p, int64_t r0, int64_t r1) {
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

static void reference_outer(const nn_outer *o, int64_t panel, int64_t k0, int64_t k1, void *dst) {
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

static void reference_sum_parts(int64_t n, int64_t parts, int64_t stride, const void *src, void *dst) {
    for (int64_t i = 0; i < n; i++) {
        wide sum = 0;
        for (int64_t p = 0; p < parts; p++) sum += ((const real *)src)[p * stride + i];
        ((real *)dst)[i] = (real)sum;
    }
}

static void reference_transpose(const nn_transpose *t, int64_t panel, int64_t k0, int64_t k1) {
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

static void reference_softmax(void *panels, int64_t panel_rows, int64_t n, int64_t r0, int64_t r1, int width) {
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

static void reference_loss(const nn_loss_args *l, int64_t r0, int64_t r1) {
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

static void reference_update(const nn_update *u, int64_t n, const void *g_, void *p_, void *s0, void *s1) {
    real *p = p_, *a = s0, *b = s1, none = 0;
    for (int64_t i = 0; i < n; i++) update_one(u, ((const real *)g_)[i], &p[i], a ? &a[i] : &none, b ? &b[i] : &none);
}

static void reference_activate(int activation, double alpha, int64_t rows, int64_t n, int64_t stride, void *z_) {
    real *z = z_;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = r * stride; i < r * stride + n; i++) z[i] = (real)apply(activation, alpha, z[i]);
}

static void reference_activate_keeping(int activation, double alpha, int64_t rows, int64_t n, int64_t stride, void *z_,
                                       void *slopes) {
    real *z = z_;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = r * stride; i < r * stride + n; i++) {
            ((real *)slopes)[i] = (real)slope_at(activation, z[i]);
            z[i] = (real)apply(activation, alpha, z[i]);
        }
}

static void reference_scale_by_derivative(int activation, double alpha, int64_t rows, int64_t n, int64_t stride,
                                          const void *a_, void *d_) {
    const real *a = a_;
    real *d = d_;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t i = r * stride; i < r * stride + n; i++)
            d[i] = (real)times_derivative(activation, alpha, a[i], d[i]);
}

static void reference_elementary(int function, int64_t n, void *x_) {
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

static double reference_fma_peak(int64_t rounds) {
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

static void reference_keys(const nn_keys *k, int64_t n, uint64_t *out) {
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

static void reference_moments(const nn_norm *a, int64_t r0, int64_t r1, void *mean, void *square) {
    for (int64_t j = 0; j < a->n; j++) {
        wide sum = 0, squares = 0;
        for (int64_t r = r0; r < r1; r++) sum += x_of(a, r, j);
        sum /= (wide)(r1 - r0);
        for (int64_t r = r0; r < r1; r++) squares += (x_of(a, r, j) - sum) * (x_of(a, r, j) - sum);
        ((real *)mean)[j] = (real)sum;
        ((real *)square)[j] = (real)squares;
    }
}

static void reference_merge_moments(int64_t n, int64_t rows, int64_t part_rows, const void *parts_, void *mean_,
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

static void reference_batch_norm(const nn_norm *a, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < a->n; j++) put_normed(a, r, j, xhat_by_column(a, r, j));
}

static void reference_norm_sums(const nn_norm *a, int64_t r0, int64_t r1, void *sums_) {
    real *sums = sums_;
    for (int64_t j = 0; j < a->n; j++) {
        wide product = 0, sum = 0;
        for (int64_t r = r0; r < r1; r++) product += d_of(a, r, j) * xhat_by_column(a, r, j), sum += d_of(a, r, j);
        sums[j] = (real)product;
        sums[padded(a->n, a->width) + j] = (real)sum;
    }
}

static void reference_batch_norm_backward(const nn_norm *a, int64_t r0, int64_t r1) {
    const real *sums = a->sums;
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < a->n; j++) {
            const wide product = sums[j] * (wide)a->share, mean = sums[padded(a->n, a->width) + j] * (wide)a->share;
            const wide scale = 1 / LIBM(sqrt)(((const real *)a->variance)[j] + (wide)(real)a->epsilon);
            put_gradient(a, r, j,
                         weight_of(a, 0, j) * scale * (d_of(a, r, j) - mean - xhat_by_column(a, r, j) * product));
        }
}

static void reference_layer_norm(const nn_norm *a, int64_t r0, int64_t r1) {
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

static void reference_layer_norm_backward(const nn_norm *a, int64_t r0, int64_t r1) {
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

static void reference_layer_norm_gradient(const nn_norm *a, int64_t panel, int64_t r0, int64_t r1, void *dst_) {
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

static void reference_dropout(const nn_dropout *a, int64_t r0, int64_t r1) {
    for (int64_t r = r0; r < r1; r++)
        for (int64_t j = 0; j < a->n; j++) {
            nn_keys k = a->keys;
            const uint64_t word = (uint64_t)(a->first + r) * (uint64_t)a->stride + (uint64_t)j;
            uint64_t key;
            k.first = word / 2;
            reference_keys(&k, 1, &key);
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

static void reference_noise(const nn_dropout *a, int64_t r0, int64_t r1) {
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
                    reference_keys(&k, 1, &key);
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

static void reference_regularize(double l1, double l2, int64_t n, const void *p_, void *g_) {
    const real *p = p_;
    real *g = g_;
    for (int64_t i = 0; i < n; i++)
        g[i] = (real)((wide)g[i] + (wide)(real)l2 * p[i] + (wide)(real)l1 * ((p[i] > 0) - (p[i] < 0)));
}

static void reference_clip(double factor, double limit, int64_t n, void *g_) {
    real *g = g_;
    for (int64_t i = 0; i < n; i++) {
        wide x = (wide)g[i] * (wide)(real)factor;
        if (limit > 0 && x > (wide)(real)limit) x = (wide)(real)limit;
        if (limit > 0 && x < -(wide)(real)limit) x = -(wide)(real)limit;
        g[i] = (real)x;
    }
}

static double reference_sum_of_squares(int64_t n, const void *g) {
    wide sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (wide)((const real *)g)[i] * (wide)((const real *)g)[i];
    return (double)sum;
}

static void reference_limit_norms(double limit, int64_t k, int64_t stored, void *w_) {
    real *w = w_;
    for (int64_t j = 0; j < stored; j++) {
        wide squares = 0;
        for (int64_t i = 0; i < k; i++) squares += (wide)w[i * stored + j] * w[i * stored + j];
        const wide length = LIBM(sqrt)(squares);
        for (int64_t i = 0; i < k && length > (wide)(real)limit; i++)
            w[i * stored + j] = (real)((wide)w[i * stored + j] * ((wide)(real)limit / length));
    }
}

extern const nn_kernels TABLE;
const nn_kernels TABLE = {
    .isa = "reference",
    .width = 0,
    .element_size = sizeof(real),
#define NN_KERNEL(result, name, arguments) .name = reference_##name,
#include "kernels.inc"
#undef NN_KERNEL
};
