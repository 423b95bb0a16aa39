/* sparse.h: batches of sparse rows; see sparse.c. */
#ifndef NN_SPARSE_H
#define NN_SPARSE_H

#include "plan.h"

/* Entries that any `rows` rows have at most */
int64_t nn_most_entries(const nn_csr *x, int64_t rows);
/* Bytes of so many rows and entries, a multiple of 64; then where they lie in memory that has them. */
size_t nn_entries_bytes(const nn_plan *p, int64_t rows, int64_t entries);
void nn_lay_entries(const nn_plan *p, nn_entries *e, char *memory, int64_t rows, int64_t entries);
/* Where the entries of rows [r0, r1) go, row r being row order[first + r] of x: behind those of all rows before. */
void nn_place_rows(const nn_csr *x, const uint32_t *order, int64_t first, int64_t capacity, nn_entries *e, int64_t r0,
                   int64_t r1);

/* A panel of the gradient of the first layer's weights, without the bias, over the first `n` entries */
void nn_sparse_gradient(const nn_plan *p, const nn_outer *o, const nn_entries *e, int64_t n, int64_t panel, char *dst);

/* Makes the n workspaces of training hold the entries of `rows` rows each, and the blocks those of a batch. */
nn_status nn_sparse_room(nn_plan *p, const nn_csr *x, int n, int64_t rows, int threads, double *bytes_needed);
/* Each thread counts the entries of its rows; when all have, each puts its own in their places. */
void nn_count_entries(nn_plan *p, int thread, int64_t r0, int64_t r1);
void nn_sort_entries(nn_plan *p, int thread, int n_threads, int64_t r0, int64_t r1);

#endif
