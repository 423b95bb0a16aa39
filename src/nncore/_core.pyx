# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=True, freethreading_compatible=True
"""The compiled core: a thin binding of csrc/, which does the arithmetic.

`NativeEngine` has the interface of `numpy_backend.NumpyEngine`. Arrays come in through the buffer protocol, so that the
module does not depend on NumPy's ABI; NumPy only allocates what is handed out. Everything that takes time releases the
GIL. Sizes and types are checked here before C sees a pointer; values (ranges of labels, finite numbers) by the callers
and by the kernels.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject_GenericSetAttr
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from cpython.pythread cimport PyThread_get_thread_ident
from libc.string cimport memcpy, memset

import os
from math import prod

import numpy as np

from nncore import losses
from nncore.errors import BadCode, NonFiniteData, NonFiniteLoss, NotReadyShape, NotReadyType
from nncore.sparse import CSR
from nncore.specs import LayerSpec

cdef extern from "nncore.h" nogil:
    ctypedef enum nn_dtype:
        NN_F32
        NN_F64
    ctypedef enum nn_status:
        NN_OK
        NN_BAD_X
        NN_BAD_Y
        NN_DIVERGED
        NN_NO_MEMORY
        NN_BAD_SIZE
        NN_STOPPED
    enum:
        NN_SGD
        NN_MOMENTUM
        NN_ADAM
        NN_ADAMW
        NN_NADAM
        NN_RMSPROP
        NN_ADAGRAD
        NN_LION
    ctypedef struct nn_table:
        int64_t column
        int64_t cardinality
        int64_t dim
    ctypedef struct nn_layer:
        int kind
        int64_t n_in
        int64_t n_out
        int activation
        double alpha
        double rate
        double epsilon
        double momentum
        double l1
        double l2
        double decay
        double max_norm
        const nn_table *tables
        int n_tables
    ctypedef struct nn_plan:
        pass
    ctypedef nn_status (*nn_given)(void *context, const uint32_t *order, int64_t first, int64_t rows, double *loss_sum)
    ctypedef struct nn_csr:
        const void *values
        const void *columns
        const void *starts
        int wide
        int64_t stored
        int64_t most
    ctypedef struct nn_job:
        const void *x
        const nn_csr *csr
        const void *y
        const int32_t *labels
        int64_t n
        int64_t batch
        const double *weights
        int loss
        double loss_parameter
        double smoothing
        nn_given given
        void *context
        void *given_outputs
        void *given_gradient
        double gradient_factor
        double penalty
        int by_batch
        double least
        double most
        int rate_within
        int epsilon_outside
        const uint32_t *given_order
        int shuffle
        uint64_t seed
        uint64_t first_epoch
        int64_t first_row
        int optimizer
        int nesterov
        double momentum
        double beta1
        double beta2
        double epsilon
        double decay
        double clip_value
        double clip_norm
        double momentum_decay
        double mu_product
        const double *rates
        int64_t n_rates
        void *slots[2]
        int64_t updates
        double loss_sum
        double penalty_sum
        void *predictions
        int max_threads
        int exact_threads
        int64_t steps_done
        int64_t bad_row
        int bad_layer
        int threads
    int nn_select(const char *forced, const char **message)
    const char *nn_isa()
    const char *nn_isas_available(int i)
    int nn_max_threads()
    int nn_usable_threads(int limit)
    void nn_set_max_threads(int n)
    int nn_set_threads()
    void nn_limit_default_threads(int n)
    void nn_force_threads(int n)
    int nn_thread_log(int i)
    const char *nn_openmp()
    void nn_permutation(uint64_t seed, uint64_t stream, uint32_t n, uint32_t *order, void *scratch)
    size_t nn_permutation_scratch(uint32_t n)
    void nn_order_of_keys(const uint64_t *keys, uint32_t n, uint32_t *order, void *scratch)
    nn_plan *nn_plan_new(nn_dtype dtype, int n_layers, const nn_layer *layers, nn_status *status, double *bytes_needed)
    void nn_plan_free(nn_plan *plan)
    int64_t nn_plan_padded(const nn_plan *plan)
    int nn_plan_element_size(const nn_plan *plan)
    void *nn_plan_parameters(nn_plan *plan)
    int64_t nn_plan_n_state(const nn_plan *plan)
    void *nn_plan_state(nn_plan *plan)
    int64_t nn_plan_state_offset(const nn_plan *plan, int layer)
    void *nn_buffer(size_t bytes)
    int64_t nn_allocations()
    int64_t nn_bytes_asked()
    void nn_buffer_free(void *buffer)
    void nn_pack(const nn_plan *plan, int layer, const void *w, const void *b, void *buffer)
    void nn_unpack(const nn_plan *plan, int layer, const void *buffer, void *w, void *b)
    void nn_plan_refresh(nn_plan *plan)
    void nn_plan_forget(nn_plan *plan)
    int nn_plan_finite(const nn_plan *plan, const void *buffer)
    int64_t nn_plan_bad_code(const nn_plan *plan, const void *x, int64_t n, int *table)
    nn_status nn_job_prepare(nn_job *job, double *bytes_needed)
    void nn_job_release(nn_job *job)
    nn_status nn_run(nn_plan *plan, nn_job *job, int64_t first_step, int64_t n_steps, double *bytes_needed)
    nn_status nn_loss_and_gradient(nn_plan *plan, nn_job *job, double *loss, void *gradient, double *bytes_needed)
    nn_status nn_profile(nn_plan *plan, int64_t rows, int optimizer, int layer, double *ns, double *bytes_needed)
    nn_status nn_predict(
        nn_plan *plan, const void *x, const nn_csr *csr, int64_t n, int n_layers, void *out, int max_threads,
        double *bytes_needed
    )
    ctypedef struct nn_perceptron:
        const void *values
        const int32_t *columns
        const int64_t *starts
        int64_t n
        int64_t n_features
        const double *y
        const double *weights
        const uint8_t *held
        void *w
        void *paid
        int32_t *order
        double intercept
        double intercept_decay
        double alpha
        double l1_ratio
        double rate
        int penalty
        int fit_intercept
        int shuffle
        uint32_t seed
        double scale
        double squares
        double sizes
        double owed
        double loss
    double nn_perceptron_epoch(nn_perceptron *c, nn_dtype dtype)
    double nn_peak(nn_dtype dtype, int threads, double seconds)

cdef extern from "cost.h" nogil:
    ctypedef struct nn_machine:
        double flops_per_ns[2]
        double barrier
        double barrier_all
        double line
        int threads
    ctypedef struct nn_cost:
        double forward
        double backward
        double update
    nn_machine nn_machine_of(nn_dtype dtype)
    int nn_first_choice(nn_plan *p, int64_t rows, int optimizer, int most)
    double nn_predict_step(const nn_plan *p, int64_t rows, int optimizer, int threads, nn_cost *layers)

cdef extern from "predict.h" nogil:
    nn_status nn_predict_asking(
        nn_plan *plan, const void *x, const nn_csr *csr, int64_t n, int n_layers, void *out, int max_threads,
        int (*asks)(void *) noexcept, void *context, double *bytes_needed
    )

cdef extern from "gate.h" nogil:
    ctypedef struct nn_gate:
        pass
    int nn_gate_try(nn_gate *g)
    void nn_gate_leave(nn_gate *g)
    int nn_gate_wanted(nn_gate *g)
    void nn_gate_wait(nn_gate *g)
    void nn_gate_let_pass(nn_gate *g)
    void nn_gate_reset(nn_gate *g)

_ACTIVATIONS = {
    "identity": 0, "step": 1, "sigmoid": 2, "tanh": 3, "relu": 4, "leaky_relu": 5, "softmax": 6, "elu": 7, "selu": 8,
    "softplus": 9, "exponential": 10, "hard_sigmoid": 11, "hard_tanh": 12, "gelu": 13, "gelu_tanh": 14, "silu": 15,
    "mish": 16, "hard_silu": 17,
}
_KINDS = {"dense": 0, "dropout": 1, "batch_norm": 2, "layer_norm": 3, "columns": 4, "noise": 5}
_LOSSES = {
    "mse": 0, "bce": 1, "cross_entropy": 2, "mae": 3, "huber": 4, "hinge": 5, "poisson": 6, "quantile": 7, "cosine": 8,
}
_GIVEN = 9  # NN_GIVEN
_OPTIMIZERS = {
    "adam": NN_ADAM, "adamw": NN_ADAMW, "nadam": NN_NADAM, "rmsprop": NN_RMSPROP, "adagrad": NN_ADAGRAD, "lion": NN_LION,
}
_empty = np.empty
_ndarray = np.ndarray


cdef _choose_isa():
    cdef const char *message = NULL
    forced = os.environ.get("NNCORE_ISA")
    cdef bytes name = forced.encode() if forced else b""
    if nn_select(<const char *>name if forced else NULL, &message) != 0:
        raise ImportError(message.decode())


_choose_isa()


cdef _refuse(nn_status status, double bytes_needed, nn_job *job, int64_t first_step):
    """Turn a status that is not NN_OK into the exception that says the same."""
    if status == NN_BAD_X or status == NN_BAD_Y:
        raise NonFiniteData("X" if status == NN_BAD_X else "y", job.bad_row)
    if status == NN_DIVERGED:
        raise NonFiniteLoss(first_step + job.steps_done, None if job.bad_layer < 0 else job.bad_layer)
    if status == NN_NO_MEMORY:
        raise MemoryError(f"{bytes_needed:.0f} bytes are needed and cannot be had")
    raise ValueError("the sizes are too large for the native backend")


cdef int _optimizer_code(optimizer) except -1:
    if optimizer.name == "sgd":
        return NN_MOMENTUM if optimizer.momentum else NN_SGD
    code = _OPTIMIZERS.get(optimizer.name)
    if code is None:
        known = ", ".join(repr(name) for name in ("sgd", *_OPTIMIZERS))
        raise ValueError(f"optimizer is '{optimizer.name}'; the native backend has {known}")
    return code


include "_sparse.pxi"
include "_job.pxi"
include "_parameters.pxi"
include "_engine.pxi"
include "_views.pxi"
include "_perceptron.pxi"

# ---------------------------------------------------------------------------------------------- module functions


def set_num_threads(n):
    """Set the upper bound of threads; 0 for the default."""
    nn_set_max_threads(min(n, 1 << 30))


def num_threads_set():
    """Return what was set, 0 for the default."""
    return nn_set_threads()


def limit_default_threads(n):
    """Bound the number that is used where none is set."""
    nn_limit_default_threads(min(n, 1 << 30))


def get_num_threads():
    """Return the upper bound of threads."""
    return nn_max_threads()


def config():
    """Return a dict of what the core was built with and what it runs on."""
    available, i = [], 0
    while nn_isas_available(i) != NULL:
        available.append(nn_isas_available(i).decode())
        i += 1
    return {
        "isa": nn_isa().decode(),
        "isas_available": available,
        "threads": nn_max_threads(),
        "compiler": COMPILER,
        "openmp": nn_openmp().decode(),
        "version": VERSION,
    }


def force_threads(int n):
    """Make every team have exactly `n` threads, 0 for the usual choice; begins a new log. For tests."""
    if not 0 <= n < 256:
        raise ValueError(f"n is {n}; expected 1 to 255 threads")
    nn_force_threads(n)


def thread_log():
    """Return the sizes of team seen since `force_threads` was last called with a number above 0."""
    sizes, i = [], 0
    while nn_thread_log(i):
        sizes.append(nn_thread_log(i))
        i += 1
    return sizes


def allocations():
    """Return how many buffers the core has asked for since it was loaded. For tests."""
    return nn_allocations()


def bytes_asked():
    """Return how many bytes all those buffers had. For tests."""
    return nn_bytes_asked()


def permutation(seed, stream, uint32_t n, keys=None):
    """Return the order of an epoch's rows as `streams.permutation` does with purpose SHUFFLE, or that of `keys`. For tests."""
    order = _empty(n, np.uint32)
    scratch = _empty(nn_permutation_scratch(n), np.uint8)
    cdef uint32_t *written = <uint32_t *>_address(order, 4, True)
    cdef void *room = _address(scratch, 1, True)
    if keys is not None and (n > 1 << 14 or len(keys) < n):
        raise ValueError(f"n is {n} and there are {len(keys)} keys; expected as many keys, up to 2**14")
    cdef const uint64_t *given = <const uint64_t *>_address(keys, 8, False)
    cdef uint64_t seed_ = seed, stream_ = stream
    with nogil:
        if given != NULL:
            nn_order_of_keys(given, n, written, room)
        else:
            nn_permutation(seed_, stream_, n, written, room)
    return order


def machine(str dtype):
    """Return what the cost model measured of this machine: GFLOP/s of a core, ns of a barrier and of a line that crosses."""
    cdef nn_dtype code = NN_F32 if dtype == "float32" else NN_F64
    cdef nn_machine m
    with nogil:
        m = nn_machine_of(code)
    return {
        "gflops": m.flops_per_ns[<int>code], "barrier_ns": m.barrier, "barrier_all_ns": m.barrier_all, "line_ns": m.line,
    }


def usable_threads():
    """Return how many threads training may use now: as set, but no more than cores."""
    return nn_usable_threads(0)


def fma_peak(str dtype, int threads, double seconds):
    """Return the GFLOP/s that `threads` cores reach with multiply-adds on registers alone."""
    cdef nn_dtype code = NN_F32 if dtype == "float32" else NN_F64
    cdef double flops
    with nogil:
        flops = nn_peak(code, threads, seconds)
    return flops / 1e9


cdef extern from *:
    """
    #if defined(__clang__)
    #define NN_COMPILER "clang " __clang_version__
    #else
    #define NN_COMPILER "gcc " __VERSION__
    #endif
    """
    const char *NN_COMPILER
    const char *NN_VERSION

COMPILER = NN_COMPILER.decode()
VERSION = NN_VERSION.decode()

include "_kernel_types.pxi"
include "_kernels.pxi"
include "_kernels_layers.pxi"
