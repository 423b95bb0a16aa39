# _kernels.pxi: the kernels of one ISA, callable one by one. For the tests only: sizes are not checked.
#
# Arrays are C-contiguous and of the table's type, found by the buffer protocol; panels (kernels.h describes them) come
# as arrays of shape (panels, rows, 2 W), weights flat. tests/kernel_layout.py converts matrices from and to them.

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

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


cdef class BasicKernels:
    """The kernels of one ISA ("reference" is the naive oracle) and dtype but for those of some layers; for the tests."""

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
             double smoothing=0.0):
        cdef kernel_loss l
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
               bint nesterov=False, double beta1=0.0, double beta2=0.0, double epsilon=0.0, double correction1=1.0,
               double correction2=1.0, double correction3=1.0):
        cdef kernel_update u
        u.optimizer = optimizer
        u.nesterov = nesterov
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

    def idle(self, int optimizer, int64_t times, int64_t n, s0=None, s1=None, *, double momentum=0.0, double beta1=0.0,
             double beta2=0.0):
        cdef kernel_update u
        memset(&u, 0, sizeof(u))
        u.optimizer, u.momentum, u.beta1, u.beta2 = optimizer, momentum, beta1, beta2
        self.table.idle(&u, times, n, self.written(s0), self.written(s1))

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
