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

/* NaN stays */
INLINE vec bounded(vec loss, vec least, vec most) {
    return blend(vless(loss, least), least, blend(vless(most, loss), most, loss));
}

/* -y log p - (1 - y) log(1 - p) with p = sigmoid(z), from z; returns p as well */
INLINE vec bce_of_logits(vec z, vec y, vec *p) {
    const vec zero = broadcast(0), one = broadcast(1);
    vec lost, e = exp_and_lost(-vabs(z), &lost);
    vec linear = z * blend(vless(z, zero), -y, one - y); /* max(z, 0) - z y, but nothing cancels */
    *p = sigmoid_of_exp(z, e, lost);
    return linear + vlog1p(e);
}

/* The same where the positive has a weight: w y log(1 + e^-z) + (1 - y) log(1 + e^z), and (1 - y) p - w y (1 - p) */
INLINE vec weighted_bce_of_logits(vec z, vec y, vec weight, vec *p, vec *derivative) {
    const vec zero = broadcast(0), one = broadcast(1);
    vec lost, e = exp_and_lost(-vabs(z), &lost), tail = vlog1p(e);
    vec positive = weight * y, negative = one - y;
    const mask below = vless(z, zero);
    *p = sigmoid_of_exp(z, e, lost);
    *derivative = negative * *p - positive * (one - *p);
    return positive * (blend(below, -z, zero) + tail) + negative * (blend(below, zero, z) + tail);
}

/* e^z - y z, from z; where e^z overflows, the loss does. Gives a = e^z as well. */
INLINE vec poisson_of_logits(vec z, vec y, vec *a) {
    *a = vexp(z);
    return blend(vless(*a, broadcast((real)__builtin_inf())), *a - y * z, *a);
}

/* x where e is above 0, y where it is below, 0 where it is 0 */
INLINE vec by_sign(vec e, vec x, vec y) {
    const vec zero = broadcast(0);
    return blend(vless(zero, e), x, blend(vless(e, zero), y, zero));
}

/* The loss of output a and its derivative by a, both but for the factor 1 / (numbers that the mean is over): `mean`
 * goes into the squared error before its product, which may overflow where the mean does not. `parameter` is
 * nn_loss_args'. At a kink the derivative is 0, which lies between those of its sides. */
INLINE vec loss_of_output(const int loss, vec a, vec y, vec mean, vec parameter, vec *derivative) {
    const vec zero = broadcast(0), one = broadcast(1), least = broadcast(SMALLEST);
    if (loss == NN_MSE) {
        vec e = a - y;
        *derivative = e + e;
        return e * mean * e;
    }
    if (loss == NN_MAE) {
        vec e = a - y;
        *derivative = by_sign(e, one, -one);
        return vabs(e) * mean;
    }
    if (loss == NN_HUBER) { /* c (|e| - c / 2), c = min(|e|, delta) */
        vec e = a - y, size = vabs(e), c = blend(vless(parameter, size), parameter, size);
        *derivative = copy_sign(c, e);
        return c * mean * (size - broadcast((real)0.5) * c);
    }
    if (loss == NN_HINGE) {
        vec margin = one - y * a;
        *derivative = blend(vless(zero, margin), -y, zero);
        return blend(vless(margin, zero), zero, margin) * mean;
    }
    if (loss == NN_QUANTILE) {
        vec e = y - a;
        *derivative = by_sign(e, -parameter, one - parameter);
        return e * blend(vless(e, zero), parameter - one, parameter) * mean;
    }
    vec p = blend(vless(a, least), least, a);
    if (loss == NN_CROSS_ENTROPY) {
        *derivative = -(y / p);
        return -(y * vlog(p));
    }
    if (loss == NN_POISSON) {
        *derivative = one - y / p;
        return (a - y * vlog(p)) * mean;
    }
    vec q = blend(vless(one - a, least), least, one - a), positive = parameter * y;
    *derivative = (one - y) / q - positive / p;
    return -(positive * vlog(p) + (one - y) * vlog(q)) * mean;
}

/* Whether a loss is a mean over the rows only, not over all numbers */
INLINE int is_over_rows(int loss) { return loss == NN_CROSS_ENTROPY || loss == NN_COSINE; }

/* Smoothed targets are y keep + spread. */
INLINE real spread_of(const nn_loss_args *l) {
    return (real)(l->smoothing / (l->loss == NN_CROSS_ENTROPY ? (double)l->n : 2));
}

/* The source row of row r */
INLINE int64_t source_of(const nn_loss_args *l, int64_t r) {
    return l->order ? (int64_t)l->order[l->first + r] : l->first + r;
}

/* A loss's parameter as a real: what exceeds the type is its largest number */
INLINE real parameter_of(const nn_loss_args *l) {
    return l->parameter > (double)-LOWEST ? -LOWEST : (real)l->parameter;
}

#endif
