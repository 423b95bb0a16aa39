# _parameters.pxi: the weights of a network in the core and ways to them, one thread at a time. Included by _core.pyx.

cdef class NativeParameters:
    """What an engine holds in the C core: a plan with its weights and running statistics; the base of `NativeEngine`.

    Parameters
    ----------
    layers : list of LayerSpec
        Or of tuples of their fields, of which the first four may stand alone.
    dtype : {"float32", "float64"}
        Type of the weights and of all arithmetic.
    """

    cdef nn_plan *plan
    cdef nn_gate gate  # for the plan's buffers: another thread waits its turn
    cdef unsigned long asking  # the thread that has a loss of the user's computed in the middle of a step; 0 for none
    cdef bint writing  # whether a step is under way
    cdef public bint held  # whether a fit has it: then nothing is loaded for predictions alone
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

    def __dealloc__(self):
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
