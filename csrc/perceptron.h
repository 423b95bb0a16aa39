/* perceptron.h: one binary perceptron by scikit-learn's rule: rows one after the other, each misjudged one added to the
 * weights. Included once for each real type, by perceptron.c; the reals are `real`, the functions FN(name).
 *
 * The weights are scale * w, so that decay costs one multiplication a row. Products are summed in double, in the order of
 * the columns. The norms after an update are those of the weights that the row touched, as there.
 */

static double FN(dot)(const nn_perceptron *c, const real *x, const int32_t *columns, int64_t n) {
    const real *w = c->w;
    double sum = 0;
    for (int64_t j = 0; j < n; j++) sum += (double)(real)(w[columns ? columns[j] : j] * x[j]);
    return (double)(real)(sum * c->scale);
}

static void FN(add)(nn_perceptron *c, const real *x, const int32_t *columns, int64_t n, double update) {
    real *w = c->w;
    const real scale = (real)c->scale, step = (real)update / scale;
    double squares = 0, sizes = 0;
    for (int64_t j = 0; j < n; j++) {
        real *at = &w[columns ? columns[j] : j];
        *at = (real)((double)*at + (double)x[j] * (double)step);
        squares += (double)(real)(*at * *at);
        sizes += fabs((double)*at);
    }
    c->squares = squares * (double)(real)(scale * scale);
    c->sizes = sizes * (double)scale;
}

static void FN(shrink)(nn_perceptron *c, double factor) {
    const double least = sizeof(real) == 4 ? 1e-6 : 1e-9;
    real *w = c->w;
    const real rounded = (real)factor;
    c->scale *= (double)rounded;
    c->squares *= (double)rounded * (double)rounded;
    c->sizes *= fabs((double)rounded);
    if (c->scale >= least) return;
    for (int64_t j = 0; j < c->n_features; j++) w[j] *= (real)c->scale;
    c->scale = 1;
}

/* The cumulative penalty of Tsuruoka, Tsujii and Ananiadou 2009: what each weight still owes of the l1 penalty so far */
static void FN(truncate)(const nn_perceptron *c, const int32_t *columns, int64_t n) {
    real *w = c->w, *paid = c->paid;
    for (int64_t j = 0; j < n; j++) {
        const int64_t k = columns ? columns[j] : j;
        const double z = (double)w[k];
        if (c->scale * z > 0)
            w[k] = (real)fmax(0, z - (c->owed + (double)paid[k]) / c->scale);
        else if (c->scale * z < 0)
            w[k] = (real)fmin(0, z + (c->owed - (double)paid[k]) / c->scale);
        paid[k] = (real)((double)paid[k] + c->scale * ((double)w[k] - z));
    }
}

static double FN(epoch)(nn_perceptron *c) {
    double objective = 0, loss = 0;
    for (int64_t i = 0; i < c->n; i++) {
        const int64_t r = c->order[i];
        if (c->held && c->held[r]) continue;
        const int64_t first = c->columns ? c->starts[r] : r * c->n_features;
        const int64_t n = c->columns ? c->starts[r + 1] - first : c->n_features;
        const real *x = (const real *)c->values + first;
        const int32_t *columns = c->columns ? c->columns + first : NULL;
        const double p = FN(dot)(c, x, columns, n) + c->intercept, y = c->y[r], margin = p * y;
        objective += margin <= 0 ? -margin : 0;
        loss += margin <= 0 ? -margin : 0;
        if (c->penalty)
            objective +=
                c->alpha * ((1 - c->l1_ratio) * 0.5 * (double)((real)sqrt(c->squares) * (real)sqrt(c->squares)) +
                            c->l1_ratio * (double)(real)c->sizes);
        const double update = margin <= 0 ? c->rate * y * (double)(real)c->weights[r] : 0;
        if (c->penalty) FN(shrink)(c, fmax(0, 1 - (1 - c->l1_ratio) * c->rate * c->alpha));
        if (update != 0) {
            FN(add)(c, x, columns, n, update);
            if (c->fit_intercept) c->intercept += update * c->intercept_decay;
        }
        if (c->penalty && c->l1_ratio > 0) {
            c->owed += c->l1_ratio * c->rate * c->alpha;
            FN(truncate)(c, columns, n);
        }
    }
    c->loss = loss;
    return objective;
}
