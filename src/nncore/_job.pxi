# _job.pxi: buffers of the core, an optimizer's slots, and a training run over the rows of X. Included by _core.pyx.

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
    def threads(self):
        """How many ran last."""
        return self.c.threads

    @property
    def mean_loss(self):
        """The mean loss over the rows, when an epoch is complete."""
        return self.c.loss_sum / self.c.n

    @property
    def loss_sum(self):
        """The sum of the rows' losses in the epoch so far; set where a run goes on within an epoch."""
        return self.c.loss_sum

    @loss_sum.setter
    def loss_sum(self, double value):
        self.c.loss_sum = value

    def __dealloc__(self):
        nn_job_release(&self.c)
        if self.n_views > 2:
            PyBuffer_Release(&self.view_predictions)
        if self.n_views > 1:
            PyBuffer_Release(&self.view_y)
        if self.n_views > 0:
            PyBuffer_Release(&self.view_x)
