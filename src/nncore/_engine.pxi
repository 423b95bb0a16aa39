# _engine.pxi: all that is computed with the weights of a network in the core. Included by _core.pyx.

cdef class NativeEngine(NativeParameters):
    """Weights of a dense network in the C core, and all that is computed with them.

    Parameters
    ----------
    layers : list of LayerSpec
        Or of tuples of their fields, of which the first four may stand alone.
    dtype : {"float32", "float64"}
        Type of the weights and of all arithmetic.
    """

    cdef object row, copy_row  # an output row of the engine's own, for predictions of one row
    cdef Py_buffer view_row
    cdef object error  # of a signal's handler in the middle of a prediction

    def __cinit__(self, layers, str dtype):
        row = _empty((1, self.n_out), self.dtype)
        PyObject_GetBuffer(row, &self.view_row, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        self.row = row
        self.copy_row = row.copy

    def __dealloc__(self):
        if self.row is not None:
            PyBuffer_Release(&self.view_row)

    # -------------------------------------------------------------------------------------------------- inputs

    cdef int view_inputs(self, X, Py_buffer *view) except -1:
        self.check_free()
        if type(X) is not _ndarray:  # a masked array, for one, would come through as plain numbers
            raise NotReadyType(f"X must be a C-contiguous array of {self.dtype}")
        try:
            PyObject_GetBuffer(X, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT)
        except (BufferError, ValueError):  # the latter of dates, for one, which have no format
            raise NotReadyType(f"X must be a C-contiguous array of {self.dtype}") from None
        if view.ndim != 2 or view.format == NULL or view.format[0] != self.code or view.format[1] != 0:
            PyBuffer_Release(view)
            raise NotReadyType(f"X must be a C-contiguous 2-D array of {self.dtype}")
        if view.shape[1] != self.n_in or view.shape[0] == 0:
            n, columns = view.shape[0], view.shape[1]
            PyBuffer_Release(view)
            raise NotReadyShape(f"X has shape ({n}, {columns}); this network takes (n, {self.n_in}) with n > 0")
        if self.n_tables:
            self.check_codes(view)
        return 0

    cdef int check_codes(self, Py_buffer *view) except -1:
        cdef int table = 0
        cdef int64_t row, n = view.shape[0]
        with nogil:
            row = nn_plan_bad_code(self.plan, view.buf, n, &table)
        if row < 0:
            return 0
        column, cardinality, _ = self.specs[0].tables[table]
        at = row * self.n_in + <int64_t>column
        value = (<float *>view.buf)[at] if self.code == b"f" else (<double *>view.buf)[at]
        PyBuffer_Release(view)
        raise BadCode("X", row, column, value, cardinality)

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

    # ------------------------------------------------------------------------------------------------- forward

    cdef int predict_into(self, const void *x, const nn_csr *csr, int64_t n, int n_layers, void *out) except -1:
        """Fill `out`. The GIL is kept for what takes some us: to let it go again and again for a moment would keep other
        threads from ever getting it, as each time they wake up too late. What takes long asks for signals meanwhile; the
        gate stays shut, so that all rows see the same weights."""
        cdef double bytes_needed = 0
        cdef nn_status status = NN_OK
        self.enter()
        if 2.0 * self.n_parameters * n < 2e6:
            status = nn_predict(self.plan, x, csr, n, n_layers, out, 0, &bytes_needed)
        else:
            with nogil:
                status = nn_predict_asking(self.plan, x, csr, n, n_layers, out, 0, _hear_signals, <void *>self,
                                           &bytes_needed)
        error, self.error = self.error, None
        self.leave()
        if error is not None:
            raise error
        if status != NN_OK:
            _refuse(status, bytes_needed, NULL, 0)
        return 0

    cdef int hear_signals(self) noexcept:
        """Have Python call the handlers of signals that wait; say whether one has raised an error, which waits then."""
        self.asking = PyThread_get_thread_ident()
        try:
            PyErr_CheckSignals()
            return 0
        except BaseException as error:
            self.error = error
            return 1
        finally:
            self.asking = 0

    cdef object outputs(self, const void *x, const nn_csr *csr, int64_t n, int n_layers):
        cdef Py_buffer out
        result = _empty((n, self.n_out if n_layers == self.n_layers else self.specs[n_layers - 1].n_out), self.dtype)
        PyObject_GetBuffer(result, &out, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        try:
            self.predict_into(x, csr, n, n_layers, out.buf)
        finally:
            PyBuffer_Release(&out)
        return result

    cdef object one_row(self, const Py_buffer *x):
        """What `outputs` gives for a single row: a copy costs less than a new array and the way to its address."""
        cdef double bytes_needed = 0
        cdef nn_status status
        self.enter()
        status = nn_predict(self.plan, x.buf, NULL, 1, self.n_layers, self.view_row.buf, 1, &bytes_needed)
        try:
            if status != NN_OK:
                _refuse(status, bytes_needed, NULL, 0)
            return self.copy_row()
        finally:
            self.leave()

    def predict(self, X):
        """Return the outputs (n, n_out) for `X` (n, n_in), a C-contiguous array of the engine's dtype."""
        cdef Py_buffer x
        cdef _Inputs inputs
        if type(X) is CSR:
            inputs = _Inputs(self, X)
            return self.outputs(NULL, inputs.csr, inputs.n, self.n_layers)
        self.view_inputs(X, &x)
        try:
            if x.shape[0] == 1 and self.n_parameters < 100_000:
                return self.one_row(&x)
            return self.outputs(x.buf, NULL, x.shape[0], self.n_layers)
        finally:
            PyBuffer_Release(&x)

    def forward_layers(self, X):
        """Return every layer's output, after its activation."""
        cdef _Inputs inputs = _Inputs(self, X)
        return [self.outputs(inputs.x, inputs.csr, inputs.n, n) for n in range(1, self.n_layers + 1)]

    # ------------------------------------------------------------------------------------------------ training

    def loss_and_gradients(self, X, y, loss, weights=None):
        """Return the mean loss over the rows and its gradients, in the order of `get_weights`."""
        cdef NativeJob job = self.job(X, y, loss=loss, batch_size=len(X), shuffle=False, seed=0, first_epoch=0,
                                      optimizer=None, slots=None, record=False, threads=None, weights=weights)
        cdef _Buffer gradient = _Buffer(self.buffer_bytes())
        cdef double bytes_needed = 0, value = 0
        cdef nn_status status
        self.enter()
        with nogil:
            status = nn_loss_and_gradient(self.plan, &job.c, &value, gradient.data, &bytes_needed)
        self.leave()
        if status == NN_STOPPED:
            job.raise_error()
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
        try:
            return step, [(costs[i].forward, costs[i].backward, costs[i].update) for i in range(self.n_layers)]
        finally:
            free(costs)

    def first_choice(self, int64_t rows, optimizer, int most):
        """Return the number of threads, `most` at most, that training begins with."""
        cdef int code = _optimizer_code(optimizer), threads
        self.check_free()
        self.enter()
        with nogil:
            threads = nn_first_choice(self.plan, rows, code, most)
        self.leave()
        return threads

    def measured_ns(self, int64_t rows, optimizer):
        """Return ns of (forward, backward, update) of each layer by one thread; changes no weight."""
        cdef double ns[3]
        cdef double bytes_needed = 0
        cdef nn_status status = NN_OK
        cdef int layer, code = _optimizer_code(optimizer)
        layers = []
        self.check_free()
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
        self.check_free()
        rates = job.optimizer._learning_rate
        if type(rates) is float:
            job.rate = rates
            job.c.rates, job.c.n_rates = &job.rate, 1
        else:
            rates = job.optimizer._rates(n_steps)
            job.c.rates, job.c.n_rates = <const double *>_address(rates, sizeof(double), False), n_steps
        job.c.updates = job.optimizer.steps
        if job.c.optimizer == NN_NADAM:
            job.c.mu_product = job.optimizer._mu_product(job.optimizer.steps)
        self.enter()
        self.writing = True
        with nogil:
            status = nn_run(self.plan, &job.c, first_step, n_steps, &bytes_needed)
            self.writing = False
            nn_gate_leave(&self.gate)
            if nn_gate_wanted(&self.gate):
                nn_gate_let_pass(&self.gate)
        # Not by the optimizer's own __setattr__: in its first line a Ctrl-C that waits would be raised, the steps uncounted.
        PyObject_GenericSetAttr(job.optimizer, "steps", job.c.updates)
        if job.c.optimizer == NN_NADAM:
            PyObject_GenericSetAttr(job.optimizer, "_product", (job.c.updates, job.c.mu_product))
        if status == NN_STOPPED:
            job.raise_error()
        if status != NN_OK:
            _refuse(status, bytes_needed, &job.c, first_step)
