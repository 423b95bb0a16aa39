"""scikit-learn's own tests of its estimators, run on these; `sklearn_swapped` swaps names and says what is left out."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")


@pytest.mark.parametrize(
    ("module", "most_left_out"),
    [("sklearn.neural_network.tests.test_mlp", 1), ("sklearn.linear_model.tests.test_perceptron", 0)],
)
def test_scikit_learns_own(module: str, most_left_out: int, tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "sklearn_swapped", "--pyargs", module],
        capture_output=True,
        text=True,
        cwd=tmp_path,  # without this project's settings: scikit-learn's tests raise warnings of their own
        env={**os.environ, "PYTHONPATH": path},
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    last = done.stdout.strip().splitlines()[-1]
    left_out = int(last.split(" deselected")[0].split(", ")[-1]) if " deselected" in last else 0
    assert left_out <= most_left_out, last
    assert int(last.split(" passed")[0].split(", ")[-1]) >= 5, last
