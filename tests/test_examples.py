"""The examples run, on both backends, and every number of the texts behind them comes out.

Where a text rounds on the way or misprints, the right number stands here, and the text's beside it in a comment.
"""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


@pytest.fixture
def example(backend, monkeypatch, tmp_path):
    """A function that runs an example by its name and returns its variables."""
    monkeypatch.setenv("NNCORE_BACKEND", backend)
    monkeypatch.chdir(tmp_path)

    def run(name):
        namespace = runpy.run_path(str(EXAMPLES / f"{name}.py"))
        networks = [value for value in namespace.values() if hasattr(value, "train_step")]
        assert all(net.backend == backend for net in networks)
        return namespace

    yield run
    assert not list(tmp_path.iterdir()), "an example left a file behind"


def test_neuron(example, capsys):
    e = example("neuron")
    assert e["z"] == pytest.approx(-0.55, abs=1e-15)
    assert e["outputs"]["sigmoid"] == pytest.approx(0.36586440898919936, abs=1e-16)
    assert e["outputs"]["relu"] == 0.0
    assert e["outputs"]["tanh"] == pytest.approx(np.tanh(-0.55), abs=1e-15)
    assert e["outputs"]["leaky_relu"] == pytest.approx(-0.055, abs=1e-15)
    assert e["outputs"]["step"] == 0.0
    assert e["sure_output"] == 0.9990889488055994
    assert e["unsure_output"] == pytest.approx(1 / (1 + np.exp(-0.61)), abs=1e-15)
    assert e["by_hand"] == pytest.approx(0.04, abs=1e-15)
    assert e["rows"] == pytest.approx([0.9990889488055994, 0.5], abs=1e-15)
    printed = capsys.readouterr().out
    assert "z = -0.55" in printed and "sigmoid(0.61) = 0.6479" in printed


def test_activations(example, capsys):
    e = example("activations")
    printed = capsys.readouterr().out
    for line in (
        "relu(-2.5) = 0, relu'(-2.5) = 0",
        "relu(0) = 0, relu'(0) = 0",
        "relu(3.1) = 3.1, relu'(3.1) = 1",
        "sigmoid(-3) = 0.0474",  # the text: 0.047
        "sigmoid(0) = 0.5000, sigmoid'(0) = 0.2500",
        "sigmoid(3) = 0.9526",  # 0.953
        "tanh(-2) = -0.9640",
        "tanh(0) = 0.0000, tanh'(0) = 1.0000",
        "tanh(2) = 0.9640",
        "leaky_relu(-2) = -0.2, and with alpha = 0.3 -0.6",
    ):
        assert line in printed
    assert ((e["right"] > 0) & (e["right"] < 1)).all()
    assert not ((e["misprint"] > 0) & (e["misprint"] < 1)).any()
    np.testing.assert_allclose(e["right"], 1 / (1 + np.exp(-e["grid"])), rtol=1e-14)


@pytest.mark.parametrize("name", ["activations", "approximation"])
def test_pictures(name, tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "picture.png"
    runpy.run_path(str(EXAMPLES / f"{name}.py"))["draw"](path)
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10_000


def test_perceptron(example):
    e = example("perceptron")
    for name in ("AND", "OR"):
        p = e["learned"][name]
        assert p.converged and len(p.errors) < 10 and p.errors[-1] == 0
        assert p.predict(e["X"]).tolist() == e[name]
    xor = e["learned"]["XOR"]
    assert not xor.converged and len(xor.errors) == 15 and min(xor.errors) > 0
    assert xor.predict(e["X"]).tolist() != e["XOR"]
    assert [w.category.__name__ for w in e["caught"]] == ["ConvergenceWarning"]
    assert "15 epochs" in str(e["caught"][0].message)
    assert e["by_eye"].tolist() == [0, 0, 0, 1]
    assert e["others"].tolist() == [0, 1]


def test_forward(example):
    e = example("forward")
    trace = e["layer_trace"]
    np.testing.assert_allclose(trace.z[0], [[0.1, -0.4]], atol=1e-15)
    np.testing.assert_allclose(trace.a[0], [[0.1, 0.0]], atol=1e-15)

    trace = e["trace"]
    np.testing.assert_allclose(trace.z[0], [[0.85, -0.65, 1.15]], atol=1e-15)
    np.testing.assert_allclose(trace.a[0], [[0.85, 0.0, 1.15]], atol=1e-15)
    np.testing.assert_allclose(trace.z[1], [[0.74, 0.59]], atol=1e-15)
    exps = np.exp(trace.z[1][0])
    np.testing.assert_allclose([*exps, exps.sum()], [2.096, 1.804, 3.900], atol=5e-4)
    np.testing.assert_allclose(trace.a[1], [[0.53742984977, 0.46257015023]], atol=1e-11)  # the text: 0.538, 0.463
    np.testing.assert_allclose(trace.a[1], [[0.538, 0.463]], atol=1e-3)
    assert trace.loss == pytest.approx(0.62095704778, abs=1e-11)  # 0.620
    assert e["net"].n_parameters == 17  # 14
    np.testing.assert_allclose(e["same"].predict([e["x"]]), e["net"].predict([e["x"]]), rtol=1e-15)

    expected = [[0.85, 0.0, 1.15], [0.0, 0.4, 0.1], [0.0, 1.1, 0.0], [0.15, 0.05, 0.45]]
    np.testing.assert_allclose(e["hidden"], expected, atol=1e-15)
    assert e["hidden"].shape == (4, 3) and e["probabilities"].shape == (4, 2)

    np.testing.assert_allclose(e["drawn_hidden"], [[0.37311943, 0.0, 2.29668807, 2.142572]], atol=5e-9)
    np.testing.assert_allclose(e["drawn_output"], [[0.11000484, 0.18107842]], atol=5e-9)
    expected = [[0.11000484, 0.18107842], [0.42432891, 0.51636447], [0.34992114, 0.44969404]]
    np.testing.assert_allclose(e["three_rows"], expected, atol=5e-9)

    np.testing.assert_allclose(e["equal_hidden"], [[0.9525741268224334] * 2], atol=1e-15)
    assert e["equal_output"][0, 0] == pytest.approx(0.7216325609518421, abs=1e-15)
    np.testing.assert_allclose(e["two"].predict(e["rows"]), e["one"].predict(e["rows"]), rtol=1e-13)


def test_iteration(example, capsys):
    e = example("iteration")
    t = e["trace"]
    found = {
        "z1": t.z[0], "h1": t.a[0], "z2": t.z[1], "y1": t.a[1], "dL/dy1": t.dL_da[1], "dL/dz2": t.dL_dz[1],
        "dL/dw2": t.dL_dW[1], "dL/db2": t.dL_db[1], "dL/dh1": t.dL_da[0], "dL/dz1": t.dL_dz[0], "dL/dw1": t.dL_dW[0],
        "dL/db1": t.dL_db[0], "w1": t.new_W[0], "b1": t.new_b[0], "w2": t.new_W[1], "b2": t.new_b[1],
    }  # fmt: skip
    right = {  # the text's numbers in comments, where they differ in their last digit
        "z1": 0.6, "h1": 0.6, "z2": -0.1, "y1": 0.4750208125, "dL/dy1": -2.1051709181,
        "dL/dz2": -0.5249791875,  # -0.524
        "dL/dw2": -0.3149875125, "dL/db2": -0.5249791875, "dL/dh1": 0.5249791875,  # -0.314, -0.524, 0.524
        "dL/dz1": 0.5249791875, "dL/dw1": 0.2624895937, "dL/db1": 0.5249791875,  # 0.524, 0.262, 0.524
        "w1": 0.7737510406, "b1": 0.1475020813, "w2": -0.9685012487, "b2": 0.5524979187,
    }  # fmt: skip
    assert {name: value.item() for name, value in found.items()} == pytest.approx(right, abs=1e-10)
    texts = {
        "z1": 0.6, "h1": 0.6, "z2": -0.1, "y1": 0.475, "dL/dy1": -2.105, "dL/dz2": -0.524, "dL/dw2": -0.314,
        "dL/db2": -0.524, "dL/dh1": 0.524, "dL/dz1": 0.524, "dL/dw1": 0.262, "dL/db1": 0.524, "w1": 0.774, "b1": 0.148,
        "w2": -0.969, "b2": 0.552,
    }  # fmt: skip
    assert {name: value.item() for name, value in found.items()} == pytest.approx(texts, abs=1.01e-3)
    assert {name: round(found[name].item(), 3) for name in ("w1", "b1", "w2", "b2")} == {
        "w1": 0.774, "b1": 0.148, "w2": -0.969, "b2": 0.552
    }  # fmt: skip
    assert t.loss == pytest.approx(0.7443966601, abs=1e-10)  # 0.744
    assert e["loss_before"] == pytest.approx(t.loss, abs=1e-15) and e["loss_after"] < e["loss_before"]
    for array, expected in zip(e["net"].get_weights(), ("w1", "b1", "w2", "b2"), strict=True):
        assert array.item() == pytest.approx(right[expected], abs=1e-10)
    printed = capsys.readouterr().out
    for number in ("0.744397", "-0.524979", "0.773751", "0.147502", "-0.968501", "0.552498"):
        assert number in printed


def test_binary_cross_entropy_at_its_ends(example):
    e = example("iteration")
    tiny = np.finfo(float).tiny
    assert e["ends"][0.0, 0.0][0] == 0 and e["ends"][1.0, 1.0][0] == 0
    for at in ((0.0, 1.0), (1.0, 0.0)):
        assert e["ends"][at][0] == pytest.approx(-np.log(tiny)) == pytest.approx(708.3964185)
    assert e["ends"][0.0, 0.0][1] == 1 and e["ends"][1.0, 1.0][1] == -1  # (p - y) / (p (1 - p)) without 0 / 0
    assert e["ends"][0.0, 1.0][1] == pytest.approx(-1 / tiny) and e["ends"][1.0, 0.0][1] == pytest.approx(1 / tiny)
    assert np.isfinite([value for pair in e["ends"].values() for value in pair]).all()
    assert e["clipped"][0.0, 1.0] == pytest.approx(-np.log(1e-12))
    assert e["clipped"][1.0, 0.0] == pytest.approx(-np.log(1e-12), rel=1e-5)  # 1 - (1 - 1e-12) is 1.00009e-12
    assert e["clipped"][1.0, 1.0] == pytest.approx(1e-12, rel=1e-4)
    p, y = e["p"], e["y"]
    np.testing.assert_allclose(e["slopes"], (p - y) / (p * (1 - p)) / 4, rtol=1e-14)
    assert e["far_loss"] == 1000 and e["far_gradients"][0].item() == 1


def test_xor(example):
    e = example("xor")
    assert e["largest_difference"] < 1e-15
    assert e["losses"][0] > 0.6 and e["losses"][-1] < 0.02 and len(e["losses"]) == 5000
    assert e["output"].round()[:, 0].tolist() == [0, 1, 1, 0]
    assert e["squared_output"].round()[:, 0].tolist() == [0, 1, 1, 0]
    assert e["right"] < 0.01 and e["mistaken"] > 0.4


def test_zero_weights(example):
    e = example("zero_weights")
    for (activation, initializer), net in e["trained"].items():
        hidden = net.get_weights()[0]
        equal = bool((hidden == hidden[:, :1]).all())
        right = net.predict(e["X"]).round()[:, 0].tolist() == [0, 1, 1, 0]
        assert (equal, right) == ((True, False) if initializer == "zeros" else (False, True)), (activation, initializer)
        if (activation, initializer) == ("relu", "zeros"):
            assert not hidden.any()
    assert (e["gradient"] == e["gradient"][:, :1]).all() and e["gradient"].all()


def test_keras_and_pytorch(example):
    e = example("keras_pytorch")
    assert [array.shape for array in e["keras_like"].get_weights()] == [
        (4, 64), (64,), (64, 32), (32,), (32, 1), (1,)
    ]  # fmt: skip
    assert [layer.n_parameters for layer in e["keras_like"].layers] == [320, 2080, 33]
    assert e["keras_like"].n_parameters == 2433
    assert [array.shape for array in e["as_torch"]] == [(8, 4), (8,), (4, 8), (4,), (1, 4), (1,)]
    assert [layer.n_parameters for layer in e["torch_like"].layers] == [40, 36, 5]
    assert e["torch_like"].n_parameters == 81
    assert min(e["accuracies"]) > 0.8


def test_approximation(example):
    errors = example("approximation")["errors"]
    assert errors[2] > 3 * errors[8] and errors[8] > 3 * errors[64] and errors[64] < 0.01, errors


def test_regression(example):
    e = example("regression")
    assert e["error"] < 0.5 * e["line_error"] and e["r2"] > 0.97


def test_forecasting(example):
    e = example("forecasting")
    assert e["error"] < 0.9 * e["naive"] and e["ahead_error"] < 0.6


def test_classification(example):
    e = example("classification")
    assert e["accuracy"] > 0.95 and e["sure_right"] > e["sure_wrong"] + 0.1
    assert e["confusion"].sum() == len(e["y_test"]) and np.trace(e["confusion"]) / len(e["y_test"]) == e["accuracy"]


def test_autoencoder(example):
    e = example("autoencoder")
    assert e["error"] < 0.4 * e["mean_error"] and e["accuracy"] > 0.8
    assert e["features_test"].shape == (len(e["X_test"]), 8)
    np.testing.assert_array_equal(e["features_test"], e["same"])


def test_every_example_is_tested():
    source = Path(__file__).read_text(encoding="utf-8")
    assert all(f'example("{path.stem}")' in source for path in EXAMPLES.glob("*.py"))
