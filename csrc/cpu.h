/* cpu.h: which instructions this x86-64 CPU has and its operating system lets programs use.
 *
 * The compiler's own answer needs its runtime library, which clang-cl does not link; on Windows cpuid is asked here. On
 * macOS xgetbv denies AVX-512 to a thread that has not used it yet, which the compiler's library knows.
 */
#ifndef NN_CPU_H
#define NN_CPU_H

#if defined(__x86_64__) && defined(_WIN32)
#include <cpuid.h>

static inline unsigned nn_cpuid(unsigned leaf, int reg) { /* reg: 1 for ebx, 2 for ecx */
    unsigned r[4] = {0};
    __get_cpuid_count(leaf, 0, &r[0], &r[1], &r[2], &r[3]); /* leaves zeros where there is no such leaf */
    return r[reg];
}
/* Whether the system saves all of these: 2 xmm, 4 ymm, 0xe0 the three parts of zmm */
static inline int nn_saves(unsigned states) {
    if (!(nn_cpuid(1, 2) & bit_OSXSAVE)) return 0;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & states) == states;
}
static inline int nn_cpu_has_v2(void) {
    const unsigned wanted = bit_SSE42 | bit_POPCNT;
    return (nn_cpuid(1, 2) & wanted) == wanted;
}
static inline int nn_cpu_has_avx2(void) {
    return nn_saves(0x6) && nn_cpuid(1, 2) & bit_FMA && nn_cpuid(7, 1) & bit_AVX2;
}
static inline int nn_cpu_has_avx512(void) {
    const unsigned wanted = bit_AVX512F | bit_AVX512DQ | bit_AVX512BW | bit_AVX512VL;
    return nn_cpu_has_avx2() && nn_saves(0xe6) && (nn_cpuid(7, 1) & wanted) == wanted;
}
#elif defined(__x86_64__)
static inline int nn_cpu_has_v2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
}
static inline int nn_cpu_has_avx2(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
static inline int nn_cpu_has_avx512(void) {
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && nn_cpu_has_avx2();
}
#endif

#endif
