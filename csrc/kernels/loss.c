/* loss.c: each row's loss, and the gradient of the batch's mean loss with respect to the last pre-activations z.
 *
 * Softmax with cross_entropy and sigmoid with bce are computed from the logits:
 *   cross_entropy  L = sum_k y_k (max z - z_k) + sum(y) log sum exp(z - max z),        dL/dz = p sum(y) - y
 *   bce            L = max(z, 0) - z y + log(1 + e^-|z|), dL/dz = p - y
 * and exponential with poisson, L = e^z - y z, dL/dz = e^z - y; bce with a weight for the positive in loss_terms.h.
 * Any other pair goes by the chain rule, dL/dz = dL/da f'(z), for softmax p * (dL/da - sum(dL/da p)):
 *   mse            L = (a - y)^2,                          dL/da = 2 (a - y)
 *   bce            L = -y log a - (1 - y) log(1 - a),      dL/da = -y / a + (1 - y) / (1 - a)
 *   cross_entropy  L = -sum_k y_k log a_k,                 dL/da = -y / a
 *   cosine         L = 1 - cos, cos = a y / (|a| |y|),     dL/da = (cos a / |a| - y / |y|) / |a|; 1 and 0 for a zero row
 * and by mae, huber, hinge, poisson, quantile in loss_terms.h, where a and 1 - a under a logarithm or a division are at
 * least the smallest normal number. cross_entropy and cosine are sums over the n columns, the others means; all are
 * means over the rows of the batch, or with weights the sum of w L over that of w.
 * A row is walked by whole vectors; lanes past the last column are kept out of sums and get a gradient of zero.
 */
#include "../kernels.h"
#include "../simd.h"
#include "../simd_math.h"
#include "loss_terms.h"
#include "names.h"

typedef struct row {
    real *z, *d;   /* first column of the row in the first panel, of outputs and of deltas */
    int64_t panel; /* reals from panel to panel */
    int64_t vectors;
    mask last; /* lanes of the last vector that are columns */
} row;

INLINE int64_t offset(int64_t panel, int64_t v) { return (v / 2) * panel + (v % 2) * W; }
INLINE real *at(real *base, int64_t panel, int64_t v) { return base + offset(panel, v); }
INLINE vec inside(const row *r, int64_t v, vec x, real otherwise) {
    return v + 1 < r->vectors ? x : blend(r->last, x, broadcast(otherwise));
}

INLINE real largest_of_row(const row *r) {
    vec top = broadcast(LOWEST);
    for (int64_t v = 0; v < r->vectors; v++) top = vmax(top, inside(r, v, load(at(r->z, r->panel, v)), LOWEST));
    return lane_max(top);
}

/* p = softmax(z), in place; returns the sum of exp(z - highest), where highest is the largest z */
INLINE real softmax_row(const row *r, real highest) {
    vec total = broadcast(0);
    for (int64_t v = 0; v < r->vectors; v++) {
        real *z = at(r->z, r->panel, v);
        vec e = inside(r, v, vexp(load(z) - broadcast(highest)), 0);
        store(z, e);
        total = total + e;
    }
    const real sum = lane_sum(total);
    const vec scale = broadcast(1 / sum);
    for (int64_t v = 0; v < r->vectors; v++) {
        real *z = at(r->z, r->panel, v);
        store(z, load(z) * scale);
    }
    return sum;
}

static row row_of(void *z, void *d, int64_t panel_rows, int64_t n) {
    const int64_t vectors = (n + W - 1) / W;
    return (row){z, d, panel_rows * NR, vectors, first_lanes(n - (vectors - 1) * W)};
}

void NN_FN(softmax)(void *panels, int64_t panel_rows, int64_t n, int64_t r0, int64_t r1, int width) {
    (void)width; /* W; for the reference, which has none of its own */
    row r = row_of((real *)panels + r0 * NR, NULL, panel_rows, n);
    for (int64_t i = r0; i < r1; i++, r.z += NR) softmax_row(&r, largest_of_row(&r));
}

/* Labels become one-hot rows where the chain rule needs them */
static void one_hot(const row *r, int32_t label) {
    for (int64_t v = 0; v < r->vectors; v++) store(at(r->d, r->panel, v), broadcast(0));
    at(r->d, r->panel, label / W)[label % W] = 1;
}

/* Row loss without its log(sum), which loss() takes for W rows at once */
static real cross_entropy_logits(const row *r, int32_t label, real scale, real *sum, real *weight) {
    const real largest = largest_of_row(r);
    const vec zero = broadcast(0), top = broadcast(largest);
    real below;
    if (label >= 0) {
        below = largest - at(r->z, r->panel, label / W)[label % W];
        *weight = 1;
    } else {
        vec dot = zero, mass = zero;
        for (int64_t v = 0; v < r->vectors; v++) {
            vec y = inside(r, v, load(at(r->d, r->panel, v)), 0), under = top - load(at(r->z, r->panel, v));
            /* where y is 0, `under` may be infinite and counts for nothing; the softmax finds a NaN there */
            dot = fma_(y, blend(vless(zero, vabs(y)), under, zero), dot);
            mass = mass + y;
        }
        below = lane_sum(dot);
        *weight = lane_sum(mass);
    }
    *sum = softmax_row(r, largest);
    const vec share = broadcast(scale), total = broadcast(*weight);
    for (int64_t v = 0; v < r->vectors; v++) {
        vec p = load(at(r->z, r->panel, v));
        real *d = at(r->d, r->panel, v);
        store(d, label >= 0 ? p * share : (p * total - inside(r, v, load(d), 0)) * share);
    }
    if (label >= 0) {
        real *d = at(r->d, r->panel, label / W) + label % W;
        *d = (at(r->z, r->panel, label / W)[label % W] - 1) * scale;
    }
    return below;
}

static real poisson_logits(const row *r, real scale, real mean) {
    vec loss = broadcast(0);
    for (int64_t v = 0; v < r->vectors; v++) {
        real *z = at(r->z, r->panel, v), *d = at(r->d, r->panel, v);
        vec y = load(d), a, l = poisson_of_logits(load(z), y, &a);
        loss = loss + inside(r, v, l * broadcast(mean), 0);
        store(z, inside(r, v, a, 0));
        store(d, inside(r, v, (a - y) * broadcast(scale), 0));
    }
    return lane_sum(loss);
}

static real weighted_bce_logits(const row *r, real scale, real mean, real weight) {
    vec loss = broadcast(0);
    for (int64_t v = 0; v < r->vectors; v++) {
        real *z = at(r->z, r->panel, v), *d = at(r->d, r->panel, v);
        vec p, g, l = weighted_bce_of_logits(load(z), load(d), broadcast(weight), &p, &g);
        loss = loss + inside(r, v, l * broadcast(mean), 0);
        store(z, p);
        store(d, inside(r, v, g * broadcast(scale), 0));
    }
    return lane_sum(loss);
}

static real bce_logits(const row *r, real scale, real mean, const nn_loss_args *args) {
    vec loss = broadcast(0);
    for (int64_t v = 0; v < r->vectors; v++) {
        real *z = at(r->z, r->panel, v), *d = at(r->d, r->panel, v);
        vec y = load(d), p, l = bce_of_logits(load(z), y, &p);
        if (args->most != 0) l = bounded(l, broadcast((real)args->least), broadcast((real)args->most));
        loss = loss + inside(r, v, l * broadcast(mean), 0);
        store(z, p);
        store(d, inside(r, v, (p - y) * broadcast(scale), 0));
    }
    return lane_sum(loss);
}

/* dL/da into d; returns the loss. Both vectors are brought to a largest number of 1, so that no square overflows. */
static real cosine_row(const row *r, real scale) {
    const vec zero = broadcast(0);
    vec a_top = zero, y_top = zero;
    for (int64_t v = 0; v < r->vectors; v++) {
        a_top = vmax(a_top, inside(r, v, vabs(load(at(r->z, r->panel, v))), 0));
        y_top = vmax(y_top, inside(r, v, vabs(load(at(r->d, r->panel, v))), 0));
    }
    const real a_largest = lane_max(a_top), y_largest = lane_max(y_top);
    const real a_by = a_largest > 0 ? 1 / a_largest : 0, y_by = y_largest > 0 ? 1 / y_largest : 0;
    vec aa = zero, yy = zero, ay = zero;
    for (int64_t v = 0; v < r->vectors; v++) {
        const vec a = inside(r, v, load(at(r->z, r->panel, v)), 0) * broadcast(a_by);
        const vec y = inside(r, v, load(at(r->d, r->panel, v)), 0) * broadcast(y_by);
        aa = fma_(a, a, aa);
        yy = fma_(y, y, yy);
        ay = fma_(a, y, ay);
    }
    const vec squared = broadcast(lane_sum(aa)), both = vsqrt(squared * broadcast(lane_sum(yy)));
    const mask is_zero = vequal(both, zero); /* one of them is; NaN is not */
    const vec cosine = blend(is_zero, zero, broadcast(lane_sum(ay)) / both);
    const vec a_share = blend(is_zero, zero, cosine / squared * broadcast(a_by));
    const vec y_share = blend(is_zero, zero, broadcast(y_by) / both);
    for (int64_t v = 0; v < r->vectors; v++) {
        real *d = at(r->d, r->panel, v);
        const vec a = load(at(r->z, r->panel, v)), y = load(d);
        store(d, inside(r, v, (a * a_share - y * y_share) * broadcast(a_by) * broadcast(scale), 0));
    }
    const vec loss = broadcast(1) - cosine;
    return blend(vless(loss, zero), zero, loss)[0];
}

/* dL/da into d; returns the loss */
INLINE real loss_of_outputs(const row *r, const int loss, real scale, real mean, real parameter) {
    vec total = broadcast(0);
    for (int64_t v = 0; v < r->vectors; v++) {
        real *d = at(r->d, r->panel, v);
        vec g,
            l = loss_of_output(loss, load(at(r->z, r->panel, v)), load(d), broadcast(mean), broadcast(parameter), &g);
        total = total + inside(r, v, l, 0);
        store(d, inside(r, v, g * broadcast(scale), 0));
    }
    return lane_sum(total);
}

static real any_loss_of_outputs(const row *r, int loss, real scale, real mean, real parameter) {
    switch (loss) {
    case NN_MSE: return loss_of_outputs(r, NN_MSE, scale, mean, parameter);
    case NN_BCE: return loss_of_outputs(r, NN_BCE, scale, mean, parameter);
    case NN_MAE: return loss_of_outputs(r, NN_MAE, scale, mean, parameter);
    case NN_HUBER: return loss_of_outputs(r, NN_HUBER, scale, mean, parameter);
    case NN_HINGE: return loss_of_outputs(r, NN_HINGE, scale, mean, parameter);
    case NN_POISSON: return loss_of_outputs(r, NN_POISSON, scale, mean, parameter);
    case NN_QUANTILE: return loss_of_outputs(r, NN_QUANTILE, scale, mean, parameter);
    case NN_COSINE: return cosine_row(r, scale);
    default: return loss_of_outputs(r, NN_CROSS_ENTROPY, scale, mean, parameter);
    }
}

static void smooth(const row *r, real keep, real spread) {
    for (int64_t v = 0; v < r->vectors; v++) {
        real *d = at(r->d, r->panel, v);
        store(d, fma_(load(d), broadcast(keep), broadcast(spread)));
    }
}

/* kept: what scale_by_derivative wants of the row's first panel */
static void chain_rule(const row *r, int activation, double alpha, const real *kept) {
    if (activation != NN_SOFTMAX) {
        for (int64_t v = 0; v < r->vectors; v++)
            NN_FN(scale_by_derivative)(activation, alpha, 1, W, W, kept + offset(r->panel, v), at(r->d, r->panel, v));
        return;
    }
    vec dot = broadcast(0);
    for (int64_t v = 0; v < r->vectors; v++) dot = fma_(load(at(r->d, r->panel, v)), load(at(r->z, r->panel, v)), dot);
    const vec mean = broadcast(lane_sum(dot));
    for (int64_t v = 0; v < r->vectors; v++) {
        real *d = at(r->d, r->panel, v);
        store(d, load(at(r->z, r->panel, v)) * (load(d) - mean));
    }
}

void NN_FN(loss)(const nn_loss_args *l, int64_t r0, int64_t r1) {
    if (l->n <= NR) {
        NN_FN(loss_narrow)(l, r0, r1);
        return;
    }
    row r = row_of((real *)l->outputs + r0 * NR, (real *)l->delta + r0 * NR, l->panel_rows, l->n);
    const int from_logits = l->loss == NN_CROSS_ENTROPY && l->activation == NN_SOFTMAX;
    const double columns = is_over_rows(l->loss) ? 1 : (double)l->n;
    real scale = (real)(l->scale / columns);
    const real mean = (real)(1 / (double)l->n), parameter = parameter_of(l);
    const int bce = l->loss == NN_BCE && l->activation == NN_SIGMOID;
    real sums[W], weights[W], rest[W];
    for (int64_t i = r0; i < r1; i++, r.z += NR, r.d += NR) {
        int32_t label = -1;
        if (l->weights) scale = (real)(l->weights[source_of(l, i)] * l->scale / columns);
        if (l->labels) label = l->labels[source_of(l, i)];
        if (l->smoothing != 0) {
            if (label >= 0) one_hot(&r, label);
            smooth(&r, (real)(1 - l->smoothing), spread_of(l));
            label = -1;
        }
        if (from_logits) {
            const int lane = (int)((i - r0) % W);
            rest[lane] = cross_entropy_logits(&r, label, scale, &sums[lane], &weights[lane]);
            if (lane == W - 1 || i == r1 - 1) {
                for (int s = lane + 1; s < W; s++) sums[s] = weights[s] = rest[s] = 1;
                vec losses = fma_(load(weights), vlog(load(sums)), load(rest));
                if (l->most != 0) losses = bounded(losses, broadcast((real)l->least), broadcast((real)l->most));
                store(sums, losses);
                for (int s = 0; s <= lane; s++) l->row_loss[i - lane + s] = (double)sums[s];
            }
            continue;
        }
        if (label >= 0) one_hot(&r, label);
        if (bce) {
            l->row_loss[i] = (double)(parameter == 1 ? bce_logits(&r, scale, mean, l)
                                                     : weighted_bce_logits(&r, scale, mean, parameter));
            continue;
        }
        if (l->loss == NN_POISSON && l->activation == NN_EXPONENTIAL) {
            l->row_loss[i] = (double)poisson_logits(&r, scale, mean);
            continue;
        }
        if (l->loss == NN_GIVEN) {
            l->row_loss[i] = 0;
        } else {
            if (l->activation == NN_SOFTMAX) softmax_row(&r, largest_of_row(&r));
            l->row_loss[i] = (double)any_loss_of_outputs(&r, l->loss, scale, mean, parameter);
        }
        chain_rule(&r, l->activation, l->alpha, l->slopes ? (const real *)l->slopes + i * NR : r.z);
    }
}
