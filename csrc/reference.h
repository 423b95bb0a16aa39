/* reference.h: what the files of the naive kernels share: their types, where an element lies, activations of one number.
 *
 * Each is compiled twice, for float and, with NN_DOUBLE, for double.
 */
#ifndef NN_REFERENCE_H
#define NN_REFERENCE_H

#include <float.h>
#include <math.h>

#include "kernels.h"

#ifdef NN_DOUBLE
typedef double real;
typedef long double wide;
#define TABLE nn_table_reference_f64
#define REFERENCE(name) nn_##name##_reference_f64
#define SMALLEST ((wide)DBL_MIN)
#else
typedef float real;
typedef double wide;
#define TABLE nn_table_reference_f32
#define REFERENCE(name) nn_##name##_reference_f32
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
static inline int64_t panel_width(int64_t j, int64_t n, int width) {
    const int64_t start = j / (2 * width) * (2 * width);
    return n - start > width ? 2 * width : width;
}

/* element (r, j) of panels of activations or deltas */
static inline int64_t in_panels(int64_t r, int64_t j, int64_t panel_rows, int width) {
    const int64_t panel = j / (2 * width), column = j % (2 * width);
    return (panel * panel_rows + r) * (2 * width) + column;
}

/* element (k, j) of weight panels with `rows` rows and n columns */
static inline int64_t in_weights(int64_t k, int64_t j, int64_t rows, int64_t n, int width) {
    const int64_t start = j / (2 * width) * (2 * width);
    return start * rows + k * panel_width(j, n, width) + (j - start);
}

static inline int64_t source_row(const uint32_t *order, int64_t first, int64_t r) {
    return order ? order[first + r] : first + r;
}

/* ---- functions of one number */

static inline wide sigmoid(wide z) { return z < 0 ? LIBM(exp)(z) / (1 + LIBM(exp)(z)) : 1 / (1 + LIBM(exp)(-z)); }

#define SELU_SCALE ((wide)1.0507009873554804934193349852946L)
#define SELU_ALPHA ((wide)1.6732632423543772848170429916717L)
#define PI ((wide)3.1415926535897932384626433832795L)

/* What the activations of the form z gate(z) multiply by; hard_sigmoid itself */
static inline wide gate(int activation, wide z) {
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
static inline wide slope_at(int activation, wide z) {
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

static inline wide apply(int activation, wide alpha, wide z) {
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
static inline wide times_derivative(int activation, wide alpha, wide a, wide d) {
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

/* ---- the kernels under the names of this type */

#define NN_KERNEL(result, name, arguments) result REFERENCE(name) arguments;
#include "kernels.inc"
#undef NN_KERNEL

#endif
