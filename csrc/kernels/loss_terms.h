/* loss_terms.h: the losses of one number, which the wide and the narrow loss kernel share.
 *
 * Each gives, lane by lane, the loss and its derivative by the output or the pre-activation; scaling and sums are the
 * kernels'.
 */
#ifndef NN_LOSS_TERMS_H
#define NN_LOSS_TERMS_H

#ifdef NN_DOUBLE
#define SMALLEST 0x1p-1022
#define LOWEST (-0x1.fffffffffffffp1023)
#else
#define SMALLEST 0x1p-126f
#define LOWEST (-0x1.fffffep127f)
#endif

void NN_FN(loss_narrow)(const nn_loss_args *l, int64_t r0, int64_t r1); /* n <= 2 W */

/* -y log p - (1 - y) log(1 - p) with p = sigmoid(z), from z; returns p as well */
INLINE vec bce_of_logits(vec z, vec y, vec *p) {
    const vec zero = broadcast(0), one = broadcast(1);
    vec lost, e = exp_and_lost(-vabs(z), &lost);
    vec linear = z * blend(vless(z, zero), -y, one - y); /* max(z, 0) - z y, but nothing cancels */
    *p = sigmoid_of_exp(z, e, lost);
    return linear + vlog1p(e);
}

/* The loss of output a and its derivative by a, both but for the factor 1 / (numbers that the mean is over): `mean`
 * goes into the squared error before its product, which may overflow where the mean does not. */
INLINE vec loss_of_output(const int loss, vec a, vec y, vec mean, vec *derivative) {
    const vec one = broadcast(1), least = broadcast(SMALLEST);
    if (loss == NN_MSE) {
        vec e = a - y;
        *derivative = e + e;
        return e * mean * e;
    }
    vec p = blend(vless(a, least), least, a);
    if (loss == NN_CROSS_ENTROPY) {
        *derivative = -(y / p);
        return -(y * vlog(p));
    }
    vec q = blend(vless(one - a, least), least, one - a);
    *derivative = (one - y) / q - y / p;
    return -(y * vlog(p) + (one - y) * vlog(q)) * mean;
}

#endif
