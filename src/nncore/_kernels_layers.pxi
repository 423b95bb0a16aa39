# _kernels_layers.pxi: the kernels of normalisation, dropout, noise, tables and sparse inputs, callable one by one; see
# _kernels.pxi.

cdef class Kernels(BasicKernels):
    """The kernels of one ISA ("reference" is the naive oracle) and dtype; for the tests."""

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

    cdef nn_entries entries(self, begin, end, columns, rows, values) except *:
        cdef nn_entries e
        e.begin, e.end = <int64_t *>_address(begin, 8, True), <int64_t *>_address(end, 8, True)
        e.columns, e.rows = <int32_t *>_address(columns, 4, True), <int32_t *>_address(rows, 4, True)
        e.values = self.written(values)
        return e

    def sparse_gather(self, starts, columns, values, begin, end, to_columns, to_rows, to_values, int64_t n, int64_t r0,
                      int64_t r1, order=None, int64_t first=0):
        """Rows of (starts, columns, values) into the entries that `begin` and `end` say."""
        cdef nn_csr x
        cdef kernel_sparse_gather g
        x.wide = starts.itemsize == 8
        x.starts, x.columns = _address(starts, starts.itemsize, False), _address(columns, starts.itemsize, False)
        x.values, x.stored, x.most = self.reals(values), values.shape[0], values.shape[0]
        g.x, g.n, g.first = &x, n, first
        g.order = <const uint32_t *>_address(order, 4, False)
        g.to = self.entries(begin, end, to_columns, to_rows, to_values)
        return self.table.sparse_gather(&g, r0, r1)

    def sparse_forward(self, begin, end, columns, rows, values, w, out, int64_t k, int64_t n, int64_t r0, int64_t r1,
                       int activation=0, double alpha=0.1, slopes=None):
        cdef nn_entries e = self.entries(begin, end, columns, rows, values)
        cdef kernel_product p
        p.a, p.a_rows, p.k = NULL, 0, k
        p.w, p.w_rows, p.n = self.reals(w), k + 1, n
        p.out, p.out_rows = self.written(out), out.shape[1]
        p.outputs, p.slopes = NULL, self.written(slopes)
        p.activation, p.alpha, p.width = activation, alpha, self.width
        self.table.sparse_forward(&p, &e, r0, r1)

    def sparse_outer(self, columns, rows, values, d, dst, int64_t k, int64_t n, int64_t e0, int64_t e1, int64_t panel,
                     int64_t k0, int64_t k1):
        cdef nn_entries e = self.entries(None, None, columns, rows, values)
        cdef kernel_outer o
        o.a, o.a_rows, o.k = NULL, 0, k
        o.d, o.d_rows, o.n = self.reals(d), d.shape[1], n
        o.r0, o.r1, o.width = 0, d.shape[1], self.width
        self.table.sparse_outer(&o, &e, e0, e1, panel, k0, k1, self.written(dst))
