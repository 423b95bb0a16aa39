/* nncore.h: the C API of the core, which knows nothing of Python.
 *
 * A network is compiled once into a PLAN: layer descriptors over one aligned parameter buffer, one buffer per optimizer
 * slot and a workspace sized for the batch. The one primitive is nn_run: steps first_step .. first_step + n_steps - 1 of
 * a JOB (shuffle, gather, forward, loss, backward, update), with nothing allocated on the way.
 *
 * The result does not depend on the number of threads: every sum has an order that follows from shape, type and ISA.
 * Sizes are numbers of elements unless a name says bytes. Functions return nn_status where they can fail.
 */
#ifndef NNCORE_H
#define NNCORE_H

#include <stddef.h>
#include <stdint.h>

typedef enum { NN_F32, NN_F64 } nn_dtype;
typedef enum {
    NN_IDENTITY,
    NN_STEP,
    NN_SIGMOID,
    NN_TANH,
    NN_RELU,
    NN_LEAKY_RELU,
    NN_SOFTMAX,
    NN_ELU,
    NN_SELU,
    NN_SOFTPLUS,
    NN_EXPONENTIAL,
    NN_HARD_SIGMOID,
    NN_HARD_TANH,
    NN_GELU, /* from here on the derivative does not follow from the output: see nn_keeps_slopes */
    NN_GELU_TANH,
    NN_SILU,
    NN_MISH,
    NN_HARD_SILU
} nn_activation;
typedef enum {
    NN_MSE,
    NN_BCE,
    NN_CROSS_ENTROPY,
    NN_MAE,
    NN_HUBER,
    NN_HINGE, /* targets -1 and 1 */
    NN_POISSON,
    NN_QUANTILE,
    NN_COSINE,
    NN_GIVEN /* the caller computes it, between forward and backward: nn_job.given */
} nn_loss;
typedef enum { NN_SGD, NN_MOMENTUM, NN_ADAM, NN_ADAMW, NN_NADAM, NN_RMSPROP, NN_ADAGRAD, NN_LION } nn_optimizer;
typedef enum { NN_OK, NN_BAD_X, NN_BAD_Y, NN_DIVERGED, NN_NO_MEMORY, NN_BAD_SIZE, NN_STOPPED } nn_status;

/* ---- dispatch.c: which ISA. nn_select is called once, when the module loads. */
int nn_select(const char *forced, const char **message); /* forced: NULL or a name. 0, or -1 and why */
const char *nn_isa(void);
const char *nn_isas_available(int i); /* i = 0, 1, ...; NULL at the end */

/* ---- threads.c */
typedef struct nn_team nn_team;
typedef void (*nn_task)(void *context, nn_team *team, int thread, int n_threads);
int nn_parallel(int n_threads, nn_task task,
                void *context);         /* runs task on up to n_threads threads; returns how many */
void nn_barrier(nn_team *team);         /* inside a task: all threads of the team meet */
void nn_barrier_patient(nn_team *team); /* the same where a long wait says nothing of the team */
/* A team that waits in vain for a thread without a core is given up. Thread 0 calls nn_watch_team before the first
 * barrier of a step of `flops`; all ask nn_team_given_up between the step's barriers; after the second the others leave
 * and thread 0 calls nn_go_on_alone. */
void nn_watch_team(nn_team *team, double flops);
int nn_is_short(double flops); /* whether a step of so much work is short beside a time slice */
int64_t nn_now(void);          /* ns, monotonic; system_*.c */
int nn_team_given_up(const nn_team *team);
void nn_go_on_alone(nn_team *team);
int nn_max_threads(void);             /* default or set; at least 1 */
void nn_set_max_threads(int n);       /* 0: the default */
int nn_set_threads(void);             /* what was set; 0 for the default */
void nn_limit_default_threads(int n); /* by what the C library does not know, such as quotas; 0: no limit */
int nn_forced_threads(void);          /* tests: exactly so many, 0 for no such order */
void nn_force_threads(int n);
int nn_thread_log(int i); /* tests: i-th size of team seen since then; 0 at the end */
const char *nn_openmp(void);
int nn_choose_threads(double flops, int limit); /* how many threads so much work is worth; limit 0: no bound */
/* Inside a task, around what is not the core's: subnormal numbers count there as elsewhere. */
unsigned nn_keep_subnormals(void); /* returns the mode to go back to */
void nn_restore_mode(unsigned mode);
int nn_usable_threads(int limit); /* the most that may run: by setting, limit (0: none) and cores */
int nn_contended(void);           /* whether a team was given up a moment ago */

/* ---- peak.c: multiply-adds on registers alone, in flops a second over all threads */
double nn_peak(nn_dtype dtype, int threads, double seconds);

/* ---- random.c: Philox4x32-10 (Salmon et al., 2011); the counter is (index, stream, purpose) */
enum { NN_PURPOSE_SHUFFLE = 1, NN_PURPOSE_DROPOUT = 3, NN_PURPOSE_NOISE = 5 };
/* order[i]: the rows 0..n-1 by ascending Philox key, ties by row. scratch: nn_permutation_scratch(n) bytes. */
void nn_permutation(uint64_t seed, uint64_t stream, uint32_t n, uint32_t *order, void *scratch);
size_t nn_permutation_scratch(uint32_t n);
/* The same for keys that are given, n <= 2^14; a part of nn_permutation, for the tests. */
void nn_order_of_keys(const uint64_t *keys, uint32_t n, uint32_t *order, void *scratch);

/* ---- plan.c */
typedef enum { NN_DENSE, NN_DROPOUT, NN_BATCH_NORM, NN_LAYER_NORM, NN_COLUMNS, NN_NOISE, NN_TABLE } nn_kind;

/* Column `column` of the inputs holds codes 0 .. cardinality - 1, each of which stands for `dim` numbers that are learned. */
typedef struct nn_table {
    int64_t column, cardinality, dim;
} nn_table;

typedef struct nn_layer {
    int kind; /* nn_kind, not NN_TABLE; all but dense and columns have as many outputs as inputs */
    int64_t n_in, n_out;
    int activation;           /* nn_activation; identity for dropout and noise */
    double alpha;             /* leaky_relu's slope below 0, minus elu's lower limit */
    double rate;              /* dropout: the probability of a zero; noise: its standard deviation */
    double epsilon, momentum; /* normalisation; running = (1 - momentum) running + momentum batch */
    double l1, l2;            /* dense: l1 sign(w) + l2 w is added to the gradient */
    double decay;             /* dense: before an update weights are multiplied by 1 - rate * decay */
    double max_norm;          /* dense: the most that a column of weights may measure; 0: no bound */
    const nn_table *tables; /* columns, the first layer only: by ascending column. The outputs are the other columns, in
                                 their order, then what each table has for its code */
    int n_tables;
} nn_layer;

typedef struct nn_plan nn_plan;
nn_plan *nn_plan_new(nn_dtype dtype, int n_layers, const nn_layer *layers, nn_status *status, double *bytes_needed);
void nn_plan_free(nn_plan *plan);
int64_t nn_plan_padded(const nn_plan *plan); /* reals in a parameter-shaped buffer */
int nn_plan_element_size(const nn_plan *plan);
void *nn_plan_parameters(nn_plan *plan);
/* Running means and variances of the batch normalisations: reals, layer after layer, mean before variance. */
int64_t nn_plan_n_state(const nn_plan *plan);
void *nn_plan_state(nn_plan *plan);
int64_t nn_plan_state_offset(const nn_plan *plan, int layer); /* -1: the layer has none */
void *nn_buffer(size_t bytes);                                /* 64-byte aligned zeros, or NULL */
void *nn_buffer_raw(size_t bytes);                            /* the same with anything in it */
void nn_buffer_free(void *buffer);
/* How many buffers, and bytes in all, the core has asked for so far: all its memory goes through nn_buffer. */
int64_t nn_allocations(void);
int64_t nn_bytes_asked(void);
/* Row-major W (n_in x n_out) and b (n_out), or gamma and beta (n_out), from or into a parameter-shaped buffer. Table t of
 * the first layer is "layer" n_layers + t, with its last row for b. */
void nn_pack(const nn_plan *plan, int layer, const void *w, const void *b, void *buffer);
void nn_unpack(const nn_plan *plan, int layer, const void *buffer, void *w, void *b);
void nn_plan_refresh(nn_plan *plan); /* after the parameters were written: renews what is derived from them */
/* The first of n rows of inputs in which a table has no entry for its column's number, and that table; -1 for none. */
int64_t nn_plan_bad_code(const nn_plan *plan, const void *x, int64_t n, int *table);
int nn_plan_finite(const nn_plan *plan, const void *buffer); /* a parameter-shaped buffer */
void nn_plan_forget(nn_plan *plan); /* after slots of a job were written by others than nn_run */

/* Rows of X by what is stored of them: row r has values[starts[r] .. starts[r + 1]) in columns[the same], in any order.
 * What a row has twice in a column counts as the sum. Only a network whose first layer is dense takes such rows. */
typedef struct nn_csr {
    const void *values;           /* reals */
    const void *columns, *starts; /* int64 if wide, else int32; 0 <= column < n_in; n + 1 starts that do not decrease */
    int wide;
    int64_t stored; /* values that there are */
    int64_t most;   /* values of a row, at most */
} nn_csr;

/* ---- train.c */
/* A loss of the caller's. After the forward pass of a batch, thread 0 calls it with job->given_outputs filled, the
 * batch's outputs (rows x n_out, row-major); it fills job->given_gradient, alike, with the gradient of the batch's loss
 * with respect to them, finite, and gives the sum of the rows' losses (times their weights). Row i is row
 * order[first + i] of the job, or first + i. NN_OK, or NN_DIVERGED or NN_STOPPED, which ends the call before that step. */
typedef nn_status (*nn_given)(void *context, const uint32_t *order, int64_t first, int64_t rows, double *loss_sum);
typedef struct nn_job {
    const void *x;         /* n x n_in reals, row-major */
    const nn_csr *csr;     /* or n sparse rows in place of x; else NULL */
    const void *y;         /* n x n_out reals, or NULL */
    const int32_t *labels; /* n classes, or NULL */
    int64_t n, batch;
    /* n numbers of at least 0 and at most 1, or NULL. A batch's loss is sum(w loss) / sum(w), or 0 where no row counts */
    const double *weights;
    int loss;              /* nn_loss */
    double loss_parameter; /* huber's delta, quantile's q, bce's weight of the positive (1: none) */
    double smoothing;      /* bce, cross_entropy: (1 - smoothing) y + smoothing / (2 or the number of classes) */
    nn_given given;        /* for NN_GIVEN, else NULL; then y and labels are NULL */
    void *context;
    void *given_outputs, *given_gradient; /* batch x n_out */
    /* Conventions of others. The gradient, but not the loss, is multiplied by gradient_factor (0: none); with by_batch
     * loss_sum adds up each batch's mean loss times its rows; a penalty adds penalty / (2 s) |W|^2 to a batch's loss,
     * where s is its rows or the sum of their weights: in the gradient, and in penalty_sum times the batch's rows */
    double gradient_factor, penalty;
    int by_batch;
    double least, most;  /* bce, cross_entropy: see nn_loss_args */
    int rate_within;     /* SGD with momentum: see nn_update */
    int epsilon_outside; /* Adam: epsilon is not corrected with the root: sqrt(v) + epsilon, then the correction */
    const uint32_t *given_order; /* an order of all rows, each once, for every epoch, instead of a shuffle; or NULL */
    int shuffle;
    uint64_t seed, first_epoch;
    int64_t first_row;       /* rows of the epoch that other jobs took before: only the masks of dropout go by it */
    int optimizer, nesterov; /* nn_optimizer */
    double momentum, beta1, beta2, epsilon, decay; /* beta2: also the decay of RMSprop's mean */
    double beta1_gone, beta2_gone;                 /* nn_run's: from this update on 1 minus their power is 1 */
    double momentum_decay, mu_product; /* NAdam; the product of mu up to the updates before the call, and after */
    double clip_value, clip_norm;      /* bounds of each number and of the length of the whole gradient; 0: none */
    const double *rates;               /* learning rate of each step of the call; n_rates = 1: the same for all */
    int64_t n_rates;
    void *slots[2];  /* parameter-shaped buffers; NULL where the optimizer has no such slot */
    int64_t updates; /* updates done before the call; nn_run adds those that it does */
    double
        loss_sum; /* of the rows of this epoch so far, times their weights, each before its batch's update; begins anew with an epoch */
    double penalty_sum; /* likewise, of the penalties */
    void *predictions;  /* n x n_out, row-major: each row's outputs at its latest visit; or NULL */
    int max_threads;    /* upper bound; 0: none */
    int exact_threads;  /* exactly so many, for measuring; 0: the faster */
    /* results */
    int64_t steps_done;
    int64_t bad_row; /* NN_BAD_X, NN_BAD_Y: the row in x or y */
    int bad_layer;   /* NN_DIVERGED: the first layer with a non-finite output, -1 for the loss alone */
    int threads;     /* how many ran */
    /* owned by the job, made by nn_job_prepare */
    uint64_t serial; /* no other job has it */
    uint32_t *order;
    void *scratch;
    uint64_t order_epoch; /* whose order it is; the seed of a job does not change */
    int64_t shuffle_ns;   /* of the segment under way, which says nothing of the threads */
    int order_valid;
} nn_job;

nn_status nn_job_prepare(nn_job *job, double *bytes_needed);
void nn_job_release(nn_job *job);
nn_status nn_run(nn_plan *plan, nn_job *job, int64_t first_step, int64_t n_steps, double *bytes_needed);
/* The mean loss of the job's n rows and its gradient, into a parameter-shaped buffer. A loss that is not finite is no
 * failure, except one that is given. */
nn_status nn_loss_and_gradient(nn_plan *plan, nn_job *job, double *loss, void *gradient, double *bytes_needed);

/* ---- perceptron.c: one binary perceptron, row by row, by scikit-learn's rule */
typedef struct nn_perceptron {
    const void *values;     /* n x n_features reals, row-major, or those of a CSR matrix */
    const int32_t *columns; /* of each of its values, each at most once in a row; NULL for dense rows */
    const int64_t *starts;  /* n + 1: where each row's values begin */
    int64_t n, n_features;
    const double *y, *weights; /* -1 or 1, and a factor of each row's updates */
    const uint8_t *held;       /* rows that are not learnt from; or NULL */
    void *w, *paid;            /* n_features reals each: the weights are scale * w; paid begins with zeros */
    int32_t *order;            /* 0 .. n - 1 at first */
    double intercept, intercept_decay, alpha, l1_ratio, rate;
    int penalty, fit_intercept, shuffle; /* whether there is each */
    uint32_t seed;
    double scale, squares, sizes, owed; /* 1, |w|^2 and sum |w| at first; the l1 penalty so far */
    double loss;                        /* of the epoch's rows, without their penalty */
} nn_perceptron;
double nn_perceptron_epoch(nn_perceptron *c, nn_dtype dtype); /* the sum over rows of their loss and penalty */

/* ---- profile.c: ns that one layer's parts take now, by one thread, in a step of `rows` rows; weights stay as they are */
nn_status nn_profile(nn_plan *plan, int64_t rows, int optimizer, int layer, double ns[3], double *bytes_needed);

/* ---- predict.c: outputs of the first n_layers layers for n rows; row-major. csr: in place of x, else NULL. */
nn_status nn_predict(nn_plan *plan, const void *x, const nn_csr *csr, int64_t n, int n_layers, void *out,
                     int max_threads, double *bytes_needed);

#endif
