# _sparse.pxi: rows of X by what is stored of them, as the core takes them. Included by _core.pyx.

cdef class _Inputs:
    """The rows of X, for as long as this lives: an array's, or those of a `sparse.CSR`."""

    cdef Py_buffer view, columns, starts  # those of values, columns and starts where X is sparse; released if taken
    cdef nn_csr sparse
    cdef const void *x  # NULL where X is sparse
    cdef const nn_csr *csr  # or NULL
    cdef int64_t n

    def __cinit__(self, NativeEngine engine not None, X):
        if type(X) is not CSR:
            engine.view_inputs(X, &self.view)
            self.x, self.n = self.view.buf, self.view.shape[0]
            return
        engine.check_free()
        if engine.specs[0].kind != "dense":
            raise TypeError("X is sparse and the first layer is not dense")
        if X.dtype != engine.dtype:
            raise TypeError(f"X must be of {engine.dtype}")
        n, columns = X.shape
        if columns != engine.n_in or n == 0:
            raise ValueError(f"X has shape ({n}, {columns}); this network takes (n, {engine.n_in}) with n > 0")
        PyObject_GetBuffer(X.values, &self.view, PyBUF_C_CONTIGUOUS)
        PyObject_GetBuffer(X.columns, &self.columns, PyBUF_C_CONTIGUOUS)
        PyObject_GetBuffer(X.starts, &self.starts, PyBUF_C_CONTIGUOUS)
        self.sparse.values, self.sparse.columns, self.sparse.starts = self.view.buf, self.columns.buf, self.starts.buf
        self.sparse.wide = self.starts.itemsize == 8
        self.sparse.stored, self.sparse.most = self.view.shape[0], X.longest()
        if (
            self.starts.itemsize != self.columns.itemsize or self.starts.itemsize not in (4, 8)
            or self.starts.shape[0] != n + 1 or self.columns.shape[0] != self.sparse.stored
        ):
            raise ValueError("X has arrays that do not fit each other")
        self.n = n
        self.csr = &self.sparse

    def __dealloc__(self):
        PyBuffer_Release(&self.starts)
        PyBuffer_Release(&self.columns)
        PyBuffer_Release(&self.view)
