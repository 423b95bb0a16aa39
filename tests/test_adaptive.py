"""The optimizers in training, in both backends: PyTorch's right values, Lion's paper, and what all must keep to."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import nncore as nn

FILE = np.load(Path(__file__).parent / "data" / "optimizers.npz")
MADE = json.loads(str(FILE["made"]))
KINDS = [
    lambda **s: nn.SGD(0.05, **s),
    lambda **s: nn.SGD(0.05, momentum=0.9, nesterov=True, **s),
    lambda **s: nn.Adam(0.01, **s),
    lambda **s: nn.AdamW(0.01, **s),
    lambda **s: nn.NAdam(0.01, **s),
    lambda **s: nn.RMSprop(0.01, **s),
    lambda **s: nn.Adagrad(0.05, **s),
    lambda **s: nn.Lion(0.01, **s),
]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: repr(kind()))


def network(backend, dtype="float64", layers=(5, 7, 3), seed=1):
    return nn.MLP(list(layers), activation="tanh", output="identity", dtype=dtype, seed=seed, backend=backend)


def started(backend):
    """Return the network of the file with its first weights."""
    net = network(backend)
    net.set_weights([FILE[f"start {i}"] for i in range(4)])
    return net


def largest_difference(weights, others):
    return max(np.abs(a.astype(np.float64) - b).max() for a, b in zip(weights, others, strict=True))


@pytest.mark.parametrize("case", MADE["cases"])
def test_as_pytorch_after_20_steps(backend, case):
    kind, settings = MADE["cases"][case]
    net, optimizer = started(backend), getattr(nn, kind)(**settings)
    for calls, epochs in ((3, 1), (1, 17)):  # in several calls, whose state must go on
        for _ in range(calls):
            net.fit(FILE["X"], FILE["y"], optimizer=optimizer, epochs=epochs, batch_size=None)
    assert optimizer.steps == MADE["steps"]
    right = [FILE[f"{case} {i}"] for i in range(4)]
    assert largest_difference(net.get_weights(), right) < 1e-9
    assert largest_difference([FILE[f"start {i}"] for i in range(4)], right) > 1e-2


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_lion_is_algorithm_2_of_its_paper(backend, decay):
    """Chen et al. 2023: update c, step by its sign and the decay, then the momentum. Biases do not decay."""
    net = started(backend)
    weights = [FILE[f"start {i}"].copy() for i in range(4)]
    momenta = [np.zeros_like(w) for w in weights]
    twin = started("numpy")
    for _ in range(20):
        twin.set_weights(weights)
        _, gradients = twin.loss_and_gradients(FILE["X"], FILE["y"])
        for w, g, m in zip(weights, gradients, momenta, strict=True):
            c = 0.8 * m + (1 - 0.8) * g
            w -= 0.01 * (np.sign(c) + (decay if w.ndim == 2 else 0) * w)
            m[...] = 0.95 * m + (1 - 0.95) * g
    optimizer = nn.Lion(0.01, beta1=0.8, beta2=0.95, weight_decay=decay)
    net.fit(FILE["X"], FILE["y"], optimizer=optimizer, epochs=20, batch_size=None)
    assert largest_difference(net.get_weights(), weights) < 1e-12
    assert largest_difference(optimizer.state()["slots"][0], momenta) < 1e-12


@every_kind
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(5, 7, 3), (13, 33, 18, 2)])
def test_the_backends_agree(kind, dtype, shape, rng):
    pytest.importorskip("nncore._core")
    X, y = rng.standard_normal((90, shape[0])), rng.standard_normal((90, shape[-1]))
    nets = [network(name, dtype, shape) for name in ("native", "numpy")]
    optimizers = [kind(weight_decay=0.1) for _ in nets]
    for net, optimizer in zip(nets, optimizers, strict=True):
        net.fit(X, y, optimizer=optimizer, epochs=3, batch_size=16)
    native, plain = (net.get_weights() for net in nets)
    # Lion's sign may fall differently where the float32 average all but cancels: a step of 2 rates, here 0.02.
    limit = 1e-11 if dtype == "float64" else 0.05 if optimizers[0].name == "lion" else 1e-4
    assert largest_difference(native, plain) < limit
    assert largest_difference(native, network("numpy", dtype, shape).get_weights()) > 0.01


@every_kind
def test_any_number_of_threads_gives_the_same_bits(kind, rng):
    pytest.importorskip("nncore._core")
    for rows, shape in ((64, (9, 40, 21, 3)), (700, (4, 6, 3))):  # in tiles, and in chunks
        X, y = rng.standard_normal((rows, shape[0])), rng.standard_normal((rows, shape[-1]))
        found = []
        for threads in (1, 2, 3):
            net = network("native", "float32", shape)
            with nn.testing.force_threads(threads):
                net.fit(X, y, optimizer=kind(weight_decay=0.1), epochs=2, batch_size=rows)
            found.append([w.tobytes() for w in net.get_weights()])
        assert found[0] == found[1] == found[2]


@every_kind
def test_n_calls_are_one_of_n_epochs(backend, kind, rng):
    X, y = rng.standard_normal((50, 5)), rng.standard_normal((50, 3))
    whole, parts = network(backend), network(backend)
    one, kept = kind(), kind()
    whole.fit(X, y, optimizer=one, epochs=5, batch_size=8)
    for epochs in (1, 1, 3):
        parts.fit(X, y, optimizer=kept, epochs=epochs, batch_size=8)
    assert [w.tobytes() for w in whole.get_weights()] == [w.tobytes() for w in parts.get_weights()]
    assert one.steps == kept.steps == 35


@every_kind
def test_a_rate_of_0_changes_nothing_and_decay_spares_the_biases(backend, kind):
    net = started(backend)
    net.set_weights([w + 0.5 if w.ndim == 1 else w for w in net.get_weights()])
    before = net.get_weights()
    optimizer = kind(weight_decay=0.5)
    optimizer.learning_rate = 0.0
    net.train_step(FILE["X"], FILE["y"], optimizer=optimizer)
    for a, b in zip(net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    # Where the gradient is 0 the weights fall towards 0, if there is decay, and the biases stay.
    twin, fresh = network(backend, layers=(2, 1)), kind(weight_decay=0.5)
    twin.set_weights([[[1.0], [2.0]], [3.0]])
    twin.train_step([[0.0, 0.0]], [[3.0]], optimizer=fresh)
    weight, bias = twin.get_weights()
    assert (weight[:, 0] < [1, 2]).all()
    assert bias[0] == 3.0


@pytest.mark.parametrize("kind", [nn.Adam, nn.AdamW, nn.NAdam, nn.RMSprop, nn.Adagrad])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_gradient_and_a_vanishing_epsilon(backend, kind, dtype):
    net = network(backend, dtype, (2, 1))
    net.set_weights([[[1.0], [2.0]], [3.0]])
    net.train_step([[0.0, 0.0]], [[3.0]], optimizer=kind(epsilon=1e-320, **({"weight_decay": 0.0})))
    np.testing.assert_array_equal(net.get_weights()[0], np.array([[1], [2]], dtype))


def test_the_product_of_nadam_follows_from_the_step_alone(backend, rng):
    optimizer = nn.NAdam(beta1=0.9)
    product, mus = 1.0, [0.9 * (1 - 0.5 * 0.96 ** (t * 4e-3)) for t in range(1, 41)]
    for mu in mus:
        product *= mu
    assert optimizer._mu_product(40) == product
    assert optimizer._mu_product(20) == nn.NAdam()._mu_product(20)  # back, as after a restored epoch
    assert optimizer._mu_product(40) == product
    assert nn.NAdam()._mu_product(10**9) == 0.0
    X, y = rng.standard_normal((30, 5)), rng.standard_normal((30, 3))
    net, used = network(backend), nn.NAdam()
    for steps in (15, 165):  # where the product is a number, and where it is 0
        net.fit(X, y, optimizer=used, epochs=(steps - used.steps) // 5, batch_size=7)
        assert used._product == (steps, nn.NAdam()._mu_product(steps))


def test_divergence_takes_nadam_back_to_the_start_of_the_epoch(backend, rng):
    X, y = rng.standard_normal((64, 5)), rng.standard_normal((64, 3))
    net, twin = network(backend, "float32"), network(backend, "float32")
    optimizer, other = nn.NAdam(0.01), nn.NAdam(0.01)
    for used, its in ((net, optimizer), (twin, other)):
        used.fit(X, y, optimizer=its, epochs=2, batch_size=8)
    optimizer.learning_rate = lambda step: 1e38 if step > 18 else 0.01
    with pytest.raises(nn.DivergenceError):
        net.fit(X, y, optimizer=optimizer, epochs=2, batch_size=8)
    assert optimizer.steps == other.steps == 16
    optimizer.learning_rate = 0.01
    for used, its in ((net, optimizer), (twin, other)):
        used.fit(X, y, optimizer=its, epochs=1, batch_size=8)
    assert [w.tobytes() for w in net.get_weights()] == [w.tobytes() for w in twin.get_weights()]
