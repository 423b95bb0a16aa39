/* dispatch.c: which ISA's kernels run. Chosen once, when the module loads, from what CPU and operating system support.
 *
 * cpu.h asks cpuid and, for AVX and AVX-512, xgetbv too: a kernel that does not save the wide registers makes it answer
 * no. Every table can be had by name, so that one process tests them all.
 */
#include <stdio.h>
#include <string.h>

#include "cpu.h"
#include "kernels.h"

extern const nn_kernels nn_table_reference_f32, nn_table_reference_f64;
extern const nn_kernels nn_table_baseline_f32, nn_table_baseline_f64;
extern const nn_kernels nn_table_avx2_f32, nn_table_avx2_f64, nn_table_avx512_f32, nn_table_avx512_f64;

typedef struct isa {
    const char *name;
    const nn_kernels *table[2]; /* by nn_dtype */
    int supported;
} isa;

static isa isas[] = {
#if defined(NN_HAS_avx512)
    {"avx512", {&nn_table_avx512_f32, &nn_table_avx512_f64}, 0},
#endif
#if defined(NN_HAS_avx2)
    {"avx2", {&nn_table_avx2_f32, &nn_table_avx2_f64}, 0},
#endif
#if defined(NN_HAS_baseline)
    {"baseline", {&nn_table_baseline_f32, &nn_table_baseline_f64}, 0},
#endif
};
enum { N_ISAS = sizeof isas / sizeof isas[0] };
static int chosen = N_ISAS - 1;

static int has(const char *name) {
#if defined(__x86_64__)
    if (strcmp(name, "avx512") == 0) return nn_cpu_has_avx512();
    if (strcmp(name, "avx2") == 0) return nn_cpu_has_avx2();
    return nn_cpu_has_v2();
#else
    (void)name;
    return 1; /* NEON is part of aarch64 */
#endif
}

static void probe(void) {
    for (int k = 0; k < N_ISAS; k++) isas[k].supported = has(isas[k].name);
}

const char *nn_isas_available(int i) {
    for (int k = 0; k < N_ISAS; k++)
        if (isas[k].supported && i-- == 0) return isas[k].name;
    return NULL;
}

const char *nn_isa(void) { return isas[chosen].name; }

int nn_select(const char *forced, const char **message) {
    static char text[256];
    probe();
    *message = text;
    for (int k = 0; k < N_ISAS; k++) {
        if (forced && strcmp(forced, isas[k].name) != 0) continue;
        if (!isas[k].supported && !forced) continue;
        if (!isas[k].supported) {
            snprintf(text, sizeof text, "NNCORE_ISA is '%s', which this CPU or its operating system lacks", forced);
            return -1;
        }
        chosen = k;
        return 0;
    }
    if (forced) {
        int used = snprintf(text, sizeof text, "NNCORE_ISA is '%.40s'; this build knows", forced);
        for (int k = 0; k < N_ISAS; k++)
            used += snprintf(text + used, sizeof text - (size_t)used, "%s %s", k ? "," : "", isas[k].name);
    } else {
        snprintf(text, sizeof text, "this CPU is older than x86-64-v2 (SSE4.2), the least that nncore's kernels need");
    }
    return -1;
}

const nn_kernels *nn_kernels_for(nn_dtype dtype) { return isas[chosen].table[dtype]; }

const nn_kernels *nn_kernels_named(const char *name, nn_dtype dtype) {
    if (strcmp(name, "reference") == 0) return dtype == NN_F32 ? &nn_table_reference_f32 : &nn_table_reference_f64;
    for (int k = 0; k < N_ISAS; k++)
        if (isas[k].supported && strcmp(name, isas[k].name) == 0) return isas[k].table[dtype];
    return NULL;
}
