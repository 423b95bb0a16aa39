# _views.pxi: arrays of the caller's that stand beside an engine's weights. Included by _core.pyx.

cdef class NativeViews:
    """Arrays ``[W0, b0, W1, b1, ...]`` that somebody else reads and writes, and the way from them into the core and back.

    Their addresses are taken once, so that to copy a small network costs well under a microsecond.

    Parameters
    ----------
    engine : NativeEngine
        Whose shapes and dtype the arrays have.
    arrays : list of ndarray
        C-contiguous and writable, in the order of `get_weights`; the views keep them alive.
    """

    cdef NativeEngine engine
    cdef readonly list arrays
    cdef Py_buffer *views
    cdef int *blocks
    cdef int n, taken
    cdef _Buffer gradient

    def __cinit__(self, NativeEngine engine not None, arrays):
        self.engine = engine
        self.arrays = list(arrays)
        shapes = [shape for of_layer in engine.shapes for shape in of_layer]
        if engine.n_tables:
            raise ValueError("the network has tables, which have no views")
        if [array.shape for array in self.arrays] != shapes:
            raise ValueError(f"arrays have the shapes {[array.shape for array in self.arrays]}; expected {shapes}")
        if not all(type(array) is _ndarray and array.dtype == engine.dtype for array in self.arrays):
            raise TypeError(f"arrays must be plain arrays of {engine.dtype}")
        self.n = len(shapes)
        self.views = <Py_buffer *>calloc(self.n + 1, sizeof(Py_buffer))
        self.blocks = <int *>calloc(self.n + 1, sizeof(int))
        if self.views == NULL or self.blocks == NULL:
            raise MemoryError()
        for array in self.arrays:
            PyObject_GetBuffer(array, &self.views[self.taken], PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE)
            self.taken += 1
        at = 0
        for block, of_layer in enumerate(engine.shapes):
            if of_layer:
                self.blocks[at] = block
                at += 1

    def __dealloc__(self):
        for i in range(self.taken):
            PyBuffer_Release(&self.views[i])
        free(self.views)
        free(self.blocks)

    def load(self, bint training=True):
        """Copy the arrays into the engine; for training too, or, unless it is held, for predictions alone, which takes less."""
        cdef void *parameters = nn_plan_parameters(self.engine.plan)
        cdef int i
        self.engine.check_free()
        self.engine.enter()
        if training or not self.engine.held:
            for i in range(self.n // 2):
                nn_pack(self.engine.plan, self.blocks[i], self.views[2 * i].buf, self.views[2 * i + 1].buf, parameters)
            if training:
                nn_plan_refresh(self.engine.plan)
        self.engine.leave()

    cdef void unpack(self, const void *buffer) noexcept:
        cdef int i
        for i in range(self.n // 2):
            nn_unpack(self.engine.plan, self.blocks[i], buffer, self.views[2 * i].buf, self.views[2 * i + 1].buf)

    def store(self):
        """Copy the engine's weights into the arrays."""
        self.engine.check_free()
        self.engine.enter()
        self.unpack(nn_plan_parameters(self.engine.plan))
        self.engine.leave()

    def loss_and_gradient(self, NativeJob job not None):
        """Return the mean loss of a job's rows, without a penalty, and put its gradient into the arrays."""
        cdef double bytes_needed = 0, value = 0
        cdef nn_status status
        if job.engine is not self.engine:
            raise ValueError("job is another engine's")
        if self.gradient is None:
            self.gradient = _Buffer(self.engine.buffer_bytes())
        cdef void *gradient = self.gradient.data
        self.engine.check_free()
        self.engine.enter()
        with nogil:
            status = nn_loss_and_gradient(self.engine.plan, &job.c, &value, gradient, &bytes_needed)
        self.unpack(gradient)
        self.engine.leave()
        if status == NN_STOPPED:
            job.raise_error()
        if status != NN_OK:
            _refuse(status, bytes_needed, &job.c, 0)
        return value
