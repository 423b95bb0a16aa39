/* predict.h: predictions that take long, during which the caller is asked whether to go on. */
#ifndef NN_PREDICT_H
#define NN_PREDICT_H

#include "nncore.h"

typedef int (*nn_asks)(void *context); /* not 0: stop */

/* As nn_predict; about every 50 ms the calling thread asks, in the caller's floating-point mode, while the others go on.
 * NN_STOPPED where the answer was to stop, with `out` filled in part. asks: NULL for nobody to ask. */
nn_status nn_predict_asking(nn_plan *plan, const void *x, const nn_csr *csr, int64_t n, int n_layers, void *out,
                            nn_asks asks, void *context, double *bytes_needed);

#endif
