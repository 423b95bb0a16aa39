# _perceptron.pxi: epochs of one binary perceptron by scikit-learn's rule. Included by _core.pyx.

cdef class PerceptronRun:
    """Trains a weight vector in place, epoch by epoch; dense rows, or CSR's (values, columns, starts)."""

    cdef nn_perceptron c
    cdef nn_dtype dtype
    cdef list kept  # what C has the addresses of

    def __cinit__(self, rows, y, weights, w, *, double intercept, double penalty_alpha, double l1_ratio, bint penalised,
                  double rate, bint fit_intercept, bint shuffle, uint32_t seed, double intercept_decay, held=None):
        sparse = type(rows) is tuple
        values = rows[0] if sparse else rows
        n, n_features = len(y), len(w)
        if n > 2**31 - 1:  # the order of the rows is of int32
            raise ValueError(f"X has {n} rows; the perceptron takes {2**31 - 1} at most")
        if values.dtype not in ("float32", "float64") or w.dtype != values.dtype:
            raise TypeError(f"rows and w are of {values.dtype} and {w.dtype}; expected float32 or float64, the same")
        self.dtype = NN_F32 if values.dtype == "float32" else NN_F64
        order, paid = np.arange(n, dtype=np.int32), np.zeros(n_features, w.dtype)
        size = w.dtype.itemsize
        if sparse:
            columns, starts = rows[1], rows[2]
            if (len(starts) != n + 1 or starts.dtype != np.int64 or columns.dtype != np.int32 or starts[0] != 0
                    or starts[n] > min(len(values), len(columns)) or (np.diff(starts) < 0).any()
                    or (len(columns) and not 0 <= columns.min() <= columns.max() < n_features)):
                raise ValueError("rows are no CSR matrix of int32 columns and int64 starts")
            self.c.columns = <const int32_t *>_address(columns, 4, False)
            self.c.starts = <const int64_t *>_address(starts, 8, False)
            self.kept = [values, columns, starts]
        else:
            if values.shape != (n, n_features):
                raise ValueError(f"rows have shape {values.shape}; expected ({n}, {n_features})")
            self.kept = [values]
        if len(weights) != n or (held is not None and len(held) != n) or y.dtype != float or weights.dtype != float:
            raise ValueError(f"y, weights and held must be {n} numbers of float64, and bytes")
        self.kept += [y, weights, held, w, order, paid]
        self.c.values = _address(values, size, False)
        self.c.n, self.c.n_features = n, n_features
        self.c.y = <const double *>_address(y, 8, False)
        self.c.weights = <const double *>_address(weights, 8, False)
        self.c.held = <const uint8_t *>_address(held, 1, False)
        self.c.w = _address(w, size, True)
        self.c.paid = _address(paid, size, True)
        self.c.order = <int32_t *>_address(order, 4, True)
        self.c.intercept, self.c.intercept_decay, self.c.fit_intercept = intercept, intercept_decay, fit_intercept
        self.c.alpha, self.c.l1_ratio, self.c.penalty, self.c.rate = penalty_alpha, l1_ratio, penalised, rate
        self.c.shuffle, self.c.seed, self.c.scale = shuffle, seed, 1.0
        self.c.squares, self.c.sizes = float(w @ w), float(np.abs(w).sum())

    def epoch(self):
        """Do an epoch; return the sum of its rows' objectives."""
        cdef double objective
        with nogil:
            objective = nn_perceptron_epoch(&self.c, self.dtype)
        return objective

    @property
    def intercept(self):
        """The intercept now."""
        return self.c.intercept

    @property
    def loss(self):
        """The sum of the last epoch's losses, without the penalty."""
        return self.c.loss

    @property
    def scale(self):
        """What the weights are to be multiplied by in the end."""
        return self.c.scale
