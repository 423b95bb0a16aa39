/* loss.c: each row's loss, and the gradient of the batch's mean loss with respect to the last pre-activations z.
 *
 * Softmax with cross_entropy and sigmoid with bce are computed from the logits:
 *   cross_entropy  L = sum_k y_k (max z - z_k) + sum(y) log sum exp(z - max z),        dL/dz = p sum(y) - y
 *   bce            L = max(z, 0) - z y + log(1 + e^-|z|), dL/dz = p - y
 * Any other pair goes by the chain rule, dL/dz = dL/da f'(z), for softmax p * (dL/da - sum(dL/da p)):
 *   mse            L = (a - y)^2,                          dL/da = 2 (a - y)
 *   bce            L = -y log a - (1 - y) log(1 - a),      dL/da = -y / a + (1 - y) / (1 - a)
 *   cross_entropy  L = -sum_k y_k log a_k,                 dL/da = -y / a
 * where a and 1 - a under a logarithm or a division are at least the smallest normal number. mse and bce are means over
 * the n columns, all three are means over the rows of the batch.
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

static real bce_logits(const row *r, real scale, real mean) {
    vec loss = broadcast(0);
    for (int64_t v = 0; v < r->vectors; v++) {
        real *z = at(r->z, r->panel, v), *d = at(r->d, r->panel, v);
        vec y = load(d), p, l = bce_of_logits(load(z), y, &p);
        loss = loss + inside(r, v, l * broadcast(mean), 0);
        store(z, p);
        store(d, inside(r, v, (p - y) * broadcast(scale), 0));
    }
    return lane_sum(loss);
}

/* dL/da into d; returns the loss */
static real loss_of_outputs(const row *r, int loss, real scale, real mean) {
    vec total = broadcast(0);
    for (int64_t v = 0; v < r->vectors; v++) {
        real *d = at(r->d, r->panel, v);
        vec g, l = loss_of_output(loss, load(at(r->z, r->panel, v)), load(d), broadcast(mean), &g);
        total = total + inside(r, v, l, 0);
        store(d, inside(r, v, g * broadcast(scale), 0));
    }
    return lane_sum(total);
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
    const real mean_scale = (real)(l->scale / (double)l->n), scale = (real)l->scale, mean = (real)(1 / (double)l->n);
    real sums[W], weights[W], rest[W];
    for (int64_t i = r0; i < r1; i++, r.z += NR, r.d += NR) {
        int32_t label = -1;
        if (l->labels) label = l->labels[l->order ? (int64_t)l->order[l->first + i] : l->first + i];
        if (from_logits) {
            const int lane = (int)((i - r0) % W);
            rest[lane] = cross_entropy_logits(&r, label, scale, &sums[lane], &weights[lane]);
            if (lane == W - 1 || i == r1 - 1) {
                for (int s = lane + 1; s < W; s++) sums[s] = weights[s] = rest[s] = 1;
                vec losses = fma_(load(weights), vlog(load(sums)), load(rest));
                store(sums, losses);
                for (int s = 0; s <= lane; s++) l->row_loss[i - lane + s] = (double)sums[s];
            }
            continue;
        }
        if (label >= 0) one_hot(&r, label);
        if (l->loss == NN_BCE && l->activation == NN_SIGMOID) {
            l->row_loss[i] = (double)bce_logits(&r, mean_scale, mean);
            continue;
        }
        if (l->activation == NN_SOFTMAX) softmax_row(&r, largest_of_row(&r));
        l->row_loss[i] = (double)loss_of_outputs(&r, l->loss, l->loss == NN_CROSS_ENTROPY ? scale : mean_scale, mean);
        chain_rule(&r, l->activation, l->alpha, l->slopes ? (const real *)l->slopes + i * NR : r.z);
    }
}
