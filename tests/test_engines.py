from __future__ import annotations

import os
import subprocess
import sys

import pytest

import nncore as nn
from nncore import engines

BLOCK_CORE = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name == "nncore._core":
            raise ImportError({reason!r})
sys.meta_path.insert(0, Block())
"""


def python(code, reason="no such file", **environment):
    """Run code in a process in which the compiled core cannot be imported."""
    names = {k: v for k, v in os.environ.items() if not k.startswith("NNCORE_")}
    paths = os.pathsep.join(path for path in sys.path if path)
    return subprocess.run(
        [sys.executable, "-c", BLOCK_CORE.format(reason=reason) + code],
        env={**names, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_without_core_there_is_one_warning_and_numpy():
    code = "import nncore as nn\nfor _ in range(3): net = nn.MLP([2, 1])\nprint(net.backend, nn.get_num_threads() >= 1)"
    done = python(code)
    assert done.stdout.split() == ["numpy", "True"]
    assert done.stderr.count("RuntimeWarning") == 1
    assert "no such file" in done.stderr


def test_who_chose_numpy_is_not_warned():
    done = python("import nncore as nn; print(nn.MLP([2, 1]).backend)", NNCORE_BACKEND="numpy")
    assert (done.stdout.strip(), done.stderr) == ("numpy", "")


def test_who_asks_for_native_is_told():
    done = python("import nncore as nn; nn.MLP([2, 1], backend='native')")
    assert done.returncode == 1
    assert "ImportError" in done.stderr.splitlines()[-1] and "no such file" in done.stderr.splitlines()[-1]


def test_an_isa_that_is_not_there_is_no_reason_to_fall_back():
    done = python("import nncore", reason="NNCORE_ISA=avx512: this CPU lacks it")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ImportError: NNCORE_ISA=avx512: this CPU lacks it"


def test_the_environment_chooses(backend, monkeypatch):
    monkeypatch.setenv("NNCORE_BACKEND", backend)
    assert nn.MLP([2, 1]).backend == backend
    monkeypatch.setenv("NNCORE_BACKEND", "cuda")
    with pytest.raises(ValueError, match="NNCORE_BACKEND is 'cuda'"):
        nn.MLP([2, 1])
    assert nn.MLP([2, 1], backend=backend).backend == backend


def test_threads():
    before = nn.get_num_threads()
    with nn.threads(1):
        assert nn.get_num_threads() == 1
        with pytest.raises(KeyError), nn.threads(2):
            assert nn.get_num_threads() == 2
            raise KeyError
        assert nn.get_num_threads() == 1
    assert nn.get_num_threads() == before
    nn.set_num_threads(1)
    try:
        assert nn.get_num_threads() == 1
    finally:
        nn.set_num_threads(before)


@pytest.mark.parametrize(("n", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
def test_refused_threads(n, error):
    before = nn.get_num_threads()
    with pytest.raises(error, match="n is"):
        nn.set_num_threads(n)
    with pytest.raises(error, match="n is"), nn.threads(n):
        pass
    assert nn.get_num_threads() == before


def test_show_config(capsys):
    nn.show_config()
    text = capsys.readouterr().out
    for name, value in engines.config().items():
        assert name in text
        if isinstance(value, str):
            assert value in text
