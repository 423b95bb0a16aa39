/* activation_more.c: f(z), and the product with f'(z), of the activations that came after those of activation.c.
 *
 * f' from the output a = f(z): elu and selu a + alpha below 0, softplus 1 - exp(-a), exponential a, hard_sigmoid and
 * hard_tanh whether a is between its limits. Where it does not follow from the output, as for gelu, f(z) and f'(z) are
 * computed together, for little more than the price of one, and f' is kept: so that the way back is a product.
 */
#include "../kernels.h"
#include "../simd.h"
#include "../simd_activations.h"
#include "elementwise.h"
#include "names.h"

void NN_FN(activate_more)(int activation, double alpha_, int64_t rows, int64_t n, int64_t stride, void *z) {
    real *x = z;
    const vec one = broadcast(1), alpha = broadcast((real)alpha_);
    vec unused;
    switch (activation) {
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

void NN_FN(scale_by_derivative_more)(int activation, double alpha_, int64_t rows, int64_t n, int64_t stride,
                                     const void *a_, void *d_) {
    const real *a = a_;
    real *d = d_;
    const vec zero = broadcast(0), one = broadcast(1), alpha = broadcast((real)alpha_);
    switch (activation) {
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
