#!/bin/sh
# The native core under instruments: builds one of CMakePresets.json into build/ and runs what it is for; docs/trust.md
# says what each covers. Usage: bench/instruments.sh NAME [PYTHON [TEST ...]], from the root of the checkout.
set -eu
name=$1
python=${2:-python3}
[ $# -lt 2 ] || shift 2
dir=build/$name
PATH=$(cd "$(dirname "$(command -v "$python")")" && pwd):$PATH # cmake and ninja are there where PyPI brought them
export PATH NNCORE_REQUIRE_NATIVE=1
export OPENBLAS_NUM_THREADS=1 # NumPy's BLAS has threads that no instrument can follow
export PYTHONMALLOC=malloc # each Python object a block of its own, for the instruments to watch
command -v ninja >/dev/null || "$python" -m pip install -q ninja
command -v cmake >/dev/null || "$python" -m pip install -q cmake

build() {
    cmake --preset "$1" -DPython_EXECUTABLE="$(command -v "$python")" >/dev/null
    cmake --build --preset "$1"
}
package() { # the package with the extension, in a folder
    build "$1"
    cmake --install "build/$1" --prefix "build/$1/package" >/dev/null
    export PYTHONPATH="$PWD/build/$1/package"
}
runtime() { gcc -print-file-name="$1"; }
# Tests in a process with the runtime loaded first; addresses are not randomised, which gcc 12's tsan cannot do with.
watched() {
    preload=$1
    shift
    setarch "$(uname -m)" -R env LD_PRELOAD="$preload" "$python" -m pytest -q -p no:cacheprovider "$@"
}

too_large="--deselect tests/test_sparse.py::test_twenty_thousand_columns_take_little_memory" # of the instruments it is

case $name in
strict-*)
    build "$name"
    ;;
analyzer)
    build analyzer
    ;;
tidy)
    cmake --preset strict-clang >/dev/null
    # one instruction set and both types: the others compile the same sources
    files=$(ls csrc/*.c csrc/kernels/*.c | grep -v -e csrc/pool.c -e csrc/system_windows.c) # not in this build
    clang-tidy --quiet -p build/strict-clang $files
    ;;
asan | asan-avx2)
    package "$name"
    # Leaks are looked for in the tests by counting (tests/test_memory.py), and by valgrind: CPython and NumPy leave
    # thousands of blocks at exit, which would hide ours.
    export ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1:detect_stack_use_after_return=1:allocator_may_return_null=1:log_path=build/$name/report
    export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
    [ $# -gt 0 ] || set -- tests/test_kernels_*.py tests/test_core.py tests/test_training*.py tests/test_fitting.py \
        tests/test_network.py tests/test_adaptive.py tests/test_clipping.py tests/test_regularization.py \
        tests/test_columns.py tests/test_noise.py tests/test_losses_own.py tests/test_io.py tests/test_checkpoints*.py \
        tests/test_tuner.py tests/test_weights*.py tests/test_fuzz.py tests/test_penalty.py tests/test_sparse*.py \
        tests/test_sklearn_own.py tests/test_sklearn_perceptron.py tests/test_sklearn_results.py \
        tests/test_sklearn_threads.py tests/test_signals.py $too_large
    watched "$(runtime libasan.so)" "$@"
    ;;
tsan)
    package tsan
    export TSAN_OPTIONS=halt_on_error=1:exitcode=66:log_path=build/tsan/report
    [ $# -gt 0 ] || set -- tests/test_core.py tests/test_training*.py tests/test_fitting.py tests/test_clipping.py \
        tests/test_regularization.py tests/test_columns.py tests/test_losses_own.py tests/test_tuner.py \
        tests/test_weights*.py tests/test_penalty.py tests/test_sparse*.py tests/test_sklearn_results.py \
        tests/test_sklearn_threads.py $too_large
    watched "$(runtime libtsan.so)" "$@"
    ;;
valgrind)
    export PYTHONPATH="${PYTHONPATH:-}" NNCORE_ISA=avx2
    mkdir -p build
    valgrind --leak-check=full --show-leak-kinds=definite --num-callers=40 --log-file=build/valgrind.log \
        "$python" bench/short_training.py
    # CPython and NumPy have reports of their own, before nncore is loaded too; none may pass through our library.
    if grep -B 60 -A 5 nncore/_core build/valgrind.log; then exit 9; fi
    tail -n 1 build/valgrind.log
    echo "none of them is in nncore's library"
    ;;
*)
    echo "$name is none of strict-gcc, strict-quick, strict-clang, strict-pthreads, analyzer, tidy, asan, asan-avx2, tsan, valgrind" >&2
    exit 2
    ;;
esac
