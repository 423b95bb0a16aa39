/* activation.c: f(z) and the product with f'(z), elementwise; softmax, which is not elementwise, lives in loss.c.
 *
 * f' is taken from the output a = f(z): sigmoid a (1 - a), tanh 1 - a^2, relu and leaky_relu by the sign of a, which is
 * that of z because leaky_relu's slope is not negative. activation_more.c has what is not here: these functions are short
 * for the sake of small networks, which call them for a few numbers at a time.
 */
#include "../kernels.h"
#include "../simd.h"
#include "../simd_math.h"
#include "elementwise.h"
#include "names.h"
#include "tile.h"
#include "turn.h"

void NN_FN(activate)(int activation, double alpha_, int64_t rows, int64_t n, int64_t stride, void *z) {
    real *x = z;
    const vec zero = broadcast(0), one = broadcast(1), alpha = broadcast((real)alpha_);
    switch (activation) {
    case NN_STEP: OVER(blend(vless(v, zero), zero, blend(vless(-one, v), one, v))); break; /* NaN stays */
    case NN_SIGMOID: OVER(vsigmoid(v)); break;
    case NN_TANH: OVER(vtanh(v)); break;
    case NN_RELU: OVER(blend(vless(v, zero), zero, v)); break; /* NaN is not less than 0 and stays */
    case NN_LEAKY_RELU: OVER(blend(vless(zero, v), v, alpha * v)); break;
    default: NN_FN(activate_more)(activation, alpha_, rows, n, stride, z);
    }
}

/* W rows turn into a vector for each column, so that no lane is idle; the rounding is that of activate. */
void NN_FN(activate_few)(int activation, double alpha, int64_t rows, int64_t columns, real *z) {
    for (; FEW > 0 && rows > 0; rows -= W, z += W * NR) { /* nobody calls it where FEW is 0 */
        const int64_t here = rows < W ? rows : W;
        vec c[FEW ? FEW : 1];
        columns_of_rows(FEW, z, here, c);
        for (int64_t j = 0; j < FEW; j++) c[j] = j < columns ? c[j] : broadcast(0);
        NN_FN(activate)(activation, alpha, 1, columns * W, columns * W, c);
        rows_of_columns(FEW, c, z, NR, here);
    }
}

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
    default: NN_FN(scale_by_derivative_more)(activation, alpha_, rows, n, stride, a, d);
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
    case 3: OVER(vlog_below_1(v, broadcast(1) - v)); break;
    case 4: OVER(vsine(v)); break;
    case 5: OVER(vcosine(v)); break;
    default: break;
    }
}
