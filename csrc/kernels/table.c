/* table.c: the table of this ISA and real type. */
#include "../kernels.h"
#include "../simd.h"
#include "names.h"

#define NN_STRING2(x) #x
#define NN_STRING(x) NN_STRING2(x)

extern const nn_kernels NN_FN(table);
const nn_kernels NN_FN(table) = {
    .isa = NN_STRING(NN_ISA),
    .width = W,
    .element_size = sizeof(real),
#define NN_KERNEL(result, name, arguments) .name = NN_FN(name),
#include "../kernels.inc"
#undef NN_KERNEL
};
