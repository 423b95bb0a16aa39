# _kernel_types.pxi: the arguments of the kernels and their table, as kernels.h has them. Included by _core.pyx.

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
    ctypedef struct kernel_update "nn_update":
        int optimizer
        int nesterov
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
    ctypedef struct nn_entries:
        int64_t *begin
        int64_t *end
        int32_t *columns
        int32_t *rows
        void *values
    ctypedef struct kernel_sparse_gather "nn_sparse_gather":
        const nn_csr *x
        int64_t n
        const uint32_t *order
        int64_t first
        nn_entries to
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
        void (*idle)(const kernel_update *, int64_t, int64_t, void *, void *)
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
        int64_t (*sparse_gather)(const kernel_sparse_gather *, int64_t, int64_t)
        void (*sparse_forward)(const kernel_product *, const nn_entries *, int64_t, int64_t)
        void (*sparse_outer)(
            const kernel_outer *, const nn_entries *, int64_t, int64_t, int64_t, int64_t, int64_t, void *
        )
        void (*noise)(const kernel_dropout *, int64_t, int64_t)
        void (*regularize)(double, double, int64_t, const void *, void *)
        void (*clip)(double, double, int64_t, void *)
        double (*sum_of_squares)(int64_t, const void *)
        void (*limit_norms)(double, int64_t, int64_t, void *)
        void (*keys)(const kernel_keys *, int64_t, uint64_t *)
        int (*finite)(int64_t, const void *)
        double (*fma_peak)(int64_t)
    const kernel_table *kernel_table_named "nn_kernels_named"(const char *isa, int dtype)
