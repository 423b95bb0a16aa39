"""bench/soak.py: its cases pass, and what it is there to find is found."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import HAS_CORE

TOOL = Path(__file__).parent.parent / "bench" / "soak.py"
spec = importlib.util.spec_from_file_location("soak", TOOL)
assert spec is not None and spec.loader is not None
soak = importlib.util.module_from_spec(spec)
sys.modules["soak"] = soak  # where dataclasses look for it
spec.loader.exec_module(soak)

SEED = 20260101
native = pytest.mark.skipif(not HAS_CORE, reason="nncore._core cannot be imported")


@native
@pytest.mark.filterwarnings("ignore:y has a single class")
def test_cases_pass(tmp_path: Path) -> None:
    seen = soak.Deviations()
    for number in range(12):
        case = soak.draw(SEED, number)
        try:
            soak.check(case, seen, tmp_path)
        except soak.Violation as violation:
            pytest.fail(f"seed {SEED}, case {number}: {violation}; {case.text}")
    assert {"outputs float32", "outputs float64"} <= set(seen.largest)


def test_a_case_is_the_same_each_time() -> None:
    assert soak.draw(1, 2).text == soak.draw(1, 2).text
    assert soak.draw(1, 2).text != soak.draw(1, 3).text


@native
@pytest.mark.parametrize(
    ("spoilt", "said"), [("predict", "outputs"), ("train", "trained"), ("load", "saved and loaded")]
)
def test_a_wrong_result_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoilt: str, said: str) -> None:
    case = soak.draw(SEED, 0)
    make, train, load = soak.Case.network, soak.Case.train, soak.nn.load

    def off(net: Any) -> Any:
        net.set_weights([1.001 * w + 0.001 for w in net.get_weights()])
        return net

    if spoilt == "predict":  # the native network predicts with other weights than it shows

        class Wrong:
            def __init__(self, net: Any) -> None:
                self.net = net

            def __getattr__(self, name: str) -> Any:
                return getattr(self.net, name)

            def predict(self, X: Any) -> Any:
                return self.net.predict(X) * 1.01

        monkeypatch.setattr(
            type(case), "network", lambda self, b: Wrong(make(self, b)) if b == "native" else make(self, b)
        )
    elif spoilt == "train":
        monkeypatch.setattr(
            type(case), "train", lambda self, net: (train(self, net), net.backend == "numpy" and off(net))[0]
        )
    else:
        monkeypatch.setattr(soak.nn, "load", lambda path: off(load(path)))
    with pytest.raises(soak.Violation, match=said):
        soak.check(case, soak.Deviations(), tmp_path)


def test_memory_that_grows_is_found() -> None:
    readings = iter([100e6, 104e6, 99e6, 106e6])
    memory = soak.Memory(lambda: next(readings))
    for _ in range(3):
        memory.watch()
    with pytest.raises(soak.Violation, match=r"memory: 100.0 MB after the warm-up, 106.0 now"):
        memory.watch()
