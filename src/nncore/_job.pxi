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
        nn_plan_forget(self.engine.plan)
        for buffer, arrays in zip(self.buffers, slots, strict=True):
            self.engine.pack(arrays, (<_Buffer>buffer).data)


_IN_A_STEP = "the network is in the middle of a training step, whose loss must not use it"
_IN_A_PREDICTION = "the network is in the middle of a prediction, and a signal's handler must not use it"


cdef int _hear_signals(void *context) noexcept with gil:
    return (<NativeEngine>context).hear_signals()


cdef nn_status _ask(void *context, const uint32_t *order, int64_t first, int64_t rows, double *loss_sum) noexcept with gil:
    return (<NativeJob>context).ask(order, first, rows, loss_sum)


cdef class NativeJob:
    """A training run over the rows of X; see `numpy_backend.NumpyJob`, which has the same attributes."""

    cdef nn_job c
    cdef double rate
    cdef _Inputs inputs
    cdef Py_buffer view_y, view_predictions, view_weights, view_outputs, view_gradient  # released if taken
    cdef readonly object optimizer, predictions, slots, weights
    cdef object loss, y, outputs, gradient, error  # of a loss of the user's
    cdef object order, rates  # what C has the address of
    cdef double weight_sum
    cdef NativeEngine engine
    cdef readonly int64_t steps_per_epoch

    def __cinit__(self, NativeEngine engine not None, X, y, *, loss, int64_t batch_size, bint shuffle, seed, first_epoch,
                 optimizer, NativeSlots slots, bint record, threads, bint exact=False, weights=None,
                 int64_t first_row=0):
        cdef double bytes_needed = 0
        cdef nn_status status
        self.engine = engine
        self.inputs = _Inputs(engine, X)
        self.c.x, self.c.csr, self.c.n = self.inputs.x, self.inputs.csr, self.inputs.n
        loss = losses.get(loss)
        self.c.loss_parameter, self.c.smoothing = loss.settings
        if type(loss) is losses.OwnLoss:
            self.c.loss = _GIVEN
            self.loss, self.y = loss, y
        else:
            self.c.loss = _LOSSES[loss.name]
            engine.view_targets(y, self.c.n, &self.view_y)
            if self.view_y.ndim == 1:
                self.c.labels = <const int32_t *>self.view_y.buf
                if loss.name != "cross_entropy":
                    raise ValueError(f"y holds class labels; loss '{loss.name}' takes numbers")
            else:
                self.c.y = self.view_y.buf
        self.weight_sum = <double>self.c.n
        if weights is not None:
            self.weigh(weights)
        if not 1 <= batch_size <= self.c.n:
            raise ValueError(f"batch_size is {batch_size}; expected 1 to {self.c.n}, the number of rows")
        self.c.batch = batch_size
        if self.loss is not None:
            self.take_loss(batch_size)
        self.steps_per_epoch = (self.c.n + batch_size - 1) // batch_size
        self.c.shuffle = shuffle
        self.c.seed = seed
        self.c.first_epoch = first_epoch
        self.c.first_row = first_row
        if exact:
            self.c.exact_threads = threads
        else:
            self.c.max_threads = min(threads or 0, 1 << 30)
        self.c.rates = &self.rate
        self.c.n_rates = 1
        if record:
            self.predictions = _empty((self.c.n, engine.n_out), engine.dtype)
            PyObject_GetBuffer(self.predictions, &self.view_predictions, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
            self.c.predictions = self.view_predictions.buf
        self.optimizer = optimizer
        self.slots = slots
        if optimizer is not None:
            self.describe(optimizer, slots)
        status = nn_job_prepare(&self.c, &bytes_needed)
        if status != NN_OK:
            _refuse(status, bytes_needed, &self.c, 0)

    cdef weigh(self, weights):
        self.weights = weights
        PyObject_GetBuffer(weights, &self.view_weights, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        if self.view_weights.ndim != 1 or self.view_weights.format[0] != b"d" or self.view_weights.shape[0] != self.c.n:
            raise ValueError(f"weights must be a float64 array of shape ({self.c.n},)")
        self.c.weights = <const double *>self.view_weights.buf
        self.weight_sum = float(np.add.reduce(weights))

    cdef take_loss(self, int64_t batch_size):
        self.outputs = _empty((batch_size, self.engine.n_out), self.engine.dtype)
        self.gradient = _empty((batch_size, self.engine.n_out), self.engine.dtype)
        PyObject_GetBuffer(self.outputs, &self.view_outputs, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        PyObject_GetBuffer(self.gradient, &self.view_gradient, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        self.c.given_outputs, self.c.given_gradient = self.view_outputs.buf, self.view_gradient.buf
        self.c.given = _ask
        self.c.context = <void *>self

    cdef nn_status ask(self, const uint32_t *order, int64_t first, int64_t rows, double *loss_sum) noexcept:
        """Have the user's loss look at a batch's outputs. What it raises waits in `error`."""
        self.engine.asking = PyThread_get_thread_ident()
        try:
            if order == NULL:
                at = slice(first, first + rows)
            else:
                at = _empty(rows, np.uint32)
                memcpy(_address(at, 4, True), order + first, <size_t>rows * 4)
            value, gradient = self.loss.of_batch(
                self.outputs[:rows], self.y[at], None if self.weights is None else self.weights[at]
            )
            with np.errstate(all="ignore"):
                self.gradient[:rows] = gradient
            loss_sum[0] = value
            return NN_OK if np.isfinite(value) and np.isfinite(self.gradient[:rows]).all() else NN_DIVERGED
        except BaseException as error:
            self.error = error
            return NN_STOPPED
        finally:
            self.engine.asking = 0

    def adopt(self, *, double gradient_factor=0.0, double penalty=0.0, double least=0.0, double most=0.0,
              bint rate_within=False, bint epsilon_outside=False):
        """Take over another library's conventions, those of `nn_job`, and count losses batch by batch."""
        self.c.gradient_factor, self.c.penalty = gradient_factor, penalty
        self.c.least, self.c.most = least, most
        self.c.rate_within, self.c.epsilon_outside = rate_within, epsilon_outside
        self.c.by_batch = True

    def take_order(self, order):
        """Go through the rows in this order, an array of uint32 that stays as it is; for a job that does not shuffle.

        Each row comes once: sparse batches have room for what all rows store, and threads write predictions row by row.
        """
        cdef const uint32_t *given
        cdef int64_t i, n = self.c.n
        cdef bint outside = False, twice = False
        cdef uint64_t bit
        if self.c.shuffle or getattr(order, "dtype", None) != np.uint32 or order.shape != (n,):
            raise ValueError(f"order must be a uint32 array of shape ({n},), of a job that does not shuffle")
        given = <const uint32_t *>_address(order, 4, False)
        cdef uint64_t *seen = <uint64_t *>calloc(<size_t>(n + 63) // 64, 8)  # a bit for each row
        if seen == NULL:
            raise MemoryError()
        with nogil:
            for i in range(n):
                outside |= given[i] >= n
            if not outside:
                for i in range(n):
                    bit = <uint64_t>1 << (given[i] & 63)
                    twice |= (seen[given[i] >> 6] & bit) != 0
                    seen[given[i] >> 6] |= bit
            free(seen)
        if outside:
            raise ValueError(f"order has a number outside 0 to {n - 1}")
        if twice:
            raise ValueError(f"order has a number twice; expected each of 0 to {n - 1} once")
        self.order, self.c.given_order = order, given

    @property
    def penalty_sum(self):
        """The sum of the batches' penalties times their rows in the epoch so far."""
        return self.c.penalty_sum

    cdef raise_error(self):
        error, self.error = self.error, None
        raise error

    cdef describe(self, optimizer, NativeSlots slots):
        self.c.decay = optimizer.weight_decay
        self.c.clip_value = optimizer.clip_value or 0.0
        self.c.clip_norm = optimizer.clip_norm or 0.0
        self.c.optimizer = _optimizer_code(optimizer)
        if self.c.optimizer == NN_SGD or self.c.optimizer == NN_MOMENTUM:
            self.c.momentum = optimizer.momentum
            self.c.nesterov = optimizer.nesterov
        elif self.c.optimizer == NN_RMSPROP:
            self.c.beta2 = optimizer.rho
        elif self.c.optimizer != NN_ADAGRAD:
            self.c.beta1 = optimizer.beta1
            self.c.beta2 = optimizer.beta2
        if self.c.optimizer > NN_MOMENTUM and self.c.optimizer != NN_LION:
            self.c.epsilon = optimizer.epsilon
        if self.c.optimizer == NN_NADAM:
            self.c.momentum_decay = optimizer.momentum_decay
        needed = optimizer.n_slots
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
        return self.c.loss_sum / self.weight_sum

    @property
    def loss_sum(self):
        """The sum of the rows' losses in the epoch so far; set where a run goes on within an epoch."""
        return self.c.loss_sum

    @loss_sum.setter
    def loss_sum(self, double value):
        self.c.loss_sum = value

    def __dealloc__(self):
        nn_job_release(&self.c)
        PyBuffer_Release(&self.view_gradient)
        PyBuffer_Release(&self.view_outputs)
        PyBuffer_Release(&self.view_weights)
        PyBuffer_Release(&self.view_predictions)
        PyBuffer_Release(&self.view_y)
