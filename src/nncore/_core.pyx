# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, binding=True
"""The compiled core: a thin binding of csrc/, which does the arithmetic.

`NativeEngine` has the interface of `numpy_backend.NumpyEngine`. Arrays come in through the buffer protocol, so that the
module does not depend on NumPy's ABI; NumPy only allocates what is handed out. Everything that takes time releases the
GIL. Sizes and types are checked here before C sees a pointer; values (ranges of labels, finite numbers) by the callers
and by the kernels.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

import os

import numpy as np

from nncore.errors import NonFiniteData, NonFiniteLoss

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
    enum:
        NN_SGD
        NN_MOMENTUM
        NN_ADAM
    ctypedef struct nn_layer:
        int64_t n_in
        int64_t n_out
        int activation
        double alpha
    ctypedef struct nn_plan:
        pass
    ctypedef struct nn_job:
        const void *x
        const void *y
        const int32_t *labels
        int64_t n
        int64_t batch
        int loss
        int shuffle
        uint64_t seed
        uint64_t first_epoch
        int optimizer
        int nesterov
        double momentum
        double beta1
        double beta2
        double epsilon
        double decay
        const double *rates
        int64_t n_rates
        void *slots[2]
        int64_t updates
        double loss_sum
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
    void nn_set_max_threads(int n)
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
    void *nn_buffer(size_t bytes)
    int64_t nn_allocations()
    void nn_buffer_free(void *buffer)
    void nn_pack(const nn_plan *plan, int layer, const void *w, const void *b, void *buffer)
    void nn_unpack(const nn_plan *plan, int layer, const void *buffer, void *w, void *b)
    void nn_plan_refresh(nn_plan *plan)
    int nn_plan_finite(const nn_plan *plan, const void *buffer)
    nn_status nn_job_prepare(nn_job *job, double *bytes_needed)
    void nn_job_release(nn_job *job)
    nn_status nn_run(nn_plan *plan, nn_job *job, int64_t first_step, int64_t n_steps, double *bytes_needed)
    nn_status nn_loss_and_gradient(nn_plan *plan, nn_job *job, double *loss, void *gradient, double *bytes_needed)
    nn_status nn_profile(nn_plan *plan, int64_t rows, int optimizer, int layer, double *ns, double *bytes_needed)
    nn_status nn_predict(
        nn_plan *plan, const void *x, int64_t n, int n_layers, void *out, int max_threads, double *bytes_needed
    )
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
    double nn_predict_step(const nn_plan *p, int64_t rows, int optimizer, int threads, nn_cost *layers)

cdef extern from "gate.h" nogil:
    ctypedef struct nn_gate:
        pass
    int nn_gate_try(nn_gate *g)
    void nn_gate_leave(nn_gate *g)
    int nn_gate_wanted(nn_gate *g)
    void nn_gate_wait(nn_gate *g)
    void nn_gate_let_pass(nn_gate *g)

_ACTIVATIONS = {
    "identity": 0, "step": 1, "sigmoid": 2, "tanh": 3, "relu": 4, "leaky_relu": 5, "softmax": 6,
}
_LOSSES = {"mse": 0, "bce": 1, "cross_entropy": 2}
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
    if optimizer.name == "adam":
        return NN_ADAM
    if optimizer.name == "sgd":
        return NN_MOMENTUM if optimizer.momentum else NN_SGD
    raise ValueError(f"optimizer is '{optimizer.name}'; the native backend has 'adam' and 'sgd'")


cdef class _Buffer:
    """A parameter-shaped buffer of the C core."""

    cdef void *data
    cdef size_t bytes

    def __cinit__(self, size_t bytes):
        self.bytes = bytes
        self.data = nn_buffer(bytes)
        if self.data == NULL:
            raise MemoryError(f"{bytes} bytes are needed and cannot be had")

    def __dealloc__(self):
        nn_buffer_free(self.data)


cdef class NativeSlots:
    """An optimizer's memory: `n` buffers of the parameters' shape."""

    cdef NativeEngine engine
    cdef list buffers

    def __cinit__(self, NativeEngine engine not None, int n):
        self.engine = engine
        self.buffers = [_Buffer(engine.buffer_bytes()) for _ in range(n)]

    def arrays(self):
        """Return copies: a list for each slot, its arrays in the order of `get_weights`."""
        return [self.engine.unpack((<_Buffer>b).data) for b in self.buffers]

    def load(self, slots):
        """Take over arrays as `arrays` gives them."""
        for buffer, arrays in zip(self.buffers, slots, strict=True):
            self.engine.pack(arrays, (<_Buffer>buffer).data)


cdef class NativeJob:
    """A training run over the rows of X; see `numpy_backend.NumpyJob`, which has the same attributes."""

    cdef nn_job c
    cdef double rate
    cdef Py_buffer view_x, view_y, view_predictions
    cdef int n_views
    cdef readonly object optimizer, predictions, slots
    cdef NativeEngine engine
    cdef readonly int64_t steps_per_epoch

    def __cinit__(self, NativeEngine engine not None, X, y, *, str loss, int64_t batch_size, bint shuffle, seed, first_epoch,
                 optimizer, NativeSlots slots, bint record, threads, bint exact=False):
        cdef double bytes_needed = 0
        cdef nn_status status
        self.engine = engine
        engine.view_inputs(X, &self.view_x)
        self.n_views = 1
        self.c.x = self.view_x.buf
        self.c.n = self.view_x.shape[0]
        engine.view_targets(y, self.c.n, &self.view_y)
        self.n_views = 2
        if self.view_y.ndim == 1:
            self.c.labels = <const int32_t *>self.view_y.buf
            if loss != "cross_entropy":
                raise ValueError(f"y holds class labels; loss '{loss}' takes numbers")
        else:
            self.c.y = self.view_y.buf
        self.c.loss = _LOSSES[loss]
        if not 1 <= batch_size <= self.c.n:
            raise ValueError(f"batch_size is {batch_size}; expected 1 to {self.c.n}, the number of rows")
        self.c.batch = batch_size
        self.steps_per_epoch = (self.c.n + batch_size - 1) // batch_size
        self.c.shuffle = shuffle
        self.c.seed = seed
        self.c.first_epoch = first_epoch
        if exact:
            self.c.exact_threads = threads
        else:
            self.c.max_threads = min(threads or 0, 1 << 30)
        self.c.rates = &self.rate
        self.c.n_rates = 1
        if record:
            self.predictions = _empty((self.c.n, engine.n_out), engine.dtype)
            PyObject_GetBuffer(self.predictions, &self.view_predictions, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
            self.n_views = 3
            self.c.predictions = self.view_predictions.buf
        self.optimizer = optimizer
        self.slots = slots
        if optimizer is not None:
            self.describe(optimizer, slots)
        status = nn_job_prepare(&self.c, &bytes_needed)
        if status != NN_OK:
            _refuse(status, bytes_needed, &self.c, 0)

    cdef describe(self, optimizer, NativeSlots slots):
        self.c.decay = optimizer.weight_decay
        self.c.optimizer = _optimizer_code(optimizer)
        if self.c.optimizer == NN_ADAM:
            self.c.beta1 = optimizer.beta1
            self.c.beta2 = optimizer.beta2
            self.c.epsilon = optimizer.epsilon
        else:
            self.c.momentum = optimizer.momentum
            self.c.nesterov = optimizer.nesterov
        needed = 2 if self.c.optimizer == NN_ADAM else 1 if self.c.optimizer == NN_MOMENTUM else 0
        if slots is None or len(slots.buffers) != needed or slots.engine is not self.engine:
            raise ValueError(f"optimizer's slots are not those of this network; {needed} are needed")
        for i, buffer in enumerate(slots.buffers):
            self.c.slots[i] = (<_Buffer>buffer).data

    @property
    def mean_loss(self):
        """The mean loss over the rows, when an epoch is complete."""
        return self.c.loss_sum / self.c.n

    def __dealloc__(self):
        nn_job_release(&self.c)
        if self.n_views > 2:
            PyBuffer_Release(&self.view_predictions)
        if self.n_views > 1:
            PyBuffer_Release(&self.view_y)
        if self.n_views > 0:
            PyBuffer_Release(&self.view_x)


cdef class NativeEngine:
    """Weights of a dense network in the C core, and all that is computed with them.

    Parameters
    ----------
    layers : list of (n_in, n_out, activation, alpha)
        One tuple for each layer; `activation` is a name and `alpha` the slope of leaky_relu (0.0 elsewhere).
    dtype : {"float32", "float64"}
        Type of the weights and of all arithmetic.
    """

    cdef nn_plan *plan
    cdef nn_gate gate  # for the plan's buffers: another thread waits its turn
    cdef object row, copy_row  # an output row of the engine's own, for predictions of one row
    cdef Py_buffer view_row
    cdef list spare  # an earlier fit's snapshot, whose memory the next one takes
    cdef char code
    cdef int n_layers
    cdef readonly object dtype, shapes
    cdef readonly int64_t n_in, n_out, n_parameters

    def __cinit__(self, layers, str dtype):
        self.dtype = np.dtype(dtype)
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype is {dtype!r}; expected 'float32' or 'float64'")
        self.code = b"f" if dtype == "float32" else b"d"
        self.shapes = [(n_in, n_out) for n_in, n_out, _, _ in layers]
        self.n_layers = len(self.shapes)
        if self.n_layers == 0:
            raise ValueError("layers is empty; expected at least one")
        cdef nn_layer *described = <nn_layer *>calloc(self.n_layers, sizeof(nn_layer))
        cdef nn_status status = NN_OK
        cdef double bytes_needed = 0
        if described == NULL:
            raise MemoryError()
        try:
            for i, (n_in, n_out, activation, alpha) in enumerate(layers):
                described[i].n_in = n_in
                described[i].n_out = n_out
                described[i].activation = _ACTIVATIONS[activation]
                described[i].alpha = alpha
                if i and n_in != self.shapes[i - 1][1]:
                    raise ValueError(f"layer {i} takes {n_in} inputs; the layer before has {self.shapes[i - 1][1]} outputs")
            self.plan = nn_plan_new(
                NN_F32 if dtype == "float32" else NN_F64, self.n_layers, described, &status, &bytes_needed
            )
        finally:
            free(described)
        if self.plan == NULL:
            _refuse(status, bytes_needed, NULL, 0)
        self.n_in = self.shapes[0][0]
        self.n_out = self.shapes[self.n_layers - 1][1]
        self.n_parameters = sum((n_in + 1) * n_out for n_in, n_out in self.shapes)
        row = _empty((1, self.n_out), self.dtype)
        PyObject_GetBuffer(row, &self.view_row, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        self.row = row
        self.copy_row = row.copy

    def __dealloc__(self):
        if self.row is not None:
            PyBuffer_Release(&self.view_row)
        nn_plan_free(self.plan)

    cdef void enter(self) noexcept:
        if not nn_gate_try(&self.gate):
            with nogil:
                nn_gate_wait(&self.gate)

    cdef void leave(self) noexcept:
        nn_gate_leave(&self.gate)

    # ------------------------------------------------------------------------------------------------- buffers

    cdef size_t buffer_bytes(self):
        return <size_t>nn_plan_padded(self.plan) * <size_t>nn_plan_element_size(self.plan)

    cdef int view_inputs(self, X, Py_buffer *view) except -1:
        if type(X) is not _ndarray:  # a masked array, for one, would come through as plain numbers
            raise TypeError(f"X must be a C-contiguous array of {self.dtype}")
        try:
            PyObject_GetBuffer(X, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        except BufferError:
            raise ValueError(f"X must be a C-contiguous array of {self.dtype}") from None
        if view.ndim != 2 or view.format == NULL or view.format[0] != self.code or view.format[1] != 0:
            PyBuffer_Release(view)
            raise TypeError(f"X must be a C-contiguous 2-D array of {self.dtype}")
        if view.shape[1] != self.n_in or view.shape[0] == 0:
            n, columns = view.shape[0], view.shape[1]
            PyBuffer_Release(view)
            raise ValueError(f"X has shape ({n}, {columns}); this network takes (n, {self.n_in}) with n > 0")
        return 0

    cdef int view_targets(self, y, int64_t n, Py_buffer *view) except -1:
        cdef bint fits
        try:
            PyObject_GetBuffer(y, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        except BufferError:
            raise ValueError("y must be a C-contiguous array") from None
        fits = view.format != NULL and view.format[1] == 0 and view.ndim > 0 and view.shape[0] == n
        if view.ndim == 1:
            fits = fits and view.format[0] in b"il" and view.itemsize == 4
        else:
            fits = fits and view.ndim == 2 and view.format[0] == self.code and view.shape[1] == self.n_out
        if not fits:
            PyBuffer_Release(view)
            raise ValueError(f"y must be {n} class labels of int32, or a {self.dtype} array of shape ({n}, {self.n_out})")
        if view.ndim == 1:
            self.check_labels(<const int32_t *>view.buf, n, view)
        return 0

    cdef int check_labels(self, const int32_t *labels, int64_t n, Py_buffer *view) except -1:
        cdef int64_t i
        cdef bint outside = False
        with nogil:
            for i in range(n):
                outside |= (labels[i] < 0) | (labels[i] >= self.n_out)
        if outside:
            PyBuffer_Release(view)
            raise ValueError(f"y has a label outside 0 to {self.n_out - 1}")
        return 0

    cdef int pack(self, arrays, void *buffer) except -1:
        cdef Py_buffer w, b
        arrays = list(arrays)
        if len(arrays) != 2 * self.n_layers:
            raise ValueError(f"{len(arrays)} arrays were given; expected {2 * self.n_layers}")
        for layer, (n_in, n_out) in enumerate(self.shapes):
            weight = np.ascontiguousarray(arrays[2 * layer], self.dtype)
            bias = np.ascontiguousarray(arrays[2 * layer + 1], self.dtype)
            if weight.shape != (n_in, n_out) or bias.shape != (n_out,):
                raise ValueError(f"layer {layer} takes shapes {(n_in, n_out)} and {(n_out,)}")
            PyObject_GetBuffer(weight, &w, PyBUF_C_CONTIGUOUS)
            PyObject_GetBuffer(bias, &b, PyBUF_C_CONTIGUOUS)
            nn_pack(self.plan, layer, w.buf, b.buf, buffer)
            PyBuffer_Release(&b)
            PyBuffer_Release(&w)
        return 0

    cdef list unpack(self, const void *buffer):
        cdef Py_buffer w, b
        arrays = []
        for layer, (n_in, n_out) in enumerate(self.shapes):
            weight, bias = _empty((n_in, n_out), self.dtype), _empty(n_out, self.dtype)
            PyObject_GetBuffer(weight, &w, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
            PyObject_GetBuffer(bias, &b, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
            nn_unpack(self.plan, layer, buffer, w.buf, b.buf)
            PyBuffer_Release(&b)
            PyBuffer_Release(&w)
            arrays += [weight, bias]
        return arrays

    # ------------------------------------------------------------------------------------------------- weights

    def set_weights(self, arrays):
        """Copy in ``[W0, b0, W1, b1, ...]``."""
        self.enter()
        try:
            self.pack(arrays, nn_plan_parameters(self.plan))
            nn_plan_refresh(self.plan)
        finally:
            self.leave()

    def get_weights(self):
        """Return copies ``[W0, b0, W1, b1, ...]``."""
        self.enter()
        try:
            return self.unpack(nn_plan_parameters(self.plan))
        finally:
            self.leave()

    def finite(self, NativeSlots slots=None):
        """Say whether every weight and bias is finite, and all that the optimizer keeps."""
        if not nn_plan_finite(self.plan, nn_plan_parameters(self.plan)):
            return False
        return slots is None or all(nn_plan_finite(self.plan, (<_Buffer>b).data) for b in slots.buffers)

    def new_slots(self, int n):
        """Return `n` zeroed copies of the parameters' shapes: an optimizer's memory."""
        return NativeSlots(self, n)

    def snapshot(self, NativeSlots slots, into=None):
        """Copy weights and slots aside, into an earlier snapshot's memory where one is given."""
        cdef Py_ssize_t i, n = 1 + (0 if slots is None else len(slots.buffers))
        if into is None:
            into = self.spare if self.spare is not None and len(self.spare) >= n else None
        self.spare = saved = [_Buffer(self.buffer_bytes()) for _ in range(n)] if into is None else into
        memcpy((<_Buffer>saved[0]).data, nn_plan_parameters(self.plan), self.buffer_bytes())
        for i in range(1, n):
            memcpy((<_Buffer>saved[i]).data, (<_Buffer>slots.buffers[i - 1]).data, self.buffer_bytes())
        return saved

    def restore(self, list saved, NativeSlots slots):
        """Bring weights and slots back to what the snapshot saw."""
        cdef Py_ssize_t i
        self.enter()
        memcpy(nn_plan_parameters(self.plan), (<_Buffer>saved[0]).data, self.buffer_bytes())
        if slots is not None:
            for i, buffer in enumerate(slots.buffers):
                memcpy((<_Buffer>buffer).data, (<_Buffer>saved[i + 1]).data, self.buffer_bytes())
        nn_plan_refresh(self.plan)
        self.leave()

    # ------------------------------------------------------------------------------------------------- forward

    cdef nn_status predict_into(self, const Py_buffer *x, int n_layers, void *out, double *bytes_needed) noexcept:
        """Fill `out`. The GIL is kept for what takes some us: to let it go again and again for a moment would keep other
        threads from ever getting it, as each time they wake up too late."""
        cdef nn_status status
        self.enter()
        if 2.0 * self.n_parameters * x.shape[0] < 2e6:
            status = nn_predict(self.plan, x.buf, x.shape[0], n_layers, out, 0, bytes_needed)
        else:
            with nogil:
                status = nn_predict(self.plan, x.buf, x.shape[0], n_layers, out, 0, bytes_needed)
        self.leave()
        return status

    cdef object outputs(self, const Py_buffer *x, int n_layers):
        cdef Py_buffer out
        cdef double bytes_needed = 0
        cdef nn_status status
        result = _empty((x.shape[0], self.n_out if n_layers == self.n_layers else self.shapes[n_layers - 1][1]), self.dtype)
        PyObject_GetBuffer(result, &out, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        status = self.predict_into(x, n_layers, out.buf, &bytes_needed)
        PyBuffer_Release(&out)
        if status != NN_OK:
            _refuse(status, bytes_needed, NULL, 0)
        return result

    cdef object one_row(self, const Py_buffer *x):
        """What `outputs` gives for a single row: a copy costs less than a new array and the way to its address."""
        cdef double bytes_needed = 0
        cdef nn_status status
        self.enter()
        status = nn_predict(self.plan, x.buf, 1, self.n_layers, self.view_row.buf, 1, &bytes_needed)
        try:
            if status != NN_OK:
                _refuse(status, bytes_needed, NULL, 0)
            return self.copy_row()
        finally:
            self.leave()

    def predict(self, X):
        """Return the outputs (n, n_out) for `X` (n, n_in), a C-contiguous array of the engine's dtype."""
        cdef Py_buffer x
        self.view_inputs(X, &x)
        try:
            if x.shape[0] == 1 and self.n_parameters < 100_000:
                return self.one_row(&x)
            return self.outputs(&x, self.n_layers)
        finally:
            PyBuffer_Release(&x)

    def forward_layers(self, X):
        """Return every layer's output, after its activation."""
        cdef Py_buffer x
        self.view_inputs(X, &x)
        try:
            return [self.outputs(&x, n) for n in range(1, self.n_layers + 1)]
        finally:
            PyBuffer_Release(&x)

    # ------------------------------------------------------------------------------------------------ training

    def loss_and_gradients(self, X, y, str loss):
        """Return the mean loss over the rows and its gradients, in the order of `get_weights`."""
        cdef NativeJob job = self.job(X, y, loss=loss, batch_size=len(X), shuffle=False, seed=0, first_epoch=0,
                                      optimizer=None, slots=None, record=False, threads=None)
        cdef _Buffer gradient = _Buffer(self.buffer_bytes())
        cdef double bytes_needed = 0, value = 0
        cdef nn_status status
        self.enter()
        with nogil:
            status = nn_loss_and_gradient(self.plan, &job.c, &value, gradient.data, &bytes_needed)
        self.leave()
        if status != NN_OK:
            _refuse(status, bytes_needed, &job.c, 0)
        return value, self.unpack(gradient.data)

    def predicted_ns(self, int64_t rows, optimizer, int threads):
        """Return what the cost model says: ns of a step, and (forward, backward, update) of each layer by one thread."""
        cdef nn_cost *costs = <nn_cost *>calloc(self.n_layers, sizeof(nn_cost))
        cdef int code = _optimizer_code(optimizer)
        cdef double step
        if costs == NULL:
            raise MemoryError()
        with nogil:
            step = nn_predict_step(self.plan, rows, code, threads, costs)
        layers = [(costs[i].forward, costs[i].backward, costs[i].update) for i in range(self.n_layers)]
        free(costs)
        return step, layers

    def measured_ns(self, int64_t rows, optimizer):
        """Return ns of (forward, backward, update) of each layer by one thread; changes no weight."""
        cdef double ns[3]
        cdef double bytes_needed = 0
        cdef nn_status status = NN_OK
        cdef int layer, code = _optimizer_code(optimizer)
        layers = []
        for layer in range(self.n_layers):
            self.enter()
            with nogil:
                status = nn_profile(self.plan, rows, code, layer, ns, &bytes_needed)
            self.leave()
            if status != NN_OK:
                _refuse(status, bytes_needed, NULL, 0)
            layers.append((ns[0], ns[1], ns[2]))
        return layers

    def job(self, X, y, **settings):
        """Describe a training run over the rows of `X`; see `NativeJob`."""
        return NativeJob(self, X, y, **settings)

    def run(self, NativeJob job, int64_t first_step, int64_t n_steps):
        """Do the steps `first_step` to ``first_step + n_steps - 1`` of a job, without the GIL."""
        cdef double bytes_needed = 0
        cdef nn_status status
        if job.engine is not self:
            raise ValueError("job is another engine's")
        if first_step < 0 or n_steps < 0:
            raise ValueError(f"first_step is {first_step} and n_steps {n_steps}; expected none below 0")
        job.rate = job.optimizer.learning_rate
        job.c.updates = job.optimizer.steps
        self.enter()
        with nogil:
            status = nn_run(self.plan, &job.c, first_step, n_steps, &bytes_needed)
            nn_gate_leave(&self.gate)
            if nn_gate_wanted(&self.gate):
                nn_gate_let_pass(&self.gate)
        job.optimizer.steps += job.c.steps_done
        if status != NN_OK:
            _refuse(status, bytes_needed, &job.c, first_step)


# ---------------------------------------------------------------------------------------------- module functions


def set_num_threads(n):
    """Set the upper bound of threads."""
    nn_set_max_threads(min(n, 1 << 30))


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


def permutation(seed, stream, uint32_t n, keys=None):
    """Return the order of an epoch's rows as `streams.permutation` does with purpose SHUFFLE, or that of `keys`. For tests."""
    order = _empty(n, np.uint32)
    scratch = _empty(nn_permutation_scratch(n), np.uint8)
    cdef uint32_t *written = <uint32_t *>_address(order, 4, True)
    cdef void *room = _address(scratch, 1, True)
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
        "threads": m.threads,
    }


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

include "_kernels.pxi"
