"""Look into what is about to be published: ``python tools/check_dist.py sdist|wheel FILE`` or ``... installed``.

Prints what it found and exits with 1, naming the defect, where a distribution is not as it should be. Needs the
standard library alone, and for ``installed`` an environment in which nncore is.
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from pathlib import Path

LARGEST = 3_000_000  # bytes of a wheel
LEFTOVERS = re.compile(
    r"(^|/)(__pycache__|build|dist|\.venv|\.git|\.(pytest|mypy|ruff)_cache|\.hypothesis|_generated|[^/]*\.egg-info)(/|$)"
    r"|\.(so|pyc|pyd|o|a|whl|gcda|gcno)$"
)
NEEDED = (  # to build, to test and to distribute
    "CMakeLists.txt", "LICENSE", "LICENSE-bundled.txt", "PKG-INFO", "README.md", "csrc/kernels.inc",
    "csrc/kernels/product.c", "pyproject.toml", "src/nncore/_core.pyx", "src/nncore/_engine.pxi",
    "src/nncore/datasets/digits.npz", "src/nncore/py.typed",
    "tests/conftest.py", "tests/test_core.py",
)  # fmt: skip
SOURCES = re.compile(r"\.(pyx|pxi|c|h|inc)$")  # of no use in a wheel


def faults_of_sdist(names: list[str]) -> list[str]:
    """Say what is wrong with the members of a source distribution.

    Parameters
    ----------
    names : list of str
        Paths below its one folder.

    Returns
    -------
    list of str
        Empty where nothing is.
    """
    faults = [f"it holds {name}, which a build or a run left behind" for name in names if LEFTOVERS.search(name)]
    return faults + [f"it lacks {name}" for name in NEEDED if name not in names]


def faults_of_wheel(file: str, size: int, names: list[str]) -> list[str]:
    """Say what is wrong with a repaired wheel for Linux.

    Parameters
    ----------
    file : str
        Its name, which ends in the tags.
    size : int
        Bytes.
    names : list of str
        Its members.

    Returns
    -------
    list of str
        Empty where nothing is.
    """
    faults = []
    if not re.search(r"-manylinux\w+\.whl$", file):
        faults.append(f"its platform tag is not manylinux: {file}")
    if size >= LARGEST:
        faults.append(f"it has {size:,} bytes; expected less than {LARGEST:,}")
    if sum(re.fullmatch(r"nncore/_core\.[\w.-]+\.so", name) is not None for name in names) != 1:
        faults.append("it has not exactly one nncore/_core.*.so")
    if not any(re.fullmatch(r"nncore\.libs/lib(g|i)?omp[\w.-]*", name) for name in names):
        faults.append("no OpenMP runtime is bundled in nncore.libs/")
    for licence in ("LICENSE", "LICENSE-bundled.txt"):
        if not any(re.fullmatch(rf"nncore-[\w.]+\.dist-info/licenses/{re.escape(licence)}", name) for name in names):
            faults.append(f"the licence is missing: {licence}")
    for needed in ("nncore/py.typed", "nncore/_core.pyi", "nncore/datasets/digits.npz"):
        if needed not in names:
            faults.append(f"it lacks {needed}")
    kept = [name for name in names if SOURCES.search(name) or "/__pycache__/" in name or name.startswith("tests/")]
    return faults + [f"it holds {name}, which nobody needs at run time" for name in kept]


def faults_of_installation() -> list[str]:
    """Say whether the nncore that is imported is an installed one, native, and runs on the runtime it brought along.

    Returns
    -------
    list of str
        Empty where it is.
    """
    import nncore
    from nncore import _core, engines

    faults = []
    place = Path(_core.__file__)
    if "site-packages" not in place.parts:
        faults.append(f"nncore is imported from {place}, not from site-packages")
    if engines.choose(None) != "native":
        faults.append(f"the backend is {engines.choose(None)!r}; expected 'native'")
    nncore.MLP([2, 2]).predict([[0.0, 1.0]])
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    loaded = {line.split()[-1] for line in maps if re.search(r"/lib(g|i)?omp[^/]*$", line)}
    print("OpenMP runtime:", *sorted(loaded))
    if not loaded or any("nncore.libs" not in Path(path).parts for path in loaded):
        faults.append(f"the OpenMP runtime in use is {sorted(loaded)}; expected the one in nncore.libs/")
    return faults


def main(arguments: list[str]) -> int:
    """Run the command line and return its exit status."""
    kind, *files = arguments
    if kind == "installed":
        faults = faults_of_installation()
    elif kind == "sdist":
        with tarfile.open(files[0]) as archive:
            members = [member.name.partition("/")[2] for member in archive.getmembers() if member.isfile()]
        print(f"{Path(files[0]).name}: {Path(files[0]).stat().st_size:,} bytes, {len(members)} files")
        faults = faults_of_sdist(members)
    elif kind == "wheel":
        path = Path(files[0])
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
        print(f"{path.name}: {path.stat().st_size:,} bytes; bundled: {[m for m in members if '.libs/' in m]}")
        faults = faults_of_wheel(path.name, path.stat().st_size, members)
    else:
        faults = [f"the first argument is {kind!r}; expected 'sdist', 'wheel' or 'installed'"]
    for fault in faults:
        print("error:", fault, file=sys.stderr)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
