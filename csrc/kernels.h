/* kernels.h: the arguments of the kernels and the table of one ISA and real type.
 *
 * Layout. A matrix of n columns lies in PANELS of 2 W columns (W: reals in a vector of the ISA), each panel holding all
 * its rows one after the other, so that every inner loop reads memory in order and nothing is packed on the way:
 *   activations and deltas   [ceil(n / 2W)][panel_rows][2W]       columns past n hold finite rubbish or zeros
 *   weights                  [ceil(n / 2W)][k + 1][width]         row k is the bias; columns past n are zero and stay so
 *   transposed weights       [ceil(k / 2W)][n][width]
 * where width is 2W, but W in a last panel that W columns suffice for.
 *
 * All pointers are to reals of the table's type, 64-byte aligned where they are panels. Row ranges are [r0, r1).
 */
#ifndef NN_KERNELS_H
#define NN_KERNELS_H

#include <stdint.h>

#include "nncore.h"

/* Whether training needs f'(z) from the forward pass, as it does not follow from the output f(z) */
static inline int nn_keeps_slopes(int activation) { return activation >= NN_GELU; }

typedef struct nn_gather {
    const void *x;         /* row-major source, `stride` reals from row to row */
    int64_t stride, n;     /* n columns */
    const uint32_t *order; /* source row of each destination row; NULL: row r itself, counted from `first` */
    int64_t first;         /* destination row r is source row order[first + r] (or first + r) */
    void *panels;
    int64_t panel_rows;
    int width; /* W of the layout; used by the reference, which has none of its own */
} nn_gather;

typedef struct nn_scatter {
    const void *panels;
    int64_t panel_rows, n;
    void *y; /* row-major destination */
    int64_t stride;
    const uint32_t *order; /* destination row of each panel row, as in nn_gather */
    int64_t first;
    int width;
} nn_scatter;

typedef struct nn_product {
    const void *a; /* left operand, panels of k columns (forward: inputs; backward: deltas) */
    int64_t a_rows, k;
    const void *w; /* right operand, panels of n columns with w_rows rows each; row k is the bias in `forward` */
    int64_t w_rows, n;
    void *out; /* panels of n columns */
    int64_t out_rows;
    const void *outputs; /* backward: what the layer below keeps, panels like `out`: f'(z) as below, or its outputs */
    void *slopes;        /* forward: where f'(z) goes, panels like `out`, if nn_keeps_slopes; NULL: not wanted */
    int activation;      /* forward: f; backward: f of the layer below */
    double alpha;
    int width;
} nn_product;

typedef struct nn_outer {
    const void *a; /* the layer's inputs, panels of k columns */
    int64_t a_rows, k;
    const void *d; /* the layer's deltas, panels of n columns */
    int64_t d_rows, n;
    int64_t r0, r1; /* summed over these rows, in their order */
    int width;
} nn_outer;

typedef struct nn_transpose {
    const void *w; /* weight panels, w_rows = k + 1 */
    int64_t k, n;
    void *wt; /* transposed panels */
    int width;
} nn_transpose;

typedef struct nn_loss_args {
    /* activation of the last layer. From the logits: softmax + cross_entropy, sigmoid + bce, exponential + poisson */
    int loss, activation;
    double alpha;
    void *outputs; /* panels: pre-activations for a softmax head or from the logits, else outputs; left as outputs */
    void *delta; /* panels: on entry the targets (unless labels), on exit the gradient. NN_GIVEN: on entry the gradient
                      by the outputs, zero past the last column; softmax is done then; no loss, scale or weights */
    int64_t panel_rows, n;
    const int32_t *labels; /* class of each source row, or NULL */
    const uint32_t *order; /* source row of each row, as in nn_gather; only for labels and weights */
    int64_t first;
    double scale;     /* 1 / (number of rows in the batch), or 1 / (sum of their weights) */
    double *row_loss; /* one for each row, without its weight */
    int width;
    const double *weights; /* of each source row, a factor of its gradient; or NULL */
    double parameter;      /* huber's delta, quantile's q, bce's weight of the positive */
    double smoothing;      /* of the targets of bce and cross_entropy; 0: none */
    const void *slopes;    /* panels of f'(z), if nn_keeps_slopes(activation) */
} nn_loss_args;

typedef struct nn_update {
    int optimizer; /* nn_optimizer */
    int nesterov;
    double rate, decay; /* decay * p is added to the gradient; AdamW, Lion: p is first scaled by 1 - rate * decay */
    double momentum;    /* SGD; NAdam: mu of this step, for whoever keeps the product of them */
    double beta1, beta2, epsilon; /* beta2: also the decay of RMSprop's mean */
    double correction1;           /* of the first moment; Adam: 1 / (1 - beta1^t) */
    double correction2;           /* of the second one's root: 1 / sqrt(1 - beta2^t) */
    double correction3;           /* NAdam: of the gradient beside the first moment */
} nn_update;

typedef struct nn_norm {
    const void *x; /* the layer's inputs, panels of n columns */
    int64_t x_rows;
    void *out; /* forward: outputs; backward: the gradient by the inputs */
    int64_t out_rows;
    const void *d; /* backward: the gradient by the outputs before the activation */
    int64_t d_rows, n;
    const void *weights;         /* two rows: gamma, beta */
    const void *mean, *variance; /* batch normalisation: of each column */
    const void *sums;            /* its backward: over the batch of d xhat, then of d */
    double share;                /* 1 / (rows of the batch), 0 where mean and variance do not come from it */
    void *row_stats;             /* layer normalisation: two numbers a row; NULL: not kept */
    double epsilon;
    int activation; /* forward: f; backward: f of the layer below */
    double alpha;
    void *slopes;     /* forward: where f'(z) goes, if nn_keeps_slopes; NULL: not wanted */
    const void *kept; /* backward: what the layer below keeps, f'(z) or its outputs, panels like x */
    int width;
} nn_norm;

typedef struct nn_columns {
    const void *x; /* panels */
    int64_t x_rows;
    void *out; /* panels of n columns: those copied first; the others are left as they are, those past n set to zero */
    int64_t out_rows, n;
    const int64_t *copied; /* columns of x */
    int64_t n_copied;
    int width;
} nn_columns;

typedef struct nn_embedding {
    const void *x; /* panels; the code of row r is the number in `column`. One that is out of range counts as 0 */
    int64_t x_rows, column;
    const void *w; /* panels of n columns, a row for each code */
    int64_t codes, n;
    void *out; /* panels; forward: columns offset .. offset + n are written; gradient: they are the deltas */
    int64_t out_rows, offset;
    int width;
} nn_embedding;

/* What is stored of a batch's rows: row r has entries begin[r] .. end[r], unless they were put in another order */
typedef struct nn_entries {
    int64_t *begin, *end;
    int32_t *columns, *rows; /* of each entry */
    void *values;
} nn_entries;

typedef struct nn_sparse_gather {
    const nn_csr *x;
    int64_t n;             /* columns; an entry beyond them counts as a zero in column 0 */
    const uint32_t *order; /* source row of each row, as in nn_gather */
    int64_t first;
    nn_entries to; /* where begin and end say how many entries of each row go where */
} nn_sparse_gather;

typedef struct nn_keys {
    uint64_t seed, stream;
    uint32_t purpose;
    const uint32_t *indices; /* whose keys; NULL: first, first + 1, ... */
    uint64_t first;          /* even */
} nn_keys;

typedef struct nn_dropout { /* of dropout, and of noise */
    const void *x;          /* panels of n columns */
    int64_t x_rows;
    void *out;
    int64_t out_rows, n;
    nn_keys keys;          /* seed, stream, purpose */
    int64_t first, stride; /* row r's words begin at (first + r) * stride */
    uint32_t threshold;    /* words below it drop their number */
    double scale;          /* of what is kept; noise: its standard deviation */
    int activation;        /* backward: f of the layer below; else identity */
    double alpha;
    const void *outputs; /* what that keeps, f'(z) or its outputs */
    int64_t outputs_rows;
    int width;
} nn_dropout;

typedef struct nn_kernels {
    const char *isa;
    int width;        /* W */
    int element_size; /* sizeof(real) */
#define NN_KERNEL(result, name, arguments) result(*name) arguments;
#include "kernels.inc"
#undef NN_KERNEL
} nn_kernels;

/* Tables: that of the ISA in use, one by name ("reference" included; NULL where this CPU or build lacks it), their names. */
const nn_kernels *nn_kernels_for(nn_dtype dtype);
const nn_kernels *nn_kernels_named(const char *isa, nn_dtype dtype);

#endif
