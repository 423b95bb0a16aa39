"""L-BFGS and Levenberg-Marquardt: SciPy's minima, their formulas, and what training asks of them."""

from __future__ import annotations

import signal
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import nncore as nn
from nncore import second_order
from nncore._jacobian import normal_equations
from nncore._line_search import strong_wolfe

FILE = np.load(Path(__file__).parent / "data" / "optimizers.npz")
BOTH = [nn.LBFGS, nn.LevenbergMarquardt]


def network(backend, dtype="float64", layers=(5, 7, 3), seed=1, **settings):
    settings = {"activation": "tanh", "output": "identity", **settings}
    return nn.MLP(list(layers), dtype=dtype, seed=seed, backend=backend, **settings)


def started(backend, dtype="float64"):
    net = network(backend, dtype)
    net.set_weights([FILE[f"start {i}"] for i in range(4)])
    return net


def sine(n=60):
    X = np.linspace(0, 3, n)[:, None]  # about 0 an odd function would never move the biases
    return X, np.sin(2 * X)


def rosenbrock(x):
    value = 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    gradient = [-400 * x[0] * (x[1] - x[0] ** 2) - 2 * (1 - x[0]), 200 * (x[1] - x[0] ** 2)]
    return float(value), np.array(gradient)


# ------------------------------------------------------------------------------------------------------------ L-BFGS


def test_rosenbrocks_valley():
    x = np.array([-1.2, 1.0])
    point, pairs, values = (x, *rosenbrock(x)), [], []
    for _ in range(60):
        point, pairs = second_order.lbfgs_iteration(rosenbrock, point, pairs, 10)
        values.append(point[1])
        assert len(pairs) <= 10
    np.testing.assert_allclose(point[0], [1, 1], rtol=1e-8)
    assert values == sorted(values, reverse=True)
    assert values[5] > 1e-3  # it is no easy one


def test_the_product_is_that_of_the_bfgs_matrix(rng):
    """Nocedal and Wright, equation 7.16: H := V' H V + s s' / s.y, V = I - y s' / s.y, from (s.y / y.y) I."""
    hessian = rng.standard_normal((6, 6))
    hessian = hessian @ hessian.T + np.eye(6)
    pairs = [(s, hessian @ s) for s in rng.standard_normal((4, 6))]
    s, y = pairs[-1]
    H = np.eye(6) * (s @ y) / (y @ y)
    for s, y in pairs:
        V = np.eye(6) - np.outer(y, s) / (s @ y)
        H = V.T @ H @ V + np.outer(s, s) / (s @ y)
    g = rng.standard_normal(6)
    np.testing.assert_allclose(second_order.lbfgs_product(g, pairs), H @ g, rtol=1e-10)
    np.testing.assert_array_equal(second_order.lbfgs_product(g, []), g)


FUNCTIONS = {
    "parabola": lambda t: ((t - 3) ** 2, 2 * (t - 3)),
    "far away": lambda t: ((t - 3e4) ** 2, 2 * (t - 3e4)),
    "quartic": lambda t: ((t - 0.01) ** 4, 4 * (t - 0.01) ** 3),
    "wavy": lambda t: (-t + np.sin(5 * t) / 2 + 0.01 * t * t, -1 + 2.5 * np.cos(5 * t) + 0.02 * t),
    "wall": lambda t: (t * t - t, 2 * t - 1) if t < 0.7 else (np.inf, np.nan),
}


@pytest.mark.parametrize("first", [1e-4, 0.3, 1.0, 50.0])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_line_search_meets_the_strong_wolfe_conditions(name, first):
    shift = 0.3 if name == "wavy" else 0.0  # where it falls

    def along(t):
        value, slope = FUNCTIONS[name](t + shift)
        return value, slope, t

    value, slope, _ = along(0.0)
    assert slope < 0
    t = strong_wolfe(along, value, slope, first)
    there, its_slope, _ = along(t)
    assert there <= value + 1e-4 * t * slope
    assert abs(its_slope) <= 0.9 * abs(slope)


def test_the_line_search_gives_up_where_nothing_is_lower():
    calls = []

    def along(t):
        calls.append(t)
        return 1.0 + t, -1.0, t  # a slope that lies

    assert strong_wolfe(along, 1.0, -1.0, 1.0) is None
    assert 1 < len(calls) <= 26


def test_lbfgs_reaches_scipys_minimum_of_a_convex_loss(backend):
    net = nn.MLP([5, 1], output="sigmoid", dtype="float64", initializer="zeros", backend=backend)
    history = net.fit(FILE["X"], FILE["labels"], optimizer="lbfgs", epochs=60, batch_size=None)
    right = FILE["logistic"]
    assert net.evaluate(FILE["X"], FILE["labels"])["loss"] == pytest.approx(right[-1], abs=1e-12)
    np.testing.assert_allclose(np.concatenate([w.ravel() for w in net.get_weights()]), right[:-1], rtol=1e-5)
    losses = history.history["loss"]
    assert losses[0] == pytest.approx(np.log(2))  # that before the first iteration
    assert losses == sorted(losses, reverse=True)


def test_lbfgs_keeps_up_with_scipy_on_a_network(backend):
    net = started(backend)
    for iterations, epochs in ((30, 30), (100, 70)):
        net.fit(FILE["X"], FILE["y"], optimizer=nn.LBFGS(), epochs=epochs, batch_size=None)
        assert net.evaluate(FILE["X"], FILE["y"])["loss"] < 1.1 * FILE[f"squares {iterations}"]


def test_a_longer_history_helps(backend):
    losses = []
    for history in (1, 20):
        net = started(backend)
        net.fit(FILE["X"], FILE["y"], optimizer=nn.LBFGS(history=history), epochs=60, batch_size=None)
        losses.append(net.evaluate(FILE["X"], FILE["y"])["loss"])
    assert losses[1] < losses[0]


def test_float32_stops_at_its_precision_and_stays(backend):
    net = started(backend, "float32")
    losses = net.fit(FILE["X"], FILE["y"], optimizer="lbfgs", epochs=400, batch_size=None).history["loss"]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < 1.1 * FILE["squares 100"]


# ----------------------------------------------------------------------------------------------- Levenberg-Marquardt


def test_a_linear_network_is_solved_at_once(backend, rng):
    X = rng.standard_normal((50, 4))
    y = X @ rng.standard_normal((4, 2)) + 3
    net = network(backend, layers=(4, 2))
    net.fit(X, y, optimizer=nn.LevenbergMarquardt(1e-12), epochs=1, batch_size=None)
    assert net.evaluate(X, y)["loss"] < 1e-18


def test_levenberg_marquardt_fits_a_sine_far_better_than_adam(backend):
    X, y = sine()
    losses = {}
    for optimizer in ("adam", "levenberg_marquardt"):
        net = network(backend, layers=(1, 10, 1))
        history = net.fit(X, y, optimizer=optimizer, epochs=60, batch_size=None)
        losses[optimizer] = net.evaluate(X, y)["loss"]
    assert losses["levenberg_marquardt"] < 1e-5 < 1e-2 < losses["adam"]
    found = history.history["loss"]
    assert found == sorted(found, reverse=True)


def test_damping_is_divided_and_multiplied_by_10(backend):
    X, y = sine()
    net, optimizer = network(backend, layers=(1, 4, 1)), nn.LevenbergMarquardt(1.0)
    net.train_step(X, y, optimizer=optimizer)
    assert optimizer.state()["damping"] == pytest.approx(0.1)
    net = network(backend, layers=(1, 4, 1))
    optimizer = nn.LevenbergMarquardt(1e-15)
    net.fit(X, y, optimizer=optimizer, epochs=5, batch_size=None)
    power = np.log10(optimizer.state()["damping"])
    assert power == pytest.approx(round(power))
    assert power > -15  # Gauss-Newton alone overshoots here
    # At the minimum nothing is lower: weights and damping stay.
    flat = network(backend, layers=(1, 1))
    flat.set_weights([[[0.0]], [2.0]])
    optimizer = nn.LevenbergMarquardt(0.5)
    assert flat.train_step([[1.0], [2.0]], [2.0, 2.0], optimizer=optimizer) == 0.0
    assert optimizer.state()["damping"] == 0.5
    np.testing.assert_array_equal(flat.get_weights()[1], [2.0])


def test_one_iteration_is_the_formula(backend):
    net = started(backend)
    functions = [layer.activation for layer in net.layers]
    start = np.concatenate([w.ravel() for w in net.get_weights()])
    squares, slope, _ = normal_equations(functions, net.get_weights(), FILE["X"], FILE["y"])
    right = start - np.linalg.solve(squares + 0.01 * np.eye(len(start)), slope)
    net.train_step(FILE["X"], FILE["y"], optimizer=nn.LevenbergMarquardt(0.01))
    np.testing.assert_allclose(np.concatenate([w.ravel() for w in net.get_weights()]), right, rtol=1e-9, atol=1e-12)


# ------------------------------------------------------------------------------------------------------ both of them


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_n_calls_are_one_of_n_epochs_and_train_step_is_one(backend, kind, dtype):
    found = []
    for parts in ((6,), (1, 2, 3), None):
        net, optimizer = started(backend, dtype), kind()
        if parts is None:
            losses = [net.train_step(FILE["X"], FILE["y"], optimizer) for _ in range(6)]
        else:
            losses = []
            for epochs in parts:
                history = net.fit(FILE["X"], FILE["y"], optimizer=optimizer, epochs=epochs, batch_size=None)
                losses += history.history["loss"]
        assert optimizer.steps == 6
        found.append(([w.tobytes() for w in net.get_weights()], losses))
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("kind", BOTH)
def test_the_backends_agree(kind):
    pytest.importorskip("nncore._core")
    nets = [started(backend) for backend in ("native", "numpy")]
    for net in nets:
        net.fit(FILE["X"], FILE["y"], optimizer=kind(), epochs=8, batch_size=None)
    for a, b in zip(*(net.get_weights() for net in nets), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("kind", BOTH)
def test_metrics_validation_and_threads(backend, kind):
    net, twin = started(backend), started(backend)
    before = nn.get_num_threads()
    history = net.fit(
        FILE["X"], FILE["y"], optimizer=kind(), epochs=3, batch_size=1000, metrics=["mse"], threads=1,
        validation_data=(FILE["X"], FILE["y"]),
    )  # fmt: skip
    assert nn.get_num_threads() == before
    assert history.history["mse"] == pytest.approx(history.history["loss"])
    assert history.history["val_loss"][:-1] == pytest.approx(history.history["loss"][1:])
    twin.fit(FILE["X"], FILE["y"], optimizer=kind(), epochs=3, batch_size=None)
    assert [w.tobytes() for w in net.get_weights()] == [w.tobytes() for w in twin.get_weights()]


@pytest.mark.parametrize("kind", BOTH)
def test_batches_are_refused(backend, kind):
    net, optimizer = started(backend), kind()
    with pytest.raises(ValueError, match=rf"batch_size is 32; {kind.__name__} takes all rows at once: .* at least 40"):
        net.fit(FILE["X"], FILE["y"], optimizer=optimizer)
    started(backend).fit(FILE["X"], FILE["y"], optimizer=optimizer, epochs=0, batch_size=40)  # it belonged to nobody


def test_what_they_cannot_do_is_refused(backend):
    softmax = nn.MLP([4, 3], output="softmax", backend=backend)
    with pytest.raises(ValueError, match="loss is 'cross_entropy'; LevenbergMarquardt takes 'mse'"):
        softmax.fit(np.zeros((6, 4)), [0, 1, 2] * 2, optimizer="levenberg_marquardt", batch_size=None)
    with pytest.raises(AttributeError, match="LBFGS has no learning_rate"):
        nn.LBFGS().learning_rate = 0.1
    with pytest.raises(AttributeError, match="LevenbergMarquardt has no learning_rate"):
        _ = nn.LevenbergMarquardt().learning_rate
    for make, error, message in (
        (lambda: nn.LBFGS(history=0), ValueError, "history is 0"),
        (lambda: nn.LBFGS(history=1.5), TypeError, "history is 1.5"),
        (lambda: nn.LevenbergMarquardt(0), ValueError, "damping is 0"),
        (lambda: nn.LevenbergMarquardt("a"), TypeError, "damping is 'a'"),
        (lambda: softmax.plan(6, "lbfgs"), ValueError, r"optimizer is LBFGS\(history=10\), whose iterations"),
    ):
        with pytest.raises(error, match=message):
            make()
    assert repr(nn.LBFGS(3)) == "LBFGS(history=3)"
    assert repr(nn.LevenbergMarquardt()) == "LevenbergMarquardt(damping=0.001)"


REFUSED = {
    "Dropout": (lambda: [nn.Dense(5, 4), nn.Dropout(0.5), nn.Dense(4, 3)], "layer 1 is Dropout"),
    "noise": (lambda: [nn.GaussianNoise(0.5), nn.Dense(5, 3)], "layer 0 is GaussianNoise"),
    "BatchNorm": (lambda: [nn.Dense(5, 4), nn.BatchNorm(), nn.Dense(4, 3)], "layer 1 is BatchNorm"),
    "l1": (lambda: [nn.Dense(5, 4), nn.Dense(4, 3, l1=0.1)], "layer 1 has l1=0.1"),
    "max_norm": (lambda: [nn.Dense(5, 4, max_norm=2.0), nn.Dense(4, 3)], "layer 0 has max_norm=2.0"),
    "decay": (lambda: [nn.Dense(5, 4, weight_decay=2.0), nn.Dense(4, 3)], "layer 0 has weight_decay=2.0"),
    "l2": (lambda: [nn.Dense(5, 4, l2=0.1), nn.Dense(4, 3)], "layer 0 has l2=0.1.* expected LBFGS"),
    "LayerNorm": (lambda: [nn.Dense(5, 4), nn.LayerNorm(), nn.Dense(4, 3)], "layer 1 is LayerNorm"),
}


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("case", REFUSED)
def test_layers_that_they_cannot_do_right_are_refused(backend, kind, case):
    make, message = REFUSED[case]
    net, optimizer = nn.Sequential(make(), dtype="float64", backend=backend), kind()
    before = net.get_weights()
    if kind is nn.LBFGS and case in ("l2", "LayerNorm"):
        loss = net.fit(FILE["X"], FILE["y"], optimizer=optimizer, epochs=30, batch_size=None).history["loss"]
        assert loss[-1] < loss[0] - 0.02
        return
    with pytest.raises(ValueError, match=message):
        net.fit(FILE["X"], FILE["y"], optimizer=optimizer, epochs=3, batch_size=None)
    with pytest.raises(ValueError, match=message):
        net.train_step(FILE["X"], FILE["y"], optimizer=optimizer)
    for a, b in zip(before, net.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    started(backend).fit(FILE["X"], FILE["y"], optimizer=optimizer, epochs=0, batch_size=40)  # it belonged to nobody


def test_lbfgs_lowers_the_penalty_with_the_loss_and_reports_the_loss_alone(backend, rng):
    """Ridge regression has its minimum in closed form: (X'X 2 / (n k) + l2) W = X'Y 2 / (n k), biases free."""
    X, y, l2 = rng.standard_normal((60, 4)), rng.standard_normal((60, 2)) + 3, 0.3
    net = nn.Sequential([nn.Dense(4, 2, l2=l2)], dtype="float64", backend=backend)
    history = net.fit(X, y, optimizer=nn.LBFGS(), epochs=40, batch_size=None)
    Xc, yc, scale = X - X.mean(axis=0), y - y.mean(axis=0), 2 / y.size
    W = np.linalg.solve(scale * Xc.T @ Xc + l2 * np.eye(4), scale * Xc.T @ yc)
    np.testing.assert_allclose(net.get_weights()[0], W, atol=1e-7)
    np.testing.assert_allclose(net.get_weights()[1], y.mean(axis=0) - X.mean(axis=0) @ W, atol=1e-7)
    assert history.history["loss"][-1] == pytest.approx(net.evaluate(X, y)["loss"], rel=1e-9)
    first = nn.Sequential([nn.Dense(4, 2, l2=l2)], dtype="float64", backend=backend)
    assert history.history["loss"][0] == pytest.approx(first.evaluate(X, y)["loss"], rel=1e-14)
    assert first.train_step(X, y, optimizer=nn.LBFGS()) == history.history["loss"][0]


def test_the_penalised_loss_never_rises(backend):
    layers = [nn.Dense(5, 7, "tanh", l2=0.02), nn.Dense(7, 3, l2=0.1)]
    net, optimizer = nn.Sequential(layers, dtype="float64", seed=2, backend=backend), nn.LBFGS()
    found = []
    for _ in range(30):
        weights = net.get_weights()
        loss = net.train_step(FILE["X"], FILE["y"], optimizer=optimizer)
        assert loss == pytest.approx(nn.losses.get("mse")(
            np.tanh(FILE["X"] @ weights[0] + weights[1]) @ weights[2] + weights[3], FILE["y"]), rel=1e-12)  # fmt: skip
        found.append(loss + 0.01 * (weights[0] ** 2).sum() + 0.05 * (weights[2] ** 2).sum())
    assert all(b <= a for a, b in pairwise(found))
    assert found[-1] < 0.9 * found[0]


def test_a_jacobian_that_cannot_fit_is_refused_with_its_size(backend):
    net = network(backend, "float32", (1000, 1000, 1))
    message = r"LevenbergMarquardt takes 24,096,\d{3},\d{3},\d{3} bytes .* 1,002,001 parameters"
    with pytest.raises(MemoryError, match=message):
        net.train_step(np.zeros((1, 1000)), [[0.0]], optimizer="levenberg_marquardt")


@pytest.mark.parametrize("kind", BOTH)
@pytest.mark.parametrize("argument", ["X", "y"])
def test_bad_data_are_named_and_change_nothing(backend, kind, argument):
    net, optimizer = started(backend), kind()
    before = net.get_weights()
    data = {"X": FILE["X"].copy(), "y": FILE["y"].copy()}
    data[argument][17, 1] = np.nan
    with pytest.raises(ValueError, match=f"{argument} has a non-finite value .* row 17"):
        net.fit(**data, optimizer=optimizer, batch_size=None)
    assert optimizer.steps == 0
    for a, b in zip(net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    network(backend).train_step(FILE["X"], FILE["y"], optimizer=optimizer)  # it belongs to nobody yet


@pytest.mark.parametrize("kind", BOTH)
def test_a_loss_that_overflows_is_divergence_with_the_weights_as_they_were(backend, kind):
    net = network(backend, "float32", (2, 3, 1), activation="relu")
    net.set_weights([np.full(w.shape, 1e15) for w in net.get_weights()])
    optimizer = kind()
    with pytest.raises(nn.DivergenceError, match="epoch 1, step 1"):
        net.fit(np.full((4, 2), 1e12), np.zeros((4, 1)), optimizer=optimizer, batch_size=None)
    with pytest.raises(nn.DivergenceError):
        net.train_step(np.full((4, 2), 1e12), np.zeros((4, 1)), optimizer=optimizer)
    assert optimizer.steps == 0
    assert all((w == np.float32(1e15)).all() for w in net.get_weights())


@pytest.mark.parametrize("kind", BOTH)
def test_steep_losses_leave_finite_weights(backend, kind, rng):
    net = network(backend, "float32", (3, 4, 1), activation="relu")
    X, y = 1e4 * rng.standard_normal((20, 3)), 1e6 * rng.standard_normal((20, 1))
    losses = net.fit(X, y, optimizer=kind(), epochs=20, batch_size=None).history["loss"]
    assert losses == sorted(losses, reverse=True)
    assert all(np.isfinite(w).all() for w in net.get_weights())


@pytest.mark.parametrize("kind", BOTH)
def test_ctrl_c_within_an_iteration_leaves_it_undone(backend, kind, monkeypatch):
    net, twin = started(backend), started(backend)
    optimizer, other = kind(), kind()
    settle, calls = second_order.Problem.settle, []

    def interrupted(self, point):
        calls.append(1)
        if len(calls) == 4:
            self.engine.inner.set_weights([w + 1 for w in self.engine.inner.get_weights()])
            signal.raise_signal(signal.SIGINT)
        settle(self, point)

    with monkeypatch.context() as patch:
        patch.setattr(second_order.Problem, "settle", interrupted)
        with pytest.raises(KeyboardInterrupt):
            net.fit(FILE["X"], FILE["y"], optimizer=optimizer, epochs=9, batch_size=None)
    twin.fit(FILE["X"], FILE["y"], optimizer=other, epochs=3, batch_size=None)
    assert net.history.epochs == optimizer.steps == 3
    assert [w.tobytes() for w in net.get_weights()] == [w.tobytes() for w in twin.get_weights()]
    for used, its in ((net, optimizer), (twin, other)):
        used.fit(FILE["X"], FILE["y"], optimizer=its, epochs=3, batch_size=None)
    assert [w.tobytes() for w in net.get_weights()] == [w.tobytes() for w in twin.get_weights()]


def test_weights_set_between_two_iterations_are_seen(backend):
    net, twin = started(backend), network(backend)
    optimizer = nn.LBFGS()
    net.fit(FILE["X"], FILE["y"], optimizer=optimizer, epochs=1, batch_size=None)
    net.set_weights(twin.get_weights())
    found = net.train_step(FILE["X"], FILE["y"], optimizer=optimizer)
    assert found == pytest.approx(twin.evaluate(FILE["X"], FILE["y"])["loss"])


def test_lbfgs_gives_the_same_bits_for_any_number_of_threads(rng):
    pytest.importorskip("nncore._core")
    X, y = rng.standard_normal((300, 9)), rng.standard_normal((300, 3))
    found = []
    for threads in (1, 2, 3):
        net = network("native", "float32", (9, 40, 21, 3))
        with nn.testing.force_threads(threads):
            net.fit(X, y, optimizer="lbfgs", epochs=8, batch_size=None)
        found.append([w.tobytes() for w in net.get_weights()])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("optimizer", BOTH)
@pytest.mark.parametrize("weighted", [False, True])
def test_callbacks_see_each_iteration(backend, optimizer, weighted, tmp_path):
    """The loss of a batch, which is all rows, is that of the epoch; and a run goes on to the same bits."""
    X, y = sine()
    weights = {"sample_weight": np.linspace(0, 3, 60)} if weighted else {}
    seen, path = [], tmp_path / "run.npz"

    class Batches(nn.callbacks.Callback):
        def on_batch_end(self, batch, logs):
            seen.append((batch, logs["loss"]))

    class Killed(nn.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 2:
                raise SystemExit

    call = {"batch_size": None, "epochs": 5, "metrics": ["mae"], **weights}
    whole, cut, resumed = (network(backend, layers=(1, 5, 1)) for _ in range(3))
    expected = whole.fit(X, y, optimizer=optimizer(), callbacks=[Batches()], **call)
    assert [batch for batch, _ in seen] == [0] * 5
    np.testing.assert_allclose([loss for _, loss in seen], expected.history["loss"], rtol=1e-13)
    with pytest.raises(SystemExit):
        cut.fit(X, y, optimizer=optimizer(), callbacks=[Killed(), nn.callbacks.Checkpoint(path, steps=1)], **call)
    history = resumed.fit(X, y, optimizer=optimizer(), resume=path, callbacks=[Batches()], **call)
    assert len(seen) == 5 + 3  # the third epoch had no checkpoint yet
    assert history.history == expected.history
    for a, b in zip(resumed.get_weights(), whole.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
