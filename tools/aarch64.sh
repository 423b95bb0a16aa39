#!/bin/sh
# The core for aarch64 (NEON), cross-compiled, and its tests under qemu's user emulation, on an x86-64 Debian:
#
#   tools/aarch64.sh [pytest arguments]
#
# An arm64 Python of the same Debian is unpacked below build/aarch64 (the machine's own packages stay as they are), NumPy
# and pytest for it come from PyPI, and the Python tests themselves run there: every kernel of the NEON table against the
# reference, at odd sizes, and networks against NumPy. Emulation is slow, so by default those of the kernels and of the
# core alone. Needs the packages gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user-static, and a python3 with
# Cython, CMake and Ninja (BUILD_PYTHON; by default a new environment).
set -eu
tree=$(cd "$(dirname "$0")/.." && pwd)
at="$tree/build/aarch64"
root="$at/root"
for tool in aarch64-linux-gnu-gcc qemu-aarch64-static apt-get dpkg-deb; do
    command -v "$tool" >/dev/null || {
        echo "$tool is missing; as root: apt-get install -y gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static" >&2
        exit 1
    }
done
mkdir -p "$at"
say() { printf '\n== %s\n' "$*"; }

if [ ! -e "$root/.complete" ]; then
    say "Python for arm64"
    rm -rf "$root" "$at/apt"
    mkdir -p "$root" "$at/apt/lists/partial" "$at/apt/cache/archives/partial"
    : >"$at/apt/status"
    cat >"$at/apt/conf" <<EOF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "root";
Dir::State "$at/apt";
Dir::State::status "$at/apt/status";
Dir::Cache "$at/apt/cache";
EOF
    APT_CONFIG="$at/apt/conf" apt-get update -qq 2>&1 | grep -v '^[WN]:' || true
    APT_CONFIG="$at/apt/conf" apt-get install -qq -y --no-install-recommends --download-only \
        python3 libpython3-dev libgomp1 libstdc++6 >/dev/null
    for package in "$at"/apt/cache/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
    # absolute links would lead out of the folder
    find "$root" -type l -lname '/*' | while read -r link; do
        ln -sfnr "$root$(readlink "$link")" "$link"
    done
    touch "$root/.complete"
fi
version=$(basename "$(readlink -f "$root/usr/bin/python3")" | tr -d 'a-z')

if [ -z "${BUILD_PYTHON:-}" ]; then
    BUILD_PYTHON="$at/tools/bin/python"
    [ -x "$BUILD_PYTHON" ] || {
        say "tools"
        python3 -m venv "$at/tools"
        "$BUILD_PYTHON" -m pip install -q --disable-pip-version-check 'cython>=3.1' cmake ninja
    }
fi
PATH=$(dirname "$BUILD_PYTHON"):$PATH

say "NumPy for arm64"
[ -d "$at/site/numpy" ] || "$BUILD_PYTHON" -m pip install -q --disable-pip-version-check --target "$at/site" --upgrade \
    --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 --platform manylinux2014_aarch64 \
    --python-version "$version" --implementation cp --only-binary :all: 'numpy>=2.0' 'pytest>=8.0'

say "the core, by $(aarch64-linux-gnu-gcc --version | head -n 1)"
cat >"$at/toolchain.cmake" <<EOF
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
EOF
include="$root/usr/include/python$version"
cmake -S "$tree" -B "$at/cmake" -G Ninja -DCMAKE_TOOLCHAIN_FILE="$at/toolchain.cmake" -DCMAKE_BUILD_TYPE=Release \
    -DPython_EXECUTABLE="$BUILD_PYTHON" -DPython_INCLUDE_DIR="$include" \
    -DCMAKE_C_FLAGS="-isystem $include -isystem $root/usr/include" \
    -DSKBUILD_PROJECT_VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' "$tree/pyproject.toml")" >"$at/log" || { cat "$at/log"; exit 1; }
cmake --build "$at/cmake" >"$at/log" || { cat "$at/log"; exit 1; }
rm -rf "$at/site/nncore"
cp -R "$tree/src/nncore" "$at/site/nncore"
find "$at/site/nncore" -name '*.so' -delete
core=$(find "$at/cmake" -maxdepth 1 -name '_core*.so')
cp "$core" "$at/site/nncore/_core.so"

run() { # a CPU without SVE, which qemu takes some 20 times as long for and NumPy's OpenBLAS would choose
    env -u PYTHONHOME QEMU_CPU=cortex-a72 PYTHONPATH="$at/site" PYTHONDONTWRITEBYTECODE=1 NNCORE_REQUIRE_NATIVE=1 OPENBLAS_NUM_THREADS=1 \
        qemu-aarch64-static -L "$root" "$root/usr/bin/python$version" "$@"
}
say "tests under qemu"
run -c 'import platform, nncore; print(platform.machine()); nncore.show_config()'
cd "$tree"
if [ $# -eq 0 ]; then
    set -- tests/test_kernels_layout.py tests/test_kernels_activations.py tests/test_kernels_elementwise.py \
        tests/test_kernels_embedding.py tests/test_kernels_keys.py tests/test_kernels_loss.py \
        tests/test_kernels_loss_options.py tests/test_kernels_noise.py tests/test_kernels_norm.py \
        tests/test_kernels_outer.py tests/test_kernels_product.py tests/test_kernels_sparse.py tests/test_core.py
fi
run -m pytest -q -p no:cacheprovider "$@"
