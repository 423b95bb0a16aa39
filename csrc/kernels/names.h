/* names.h: prototypes of this ISA's and real type's kernels, under their own names. */
#ifndef NN_NAMES_H
#define NN_NAMES_H

#define NN_KERNEL(result, name, arguments) result NN_FN(name) arguments;
#include "../kernels.inc"
#undef NN_KERNEL

#endif
