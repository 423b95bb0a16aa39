/* system_windows.c: system.h on Windows, where threads are placed by the system alone and nothing forks. */
#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#include <malloc.h>
#include <math.h>
#include <process.h>
#include <stdlib.h>

#include "nncore.h"
#include "system.h"

_Static_assert(sizeof(SRWLOCK) == sizeof(nn_lock) && sizeof(CONDITION_VARIABLE) == sizeof(nn_change),
               "nn_lock and nn_change stand for these");
static SRWLOCK *of_lock(nn_lock *lock) { return (SRWLOCK *)(void *)lock; }
static CONDITION_VARIABLE *of_change(nn_change *change) { return (CONDITION_VARIABLE *)(void *)change; }

void nn_lock_new(nn_lock *lock) { InitializeSRWLock(of_lock(lock)); }
void nn_lock_take(nn_lock *lock) { AcquireSRWLockExclusive(of_lock(lock)); }
void nn_lock_leave(nn_lock *lock) { ReleaseSRWLockExclusive(of_lock(lock)); }
void nn_lock_end(nn_lock *lock) { (void)lock; }
void nn_change_new(nn_change *change) { InitializeConditionVariable(of_change(change)); }
void nn_change_wait(nn_change *change, nn_lock *lock) {
    SleepConditionVariableSRW(of_change(change), of_lock(lock), INFINITE, 0);
}
void nn_change_tell(nn_change *change) { WakeConditionVariable(of_change(change)); }
void nn_change_end(nn_change *change) { (void)change; }

typedef struct start {
    void (*body)(void *);
    void *context;
} start;

static unsigned __stdcall begin(void *given) {
    const start s = *(start *)given;
    free(given);
    s.body(s.context);
    return 0;
}

int nn_start_thread(void (*body)(void *), void *context) {
    start *s = malloc(sizeof *s);
    if (!s) return 0;
    *s = (start){body, context};
    const uintptr_t thread = _beginthreadex(NULL, 0, begin, s, 0, NULL);
    if (!thread) {
        free(s);
        return 0;
    }
    CloseHandle((HANDLE)thread);
    return 1;
}

void nn_yield(void) { SwitchToThread(); }
void nn_nap(int64_t ns) { Sleep((DWORD)((ns + 999999) / 1000000)); } /* 1 to 16 ms: it has no shorter ones */
void nn_after_fork_in_child(void (*body)(void)) { (void)body; }

int64_t nn_now(void) {
    LARGE_INTEGER ticks, in_second;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&in_second);
    const int64_t whole = ticks.QuadPart / in_second.QuadPart, rest = ticks.QuadPart % in_second.QuadPart;
    return whole * 1000000000 + rest * 1000000000 / in_second.QuadPart;
}

int nn_system_cores(void) { /* of the process' group, at most 64 */
    DWORD_PTR allowed = 0, there = 0;
    int cores = 0;
    if (GetProcessAffinityMask(GetCurrentProcess(), &allowed, &there))
        for (; allowed; allowed &= allowed - 1) cores++;
    return cores < 1 ? 1 : cores;
}
void nn_leave_core(int crowded, int thread) { (void)crowded, (void)thread; }
int nn_this_core(void) { return 0; }

double nn_system_memory(void) {
    MEMORYSTATUSEX status = {.dwLength = sizeof status};
    return GlobalMemoryStatusEx(&status) ? (double)status.ullTotalPhys : INFINITY;
}
void *nn_aligned(size_t alignment, size_t bytes) { return _aligned_malloc(bytes, alignment); }
void nn_aligned_free(void *memory) { _aligned_free(memory); }
