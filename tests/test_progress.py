from __future__ import annotations

import sys
import types

import pytest

from nncore import MLP
from nncore.callbacks import ProgressBar


@pytest.fixture
def no_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)


def fit(blobs, bar, **kwargs):
    X, y = blobs
    net = MLP([5, 3], output="softmax", backend="numpy")
    return net.fit(X, y, epochs=4, callbacks=bar, **kwargs)


def test_it_is_silent_where_there_is_no_terminal_unless_asked(blobs, capsys, no_tqdm):
    fit(blobs, ProgressBar())
    assert capsys.readouterr().out == ""
    fit(blobs, ProgressBar(show=True))
    assert capsys.readouterr().out != ""


def test_it_asks_whether_there_is_a_terminal(blobs, capsys, no_tqdm, monkeypatch):
    monkeypatch.setattr("nncore.progress.terminal", lambda: True)
    fit(blobs, ProgressBar(show=False))
    assert capsys.readouterr().out == ""
    fit(blobs, ProgressBar())
    assert capsys.readouterr().out != ""


def test_the_line_is_written_over_and_ends(blobs, capsys, no_tqdm):
    history = fit(blobs, ProgressBar(True), metrics=["accuracy"])
    out = capsys.readouterr().out
    assert out.endswith("\n") and out.count("\n") == 1
    shown = out[:-1].split("\r")
    assert shown[0] == "" and shown[1].startswith("  0 %  0.0/4 epochs")
    assert shown[-1].startswith("100 %  4.0/4 epochs  loss ")
    assert f"loss {history.history['loss'][-1]:.4g}  accuracy " in shown[-1]
    assert all(len(text) < 120 for text in shown)


def test_it_ends_also_when_training_is_cut_off(blobs, capsys, no_tqdm):
    def interrupted(pred, target):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(blobs, ProgressBar(True), metrics=interrupted)
    assert capsys.readouterr().out.endswith("\n")


def test_no_epochs_are_no_error(blobs, capsys, no_tqdm):
    X, y = blobs
    MLP([5, 3], output="softmax", backend="numpy").fit(X, y, epochs=0, callbacks=ProgressBar(True))
    assert capsys.readouterr().out.startswith("\r100 %")


def test_tqdm_is_used_where_it_is(blobs, monkeypatch):
    made = []

    class Bar:
        def __init__(self, total, file, unit, bar_format):
            self.total, self.n, self.postfix, self.closed = total, 0, None, False
            made.append(self)

        def update(self, n):
            self.n += n

        def set_postfix(self, values, refresh):
            self.postfix = values

        def refresh(self):
            pass

        def close(self):
            self.closed = True

    module = types.ModuleType("tqdm.auto")
    module.tqdm = Bar
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", module)
    history = fit(blobs, ProgressBar(True))
    (bar,) = made
    assert (bar.total, bar.n, bar.closed) == (4, 4, True)
    assert bar.postfix == {"loss": f"{history.history['loss'][-1]:.4g}"}


def test_the_real_tqdm_draws(blobs, capsys):
    pytest.importorskip("tqdm")
    fit(blobs, ProgressBar(True))
    out = capsys.readouterr().out
    assert "100%" in out and "4.0/4" in out and "loss=" in out
