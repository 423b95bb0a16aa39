/* pool.h: threads of our own for threads.c, where there is no OpenMP or an instrument does not understand it. */
#ifndef NN_POOL_H
#define NN_POOL_H

typedef struct nn_worker nn_worker;
typedef void (*nn_pool_body)(void *context, int thread, int n_threads);

/* Takes up to `wanted` workers that nobody else has; fewer where no more threads can be made. *n says how many. */
nn_worker *nn_pool_take(int wanted, int *n);
/* Runs body as thread 0 here and as threads 1 to n in the workers; when all have returned, gives them back. */
void nn_pool_run(nn_worker *workers, int n, nn_pool_body body, void *context);
int nn_pool_most_threads(void); /* by OMP_NUM_THREADS, else as many as cores */
int nn_pool_limit(void);        /* by OMP_THREAD_LIMIT; else INT_MAX */

#endif
