# _kernels.pxi: the kernels of one ISA, callable one by one. For the tests only: sizes are not checked.
#
# Arrays are C-contiguous and of the table's type, found by the buffer protocol; panels (kernels.h describes them) come
# as arrays of shape (panels, rows, 2 W), weights flat. tests/kernel_layout.py converts matrices from and to them.

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from "kernels.h" nogil:
    ctypedef struct kernel_gather "nn_gather":
        const void *x
        int64_t stride
        int64_t n
        const uint32_t *order
        int64_t first
        void *panels
        int64_t panel_rows
        int width
    ctypedef struct kernel_scatter "nn_scatter":
        const void *panels
        int64_t panel_rows
        int64_t n
        void *y
        int64_t stride
        const uint32_t *order
        int64_t first
        int width
    ctypedef struct kernel_product "nn_product":
        const void *a
        int64_t a_rows
        int64_t k
        const void *w
        int64_t w_rows
        int64_t n
        void *out
        int64_t out_rows
        const void *outputs
        void *slopes
        int activation
        double alpha
        int width
    ctypedef struct kernel_outer "nn_outer":
        const void *a
        int64_t a_rows
        int64_t k
        const void *d
        int64_t d_rows
        int64_t n
        int64_t r0
        int64_t r1
        int width
    ctypedef struct kernel_transpose "nn_transpose":
        const void *w
        int64_t k
        int64_t n
        void *wt
        int width
    ctypedef struct kernel_loss "nn_loss_args":
        int loss
        int activation
        double alpha
        void *outputs
        void *delta
        int64_t panel_rows
        int64_t n
        const int32_t *labels
        const uint32_t *order
        int64_t first
        double scale
        double *row_loss
        int width
        const double *weights
        double parameter
        double smoothing
        const void *slopes
        double least
        double most
    ctypedef struct kernel_update "nn_update":
        int optimizer
        int nesterov
        int rate_within
        double rate
        double decay
        double momentum
        double beta1
        double beta2
        double epsilon
        double correction1
        double correction2
        double correction3
    ctypedef struct kernel_columns "nn_columns":
        const void *x
        int64_t x_rows
        void *out
        int64_t out_rows
        int64_t n
        const int64_t *copied
        int64_t n_copied
        int width
    ctypedef struct kernel_embedding "nn_embedding":
        const void *x
        int64_t x_rows
        int64_t column
        const void *w
        int64_t codes
        int64_t n
        void *out
        int64_t out_rows
        int64_t offset
        int width
    ctypedef struct kernel_keys "nn_keys":
        uint64_t seed
        uint64_t stream
        uint32_t purpose
        const uint32_t *indices
        uint64_t first
    ctypedef struct kernel_norm "nn_norm":
        const void *x
        int64_t x_rows
        void *out
        int64_t out_rows
        const void *d
        int64_t d_rows
        int64_t n
        const void *weights
        const void *mean
        const void *variance
        const void *sums
        double share
        void *row_stats
        double epsilon
        int activation
        double alpha
        void *slopes
        const void *kept
        int width
    ctypedef struct kernel_dropout "nn_dropout":
        const void *x
        int64_t x_rows
        void *out
        int64_t out_rows
        int64_t n
        kernel_keys keys
        int64_t first
        int64_t stride
        uint32_t threshold
        double scale
        int activation
        double alpha
        const void *outputs
        int64_t outputs_rows
        int width
    ctypedef struct kernel_table "nn_kernels":
        const char *isa
        int width
        int element_size
        int64_t (*gather)(const kernel_gather *, int64_t, int64_t)
        void (*scatter)(const kernel_scatter *, int64_t, int64_t)
        void (*forward)(const kernel_product *, int64_t, int64_t)
        void (*backward)(const kernel_product *, int64_t, int64_t)
        void (*outer)(const kernel_outer *, int64_t, int64_t, int64_t, void *)
        void (*sum_parts)(int64_t, int64_t, int64_t, const void *, void *)
        void (*transpose)(const kernel_transpose *, int64_t, int64_t, int64_t)
        void (*loss)(const kernel_loss *, int64_t, int64_t)
        void (*softmax)(void *, int64_t, int64_t, int64_t, int64_t, int)
        void (*update)(const kernel_update *, int64_t, const void *, void *, void *, void *)
        void (*activate)(int, double, int64_t, int64_t, int64_t, void *)
        void (*activate_keeping)(int, double, int64_t, int64_t, int64_t, void *, void *)
        void (*scale_by_derivative)(int, double, int64_t, int64_t, int64_t, const void *, void *)
        void (*elementary)(int, int64_t, void *)
        void (*moments)(const kernel_norm *, int64_t, int64_t, void *, void *)
        void (*merge_moments)(int64_t, int64_t, int64_t, const void *, void *, void *, int)
        void (*batch_norm)(const kernel_norm *, int64_t, int64_t)
        void (*norm_sums)(const kernel_norm *, int64_t, int64_t, void *)
        void (*batch_norm_backward)(const kernel_norm *, int64_t, int64_t)
        void (*layer_norm)(const kernel_norm *, int64_t, int64_t)
        void (*layer_norm_backward)(const kernel_norm *, int64_t, int64_t)
        void (*layer_norm_gradient)(const kernel_norm *, int64_t, int64_t, int64_t, void *)
        void (*dropout)(const kernel_dropout *, int64_t, int64_t)
        void (*columns)(const kernel_columns *, int64_t, int64_t)
        void (*embedding)(const kernel_embedding *, int64_t, int64_t)
        void (*embedding_gradient)(const kernel_embedding *, int64_t, int64_t, int64_t, int64_t, void *)
        void (*noise)(const kernel_dropout *, int64_t, int64_t)
        void (*regularize)(double, double, int64_t, const void *, void *)
        void (*clip)(double, double, int64_t, void *)
        double (*sum_of_squares)(int64_t, const void *)
        void (*limit_norms)(double, int64_t, int64_t, void *)
        void (*keys)(const kernel_keys *, int64_t, uint64_t *)
        int (*finite)(int64_t, const void *)
        double (*fma_peak)(int64_t)
    const kernel_table *kernel_table_named "nn_kernels_named"(const char *isa, int dtype)


cdef extern from "tuner.h" nogil:
    enum:
        NN_MOST_CHOICES
    ctypedef struct nn_choice:
        int threads
        double predicted
        double measured
    ctypedef struct nn_tuner:
        int n
        int best
        int upwards
        nn_choice choices[NN_MOST_CHOICES]
    int nn_tuner_pick(nn_tuner *t, int alone)
    int64_t nn_tuner_steps(const nn_tuner *t)
    void nn_tuner_took(nn_tuner *t, double ns, int64_t steps)


cdef class Tuner:
    """The core's choice of threads (tuner.c), from predicted ns a step by number of threads; for the tests."""

    cdef nn_tuner c

    def __init__(self, predicted: dict[int, float]) -> None:
        self.c.n = len(predicted)
        for i, (threads, ns) in enumerate(predicted.items()):
            self.c.choices[i].threads = threads
            self.c.choices[i].predicted = ns
            if ns < self.c.choices[self.c.best].predicted:
                self.c.best = i
        self.c.upwards = self.c.best < self.c.n - 1

    def pick(self, bint alone=False):
        return nn_tuner_pick(&self.c, alone)

    def steps(self):
        return nn_tuner_steps(&self.c)

    def took(self, double ns):
        nn_tuner_took(&self.c, ns, nn_tuner_steps(&self.c))


cdef void *_address(object array, Py_ssize_t itemsize, bint writable) except? NULL:
    """Where a contiguous array's numbers lie, NULL for None; the caller keeps the array alive."""
    cdef Py_buffer view
    cdef void *address
    if array is None:
        return NULL
    PyObject_GetBuffer(array, &view, PyBUF_C_CONTIGUOUS | (PyBUF_WRITABLE if writable else 0))
    address = view.buf
    size = view.itemsize
    PyBuffer_Release(&view)
    if size != itemsize:
        raise TypeError(f"the array's items have {size} bytes; this kernel takes {itemsize}")
    return address


cdef class Kernels:
    """The kernels of one ISA ("reference" is the naive oracle) and dtype; for the tests."""

    cdef const kernel_table *table
    cdef readonly str isa
    cdef readonly str dtype
    cdef readonly int width

    def __init__(self, isa: str, dtype: str, width: int | None = None) -> None:
        if dtype not in ("float32", "float64"):
            raise ValueError(f"dtype is {dtype!r}; expected 'float32' or 'float64'")
        name = isa.encode()
        self.table = kernel_table_named(name, 0 if dtype == "float32" else 1)
        if self.table is NULL:
            raise ValueError(f"isa is {isa!r}, which this CPU or build lacks")
        if self.table.width == 0 and width is None:
            raise ValueError(f"{isa} has no width of its own; give one")
        if self.table.width != 0 and width is not None and width != self.table.width:
            raise ValueError(f"width is {width}; that of {isa} is {self.table.width}")
        self.isa = isa
        self.dtype = dtype
        self.width = self.table.width if width is None else width

    cdef const void *reals(self, object array) except? NULL:
        return _address(array, self.table.element_size, False)

    cdef void *written(self, object array) except? NULL:
        return _address(array, self.table.element_size, True)

    def gather(self, x, panels, int64_t n, int64_t r0, int64_t r1, order=None, int64_t first=0):
        cdef kernel_gather g
        g.x = self.reals(x)
        g.stride = x.shape[1]
        g.n = n
        g.order = <const uint32_t *>_address(order, 4, False)
        g.first = first
        g.panels = self.written(panels)
        g.panel_rows = panels.shape[1]
        g.width = self.width
        return self.table.gather(&g, r0, r1)

    def scatter(self, panels, y, int64_t n, int64_t r0, int64_t r1, order=None, int64_t first=0):
        cdef kernel_scatter s
        s.panels = self.reals(panels)
        s.panel_rows = panels.shape[1]
        s.n = n
        s.y = self.written(y)
        s.stride = y.shape[1]
        s.order = <const uint32_t *>_address(order, 4, False)
        s.first = first
        s.width = self.width
        self.table.scatter(&s, r0, r1)

    def forward(self, a, w, out, int64_t k, int64_t n, int64_t r0, int64_t r1, int activation=0, double alpha=0.1,
                slopes=None):
        cdef kernel_product p
        p.a = self.reals(a)
        p.a_rows = a.shape[1]
        p.k = k
        p.w = self.reals(w)
        p.w_rows = k + 1
        p.n = n
        p.out = self.written(out)
        p.out_rows = out.shape[1]
        p.outputs = NULL
        p.slopes = self.written(slopes)
        p.activation = activation
        p.alpha = alpha
        p.width = self.width
        self.table.forward(&p, r0, r1)

    def backward(self, d, wt, outputs, out, int64_t k, int64_t n, int64_t r0, int64_t r1, int activation=0, double alpha=0.1):
        cdef kernel_product p
        p.a = self.reals(d)
        p.a_rows = d.shape[1]
        p.k = k
        p.w = self.reals(wt)
        p.w_rows = k
        p.n = n
        p.out = self.written(out)
        p.out_rows = out.shape[1]
        p.outputs = self.reals(outputs)
        p.slopes = NULL
        p.activation = activation
        p.alpha = alpha
        p.width = self.width
        self.table.backward(&p, r0, r1)

    def outer(self, a, d, dst, int64_t k, int64_t n, int64_t r0, int64_t r1, int64_t panel, int64_t k0, int64_t k1):
        cdef kernel_outer o
        o.a = self.reals(a)
        o.a_rows = a.shape[1]
        o.k = k
        o.d = self.reals(d)
        o.d_rows = d.shape[1]
        o.n = n
        o.r0 = r0
        o.r1 = r1
        o.width = self.width
        self.table.outer(&o, panel, k0, k1, self.written(dst))

    def sum_parts(self, src, dst, int64_t n):
        self.table.sum_parts(n, src.shape[0], src.shape[1], self.reals(src), self.written(dst))

    def transpose(self, w, wt, int64_t k, int64_t n, int64_t panel, int64_t k0, int64_t k1):
        cdef kernel_transpose t
        t.w = self.reals(w)
        t.k = k
        t.n = n
        t.wt = self.written(wt)
        t.width = self.width
        self.table.transpose(&t, panel, k0, k1)

    def loss(self, outputs, delta, row_loss, int64_t n, int64_t r0, int64_t r1, int loss, int activation, double scale,
             double alpha=0.1, labels=None, order=None, int64_t first=0, slopes=None, weights=None, double parameter=1.0,
             double smoothing=0.0, double least=0.0, double most=0.0):
        cdef kernel_loss l
        l.least = least
        l.most = most
        l.slopes = self.reals(slopes)
        l.weights = <const double *>_address(weights, 8, False)
        l.parameter = parameter
        l.smoothing = smoothing
        l.loss = loss
        l.activation = activation
        l.alpha = alpha
        l.outputs = self.written(outputs)
        l.delta = self.written(delta)
        l.panel_rows = outputs.shape[1]
        l.n = n
        l.labels = <const int32_t *>_address(labels, 4, False)
        l.order = <const uint32_t *>_address(order, 4, False)
        l.first = first
        l.scale = scale
        l.row_loss = <double *>_address(row_loss, 8, True)
        l.width = self.width
        self.table.loss(&l, r0, r1)

    def softmax(self, panels, int64_t n, int64_t r0, int64_t r1):
        self.table.softmax(self.written(panels), panels.shape[1], n, r0, r1, self.width)

    def update(self, int optimizer, g, p, s0=None, s1=None, *, double rate, double decay=0.0, double momentum=0.0,
               bint nesterov=False, bint rate_within=False, double beta1=0.0, double beta2=0.0, double epsilon=0.0, double correction1=1.0,
               double correction2=1.0, double correction3=1.0):
        cdef kernel_update u
        u.optimizer = optimizer
        u.nesterov = nesterov
        u.rate_within = rate_within
        u.rate = rate
        u.decay = decay
        u.momentum = momentum
        u.beta1 = beta1
        u.beta2 = beta2
        u.epsilon = epsilon
        u.correction1 = correction1
        u.correction2 = correction2
        u.correction3 = correction3
        self.table.update(&u, p.shape[0], self.reals(g), self.written(p), self.written(s0), self.written(s1))

    def activate(self, int activation, z, double alpha=0.1, n=None):
        """`z` flat, or rows of which the first `n` numbers count."""
        rows, stride = (1, z.shape[0]) if z.ndim == 1 else z.shape
        self.table.activate(activation, alpha, rows, stride if n is None else n, stride, self.written(z))

    def activate_keeping(self, int activation, z, slopes, n=None):
        rows, stride = (1, z.shape[0]) if z.ndim == 1 else z.shape
        self.table.activate_keeping(
            activation, 0.0, rows, stride if n is None else n, stride, self.written(z), self.written(slopes)
        )

    def scale_by_derivative(self, int activation, a, d, double alpha=0.1, n=None):
        rows, stride = (1, d.shape[0]) if d.ndim == 1 else d.shape
        self.table.scale_by_derivative(
            activation, alpha, rows, stride if n is None else n, stride, self.reals(a), self.written(d)
        )

    def elementary(self, int function, x):
        self.table.elementary(function, x.shape[0], self.written(x))

    def finite(self, x):
        return bool(self.table.finite(x.shape[0], self.reals(x)))

    cdef kernel_norm norm(self, x, out, d, weights, mean, variance, sums, row_stats, int64_t n, double share, double epsilon,
                          int activation, double alpha) except *:
        cdef kernel_norm a
        a.x = self.reals(x)
        a.x_rows = x.shape[1]
        a.out = self.written(out)
        a.out_rows = 0 if out is None else out.shape[1]
        a.d = self.reals(d)
        a.d_rows = 0 if d is None else d.shape[1]
        a.n = n
        a.weights = self.reals(weights)
        a.mean = self.reals(mean)
        a.variance = self.reals(variance)
        a.sums = self.reals(sums)
        a.share = share
        a.row_stats = self.written(row_stats)
        a.epsilon = epsilon
        a.activation = activation
        a.alpha = alpha
        a.slopes = NULL
        a.kept = a.x
        a.width = self.width
        return a

    def normalize(self, str kernel, x, int64_t n, int64_t r0, int64_t r1, out=None, d=None, weights=None, mean=None,
                  variance=None, sums=None, row_stats=None, double share=0, double epsilon=1e-5, int activation=0,
                  double alpha=0.1, int64_t panel=0):
        """One of the kernels of norm.c by its name; arrays that it does not use are left out."""
        cdef kernel_norm a = self.norm(
            x, out, d, weights, mean, variance, sums, row_stats, n, share, epsilon, activation, alpha
        )
        if kernel == "moments":
            self.table.moments(&a, r0, r1, self.written(mean), self.written(variance))
        elif kernel == "batch_norm":
            self.table.batch_norm(&a, r0, r1)
        elif kernel == "norm_sums":
            self.table.norm_sums(&a, r0, r1, self.written(sums))
        elif kernel == "batch_norm_backward":
            self.table.batch_norm_backward(&a, r0, r1)
        elif kernel == "layer_norm":
            self.table.layer_norm(&a, r0, r1)
        elif kernel == "layer_norm_backward":
            self.table.layer_norm_backward(&a, r0, r1)
        else:
            self.table.layer_norm_gradient(&a, panel, r0, r1, self.written(sums))

    def merge_moments(self, int64_t n, int64_t rows, int64_t part_rows, parts, mean, variance):
        self.table.merge_moments(
            n, rows, part_rows, self.reals(parts), self.written(mean), self.written(variance), self.width
        )

    def dropout(self, x, out, int64_t n, int64_t r0, int64_t r1, double rate, seed, stream, uint32_t purpose,
                int64_t first=0, outputs=None, int activation=0, double alpha=0.1):
        cdef kernel_dropout a
        a.x = self.reals(x)
        a.x_rows = x.shape[1]
        a.out = self.written(out)
        a.out_rows = out.shape[1]
        a.n = n
        a.keys.seed = seed
        a.keys.stream = stream
        a.keys.purpose = purpose
        a.keys.indices = NULL
        a.first = first
        a.stride = (n + 15) // 16 * 16
        a.threshold = <uint32_t>(rate * 4294967296.0)
        a.scale = 1 / (1 - rate)
        a.activation = activation
        a.alpha = alpha
        a.outputs = self.reals(outputs)
        a.outputs_rows = 0 if outputs is None else outputs.shape[1]
        a.width = self.width
        self.table.dropout(&a, r0, r1)

    def columns(self, x, out, int64_t n, copied, int64_t r0, int64_t r1):
        cdef kernel_columns a
        a.x, a.x_rows = self.reals(x), x.shape[1]
        a.out, a.out_rows = self.written(out), out.shape[1]
        a.n = n
        a.copied, a.n_copied = <const int64_t *>_address(copied, 8, False), copied.shape[0]
        a.width = self.width
        self.table.columns(&a, r0, r1)

    def embedding(self, x, int64_t column, w, int64_t codes, int64_t n, out, int64_t offset, int64_t r0, int64_t r1,
                  panel=None, dst=None):
        """Forward over rows [r0, r1); or, where a panel is given, its gradient over r1 rows, codes k0.. of `dst`'s rows."""
        cdef kernel_embedding a
        a.x, a.x_rows, a.column = self.reals(x), x.shape[1], column
        a.w, a.codes, a.n = self.reals(w), codes, n
        a.out, a.out_rows, a.offset = self.written(out), out.shape[1], offset
        a.width = self.width
        if panel is None:
            self.table.embedding(&a, r0, r1)
        else:
            self.table.embedding_gradient(&a, r1, panel, r0, r0 + dst.shape[0], self.written(dst))

    def noise(self, x, out, int64_t n, int64_t r0, int64_t r1, double stddev, seed, stream, uint32_t purpose,
              int64_t first=0, outputs=None, int activation=0, double alpha=0.1):
        cdef kernel_dropout a
        a.x = self.reals(x)
        a.x_rows = x.shape[1]
        a.out = self.written(out)
        a.out_rows = out.shape[1]
        a.n = n
        a.keys.seed = seed
        a.keys.stream = stream
        a.keys.purpose = purpose
        a.keys.indices = NULL
        a.first = first
        a.stride = (n + 31) // 32 * 32
        a.scale = stddev
        a.activation = activation
        a.alpha = alpha
        a.outputs = self.reals(outputs)
        a.outputs_rows = 0 if outputs is None else outputs.shape[1]
        a.width = self.width
        self.table.noise(&a, r0, r1)

    def regularize(self, double l1, double l2, p, g):
        self.table.regularize(l1, l2, p.shape[0], self.reals(p), self.written(g))

    def clip(self, double factor, double limit, g):
        self.table.clip(factor, limit, g.shape[0], self.written(g))

    def sum_of_squares(self, g):
        return self.table.sum_of_squares(g.shape[0], self.reals(g))

    def limit_norms(self, double limit, w):
        self.table.limit_norms(limit, w.shape[0], w.shape[1], self.written(w))

    def keys(self, seed, stream, uint32_t purpose, out, indices=None, first=0):
        cdef kernel_keys k
        k.seed = seed
        k.stream = stream
        k.purpose = purpose
        k.indices = <const uint32_t *>_address(indices, 4, False)
        k.first = first
        self.table.keys(&k, out.shape[0], <uint64_t *>_address(out, 8, True))

    def fma_peak(self, int64_t rounds):
        return self.table.fma_peak(rounds)
