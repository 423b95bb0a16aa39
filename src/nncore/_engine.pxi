# _engine.pxi: the weights of a network in the core and all that is computed with them. Included by _core.pyx.

cdef class NativeEngine:
    """Weights of a dense network in the C core, and all that is computed with them.

    Parameters
    ----------
    layers : list of LayerSpec
        Or of tuples of their fields, of which the first four may stand alone.
    dtype : {"float32", "float64"}
        Type of the weights and of all arithmetic.
    """

    cdef nn_plan *plan
    cdef nn_gate gate  # for the plan's buffers: another thread waits its turn
    cdef object row, copy_row  # an output row of the engine's own, for predictions of one row
    cdef Py_buffer view_row
    cdef unsigned long asking  # the thread that has a loss of the user's computed in the middle of a step; 0 for none
    cdef bint writing  # whether a step is under way
    cdef public bint held  # by a fit: what is loaded for predictions alone is not for this engine
    cdef object error  # of a signal's handler in the middle of a prediction
    cdef list spare  # an earlier fit's snapshot, whose memory the next one takes
    cdef char code
    cdef int n_layers, n_tables  # tables: of a first layer with categories
    cdef readonly object dtype, shapes
    cdef list specs
    cdef readonly int64_t n_in, n_out, n_parameters

    def __cinit__(self, layers, str dtype):
        self.dtype = np.dtype(dtype)
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype is {dtype!r}; expected 'float32' or 'float64'")
        self.code = b"f" if dtype == "float32" else b"d"
        specs = [LayerSpec(*layer) for layer in layers]
        self.specs = specs
        self.shapes = [spec.shapes for spec in specs]
        self.n_layers = len(self.shapes)
        if self.n_layers == 0:
            raise ValueError("layers is empty; expected at least one")
        self.n_tables = len(specs[0].tables)
        cdef nn_layer *described = <nn_layer *>calloc(self.n_layers, sizeof(nn_layer))
        cdef nn_table *tables = <nn_table *>calloc(self.n_tables + 1, sizeof(nn_table))
        cdef nn_status status = NN_OK
        cdef double bytes_needed = 0
        try:
            if described == NULL or tables == NULL:
                raise MemoryError()
            for i, table in enumerate(specs[0].tables):
                tables[i].column, tables[i].cardinality, tables[i].dim = table
            described[0].tables, described[0].n_tables = tables, self.n_tables
            for i, spec in enumerate(specs):
                described[i].kind = _KINDS[spec.kind]
                described[i].n_in = spec.n_in
                described[i].n_out = spec.n_out
                described[i].activation = _ACTIVATIONS[spec.activation]
                described[i].alpha = spec.alpha
                described[i].rate = spec.rate
                described[i].epsilon = spec.epsilon
                described[i].momentum = spec.momentum
                described[i].l1 = spec.l1
                described[i].l2 = spec.l2
                described[i].decay = spec.decay
                described[i].max_norm = spec.max_norm
                if i and spec.n_in != specs[i - 1].n_out:
                    raise ValueError(
                        f"layer {i} takes {spec.n_in} inputs; the layer before has {specs[i - 1].n_out} outputs"
                    )
            self.plan = nn_plan_new(
                NN_F32 if dtype == "float32" else NN_F64, self.n_layers, described, &status, &bytes_needed
            )
        finally:
            free(tables)
            free(described)
        if self.plan == NULL:
            _refuse(status, bytes_needed, NULL, 0)
        self.n_in = specs[0].n_in
        self.n_out = specs[self.n_layers - 1].n_out
        self.n_parameters = sum(prod(shape) for shapes in self.shapes for shape in shapes)
        self.set_state(
            [np.full(spec.n_out, start, self.dtype) for spec in specs if spec.kind == "batch_norm" for start in (0, 1)]
        )
        row = _empty((1, self.n_out), self.dtype)
        PyObject_GetBuffer(row, &self.view_row, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
        self.row = row
        self.copy_row = row.copy

    def __dealloc__(self):
        if self.row is not None:
            PyBuffer_Release(&self.view_row)
        nn_plan_free(self.plan)

    cdef int check_free(self) except -1:
        if self.asking and self.asking == <unsigned long>PyThread_get_thread_ident():
            raise RuntimeError(_IN_A_STEP if self.writing else _IN_A_PREDICTION)
        return 0

    # Where the caller's own thread may be in such a step `check_free` comes first: it would wait for itself.
    cdef void enter(self) noexcept:
        if not nn_gate_try(&self.gate):
            with nogil:
                nn_gate_wait(&self.gate)

    cdef void leave(self) noexcept:
        nn_gate_leave(&self.gate)

    def after_fork(self):
        """In the child: open the gate that a thread of the parent held; say whether that was in the middle of a step."""
        if self.asking and self.asking == <unsigned long>PyThread_get_thread_ident():
            return False  # this thread itself has forked, and goes on with its step
        torn, self.writing, self.asking = self.writing, False, 0
        nn_gate_reset(&self.gate)
        return torn

    # ------------------------------------------------------------------------------------------------- buffers

    cdef size_t buffer_bytes(self):
        return <size_t>nn_plan_padded(self.plan) * <size_t>nn_plan_element_size(self.plan)

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

    cdef int pack(self, arrays, void *buffer) except -1:
        cdef Py_buffer w, b
        cdef int block
        arrays = [np.require(array, self.dtype, ("C", "A")) for array in arrays]
        shapes = [shape for of_layer in self.shapes for shape in of_layer]
        if [array.shape for array in arrays] != shapes:
            raise ValueError(f"arrays have the shapes {[array.shape for array in arrays]}; expected {shapes}")
        for block, rest, last in self.blocks(arrays):
            PyObject_GetBuffer(rest, &w, PyBUF_C_CONTIGUOUS)
            PyObject_GetBuffer(last, &b, PyBUF_C_CONTIGUOUS)
            nn_pack(self.plan, block, w.buf, b.buf, buffer)
            PyBuffer_Release(&b)
            PyBuffer_Release(&w)
        return 0

    cdef list unpack(self, const void *buffer):
        cdef Py_buffer w, b
        cdef int block
        arrays = [_empty(shape, self.dtype) for of_layer in self.shapes for shape in of_layer]
        for block, rest, last in self.blocks(arrays):
            PyObject_GetBuffer(rest, &w, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
            PyObject_GetBuffer(last, &b, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
            nn_unpack(self.plan, block, buffer, w.buf, b.buf)
            PyBuffer_Release(&b)
            PyBuffer_Release(&w)
        return arrays

    cdef list blocks(self, arrays):
        """(block of the plan, its rows but the last, its last row) of arrays in the order of `get_weights`."""
        found = []
        for t, table in enumerate(arrays[: self.n_tables]):
            last = len(table) - 1
            found.append((self.n_layers + t, table[:last], table[last]))
        at = self.n_tables
        for layer, shapes in enumerate(self.shapes):
            if shapes and not (layer == 0 and self.n_tables):
                found.append((layer, arrays[at], arrays[at + 1]))
                at += 2
        return found

    # ------------------------------------------------------------------------------------------------- state

    cdef size_t state_bytes(self):
        return <size_t>nn_plan_n_state(self.plan) * <size_t>nn_plan_element_size(self.plan)

    cdef list state_parts(self):
        """(offset, length) in bytes of each running mean and variance, in the order of `get_state`."""
        size = nn_plan_element_size(self.plan)
        parts = []
        for layer, spec in enumerate(self.specs):
            offset = nn_plan_state_offset(self.plan, layer)
            if offset >= 0:
                later = [nn_plan_state_offset(self.plan, k) for k in range(layer + 1, self.n_layers)]
                end = next((k for k in later if k >= 0), nn_plan_n_state(self.plan))
                half = (end - offset) // 2
                parts += [(offset * size, spec.n_out * size), ((offset + half) * size, spec.n_out * size)]
        return parts

    def get_state(self):
        """Return copies of the running means and variances, ``[mean, variance, ...]``."""
        cdef _Buffer taken = _Buffer(self.state_bytes())
        cdef char *state = <char *>taken.data
        cdef Py_ssize_t offset, length
        self.check_free()
        self.enter()
        memcpy(taken.data, nn_plan_state(self.plan), taken.bytes)
        self.leave()
        return [
            np.frombuffer(bytearray(<bytes>state[offset : offset + length]), self.dtype)
            for offset, length in self.state_parts()
        ]

    def set_state(self, arrays, bint training=True):
        """Copy in what `get_state` gives; for training too, or, unless the engine is held, for predictions alone."""
        cdef _Buffer taken = _Buffer(self.state_bytes())  # as in `set_weights`
        cdef char *state = <char *>taken.data
        cdef Py_ssize_t offset, length
        cdef bytes content
        self.check_free()
        for (offset, length), array in zip(self.state_parts(), arrays, strict=True):
            content = np.ascontiguousarray(array, self.dtype).tobytes()
            if len(content) != length:
                raise ValueError(f"a running statistic has {len(content)} bytes; expected {length}")
            memcpy(state + offset, <const char *>content, length)
        self.enter()
        if training or not self.held:
            memcpy(nn_plan_state(self.plan), taken.data, taken.bytes)
        self.leave()

    # ------------------------------------------------------------------------------------------------- weights

    def set_weights(self, arrays):
        """Copy in ``[W0, b0, W1, b1, ...]``."""
        # No Python object is made behind the gate: a finaliser that then ran might want to predict.
        cdef _Buffer taken = _Buffer(self.buffer_bytes())
        self.check_free()
        self.pack(arrays, taken.data)
        self.enter()
        memcpy(nn_plan_parameters(self.plan), taken.data, self.buffer_bytes())
        nn_plan_refresh(self.plan)
        self.leave()

    def get_weights(self):
        """Return copies ``[W0, b0, W1, b1, ...]``."""
        cdef _Buffer taken = _Buffer(self.buffer_bytes())
        self.check_free()
        self.enter()
        memcpy(taken.data, nn_plan_parameters(self.plan), self.buffer_bytes())
        self.leave()
        return self.unpack(taken.data)

    def finite(self, NativeSlots slots=None):
        """Say whether every weight and bias is finite, and all that the optimizer keeps."""
        if not nn_plan_finite(self.plan, nn_plan_parameters(self.plan)):
            return False
        if nn_plan_n_state(self.plan) and not all(np.isfinite(array).all() for array in self.get_state()):
            return False
        return slots is None or all(nn_plan_finite(self.plan, (<_Buffer>b).data) for b in slots.buffers)

    def new_slots(self, int n):
        """Return `n` zeroed copies of the parameters' shapes: an optimizer's memory."""
        return NativeSlots(self, n)

    def snapshot(self, NativeSlots slots, into=None):
        """Copy weights and slots aside, into an earlier snapshot's memory where one is given."""
        cdef Py_ssize_t i, n = 2 + (0 if slots is None else len(slots.buffers))
        if into is None:
            into = self.spare if self.spare is not None and len(self.spare) >= n else None
        if into is None:
            into = [_Buffer(self.state_bytes()), *(_Buffer(self.buffer_bytes()) for _ in range(n - 1))]
        self.spare = into
        memcpy((<_Buffer>into[0]).data, nn_plan_state(self.plan), self.state_bytes())
        memcpy((<_Buffer>into[1]).data, nn_plan_parameters(self.plan), self.buffer_bytes())
        for i in range(2, n):
            memcpy((<_Buffer>into[i]).data, (<_Buffer>slots.buffers[i - 2]).data, self.buffer_bytes())
        return into

    def restore(self, list saved, NativeSlots slots):
        """Bring weights, running statistics and slots back to what the snapshot saw."""
        buffers = [] if slots is None else slots.buffers
        if len(saved) <= len(buffers) + 1:
            raise ValueError(f"the snapshot holds {len(saved)} buffers; expected {len(buffers) + 2}")
        self.check_free()
        self.enter()
        memcpy(nn_plan_state(self.plan), (<_Buffer>saved[0]).data, self.state_bytes())
        memcpy(nn_plan_parameters(self.plan), (<_Buffer>saved[1]).data, self.buffer_bytes())
        for i, buffer in enumerate(buffers):
            memcpy((<_Buffer>buffer).data, (<_Buffer>saved[i + 2]).data, self.buffer_bytes())
        nn_plan_forget(self.plan)
        nn_plan_refresh(self.plan)
        self.leave()

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
