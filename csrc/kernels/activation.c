/* activation.c: f(z) and the product with f'(z), elementwise; softmax, which is not elementwise, lives in loss.c.
 *
 * f' is taken from the output a = f(z): sigmoid a (1 - a), tanh 1 - a^2, relu and leaky_relu by the sign of a, which is
 * that of z because leaky_relu's slope is not negative; elu a + alpha below 0, softplus 1 - exp(-a), exponential a.
 * Where it does not follow from the output, as for gelu, f(z) and f'(z) are computed together, for the price of one.
 */
#include "../kernels.h"
#include "../simd.h"
#include "../simd_activations.h"
#include "names.h"
#include "tile.h"
#include "turn.h"

/* Applies one expression to `rows` rows of n numbers at x, `stride` from row to row: to whole vectors, then to the last,
 * partial one. Rows that touch are one. */
#define OVER(expression)                                  \
    do {                                                  \
        if (n == stride) n *= rows, rows = 1;             \
        for (int64_t r = 0; r < rows; r++, x += stride) { \
            int64_t i = 0;                                \
            for (; i + W <= n; i += W) {                  \
                vec v = load(x + i);                      \
                store(x + i, (expression));               \
            }                                             \
            if (i < n) {                                  \
                const mask lanes = first_lanes(n - i);    \
                vec v = load_masked(lanes, x + i);        \
                store_masked(lanes, x + i, (expression)); \
            }                                             \
        }                                                 \
    } while (0)

void NN_FN(activate)(int activation, double alpha_, int64_t rows, int64_t n, int64_t stride, void *z) {
    real *x = z;
    const vec zero = broadcast(0), one = broadcast(1), alpha = broadcast((real)alpha_);
    vec unused;
    switch (activation) {
    case NN_STEP: OVER(blend(vless(v, zero), zero, blend(vless(-one, v), one, v))); break; /* NaN stays */
    case NN_SIGMOID: OVER(vsigmoid(v)); break;
    case NN_TANH: OVER(vtanh(v)); break;
    case NN_RELU: OVER(blend(vless(v, zero), zero, v)); break; /* NaN is not less than 0 and stays */
    case NN_LEAKY_RELU: OVER(blend(vless(zero, v), v, alpha * v)); break;
    case NN_ELU: OVER(velu(v, one, alpha)); break;
    case NN_SELU: OVER(velu(v, broadcast(SELU_SCALE), broadcast(SELU_LIMIT))); break;
    case NN_SOFTPLUS: OVER(vsoftplus(v)); break;
    case NN_EXPONENTIAL: OVER(vexp(v)); break;
    case NN_HARD_SIGMOID: OVER(vhard_sigmoid(v)); break;
    case NN_HARD_TANH: OVER(clamp(v, -1, 1)); break;
    case NN_GELU: OVER(vgelu(v, &unused)); break;
    case NN_GELU_TANH: OVER(vgelu_tanh(v, &unused)); break;
    case NN_SILU: OVER(vsilu(v, &unused)); break;
    case NN_MISH: OVER(vmish(v, &unused)); break;
    case NN_HARD_SILU: OVER(vhard_silu(v, &unused)); break;
    default: break;
    }
}

/* The same with the derivative beside it */
#define OVER_BOTH(f)                                                   \
    do {                                                               \
        if (n == stride) n *= rows, rows = 1;                          \
        for (int64_t r = 0; r < rows; r++, x += stride, s += stride) { \
            int64_t i = 0;                                             \
            for (; i + W <= n; i += W) {                               \
                vec slope, v = f(load(x + i), &slope);                 \
                store(x + i, v);                                       \
                store(s + i, slope);                                   \
            }                                                          \
            if (i < n) {                                               \
                const mask lanes = first_lanes(n - i);                 \
                vec slope, v = f(load_masked(lanes, x + i), &slope);   \
                store_masked(lanes, x + i, v);                         \
                store_masked(lanes, s + i, slope);                     \
            }                                                          \
        }                                                              \
    } while (0)

void NN_FN(activate_keeping)(int activation, double alpha, int64_t rows, int64_t n, int64_t stride, void *z,
                             void *slopes) {
    real *x = z, *s = slopes;
    (void)alpha;
    switch (activation) {
    case NN_GELU: OVER_BOTH(vgelu); break;
    case NN_GELU_TANH: OVER_BOTH(vgelu_tanh); break;
    case NN_SILU: OVER_BOTH(vsilu); break;
    case NN_MISH: OVER_BOTH(vmish); break;
    case NN_HARD_SILU: OVER_BOTH(vhard_silu); break;
    default: break;
    }
}

/* W rows turn into a vector for each column, so that no lane is idle; the rounding is that of activate. */
void NN_FN(activate_few)(int activation, double alpha, int64_t rows, int64_t columns, real *z) {
    for (; rows > 0; rows -= W, z += W * NR) {
        const int64_t here = rows < W ? rows : W;
        vec c[FEW ? FEW : 1];
        columns_of_rows(FEW, z, here, c);
        for (int64_t j = 0; j < FEW; j++) c[j] = j < columns ? c[j] : broadcast(0);
        NN_FN(activate)(activation, alpha, 1, columns * W, columns * W, c);
        rows_of_columns(FEW, c, z, NR, here);
    }
}

/* u: the outputs, or the slopes where those are kept; v: what is scaled */
#define OVER2(expression)                                                         \
    do {                                                                          \
        if (n == stride) n *= rows, rows = 1;                                     \
        for (int64_t r = 0; r < rows; r++, a += stride, d += stride) {            \
            int64_t i = 0;                                                        \
            for (; i + W <= n; i += W) {                                          \
                vec u = load(a + i), v = load(d + i);                             \
                store(d + i, (expression));                                       \
            }                                                                     \
            if (i < n) {                                                          \
                const mask lanes = first_lanes(n - i);                            \
                vec u = load_masked(lanes, a + i), v = load_masked(lanes, d + i); \
                store_masked(lanes, d + i, (expression));                         \
            }                                                                     \
        }                                                                         \
    } while (0)

void NN_FN(scale_by_derivative)(int activation, double alpha_, int64_t rows, int64_t n, int64_t stride, const void *a_,
                                void *d_) {
    const real *a = a_;
    real *d = d_;
    const vec zero = broadcast(0), one = broadcast(1), alpha = broadcast((real)alpha_);
    switch (activation) {
    case NN_STEP: OVER2(u * zero + v * zero); break;
    case NN_SIGMOID: OVER2(v * (u * (one - u))); break;
    case NN_TANH: OVER2(v * (one - u * u)); break;
    case NN_RELU: OVER2(blend(vless(zero, u), v, zero)); break;
    case NN_LEAKY_RELU: OVER2(blend(vless(zero, u), v, alpha * v)); break;
    case NN_ELU: OVER2(v * blend(vless(zero, u), one, u + alpha)); break;
    case NN_SELU: OVER2(v * blend(vless(zero, u), broadcast(SELU_SCALE), u + broadcast(SELU_LIMIT))); break;
    case NN_SOFTPLUS: OVER2(v * -expm1_below(-u)); break;
    case NN_HARD_SIGMOID:
        OVER2(blend(vless(zero, u), blend(vless(u, one), v * broadcast((real)(1.0 / 6)), zero), zero));
        break;
    case NN_HARD_TANH: OVER2(blend(vless(vabs(u), one), v, zero)); break;
    case NN_EXPONENTIAL:
    case NN_GELU:
    case NN_GELU_TANH:
    case NN_SILU:
    case NN_MISH:
    case NN_HARD_SILU: OVER2(v * u); break;
    default: break;
    }
}

void NN_FN(elementary)(int function, int64_t n, void *x_) {
    real *x = x_;
    int64_t rows = 1;
    const int64_t stride = n;
    switch (function) {
    case 0: OVER(vexp(v)); break;
    case 1: OVER(vlog(v)); break;
    case 2: OVER(vlog1p(v)); break;
    default: break;
    }
}
