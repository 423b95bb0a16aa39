"""Gradient clipping by value and by the norm of the whole gradient, in training on both backends."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import nncore as nn

KINDS = [nn.SGD, nn.Adam, nn.AdamW, nn.NAdam, nn.RMSprop, nn.Adagrad, nn.Lion]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
CLIPS = [{"clip_value": 0.01}, {"clip_norm": 0.05}, {"clip_norm": 0.3, "clip_value": 0.02}]
every_clip = pytest.mark.parametrize("clip", CLIPS, ids=str)


def layers(sizes):
    """Return layers of every kind that has parameters, of odd sizes, with penalties."""
    a, b, c = sizes
    return [nn.Dense(a, b, l2=0.01), nn.BatchNorm(activation="tanh"), nn.Dense(b, b, "tanh"), nn.LayerNorm(),
            nn.Dense(b, c, l1=0.001)]  # fmt: skip


def network(backend, dtype="float64", sizes=(5, 19, 3), plain=False):
    made = [nn.Dense(*sizes[:2], "tanh"), nn.Dense(*sizes[1:])] if plain else layers(sizes)
    return nn.Sequential(made, dtype=dtype, seed=1, backend=backend)


def data(rng, n=90, n_in=5, n_out=3):
    return rng.standard_normal((n, n_in)), 5 * rng.standard_normal((n, n_out))


def clipped(gradients, clip_value=None, clip_norm=None):
    """Return what clipping is to make of gradients: first the norm, then each number."""
    if clip_norm is not None:
        length = np.sqrt(sum((g**2).sum() for g in gradients))
        gradients = [g * min(1.0, clip_norm / length) for g in gradients]
    if clip_value is not None:
        gradients = [g.clip(-clip_value, clip_value) for g in gradients]
    return gradients


@every_clip
def test_a_step_of_gradient_descent_by_hand(backend, clip, rng):
    """Neither the layers' penalties nor the weight decay are clipped."""
    net, (X, y) = network(backend), data(rng)
    weights, (_, gradients) = net.get_weights(), net.loss_and_gradients(X, y)
    assert np.sqrt(sum((g**2).sum() for g in gradients)) > 0.3
    net.train_step(X, y, optimizer=nn.SGD(0.5, weight_decay=0.1, **clip))
    penalties = {0: 0.01 * weights[0], 8: 0.001 * np.sign(weights[8])}
    for i, (w, g, new) in enumerate(zip(weights, clipped(gradients, **clip), net.get_weights(), strict=True)):
        g = g + penalties.get(i, 0) + (0.1 * w if w.ndim == 2 else 0)
        np.testing.assert_allclose(new, w - 0.5 * g, rtol=1e-12, atol=1e-14, err_msg=f"weights[{i}]")


def test_numbers_worked_out_on_paper(backend):
    """x = (3, 4), z = 0, y = -1: dL/dz = 2, dW = (6, 8), db = 2, the norm is sqrt(104)."""
    for clip, moves in [
        ({"clip_norm": np.sqrt(104) / 2}, (3, 4, 1)),
        ({"clip_norm": 11.0}, (6, 8, 2)),  # longer than the gradient: nothing happens
        ({"clip_value": 7.0}, (6, 7, 2)),
        ({"clip_norm": np.sqrt(104) / 2, "clip_value": 3.5}, (3, 3.5, 1)),
    ]:
        net = nn.Sequential([nn.Dense(2, 1, initializer="zeros")], dtype="float64", backend=backend)
        net.train_step([[3.0, 4.0]], [-1.0], optimizer=nn.SGD(1.0, **clip))
        np.testing.assert_allclose(
            np.concatenate([w.ravel() for w in net.get_weights()]), np.negative(moves), rtol=1e-15
        )


def test_bounds_that_are_never_met_change_no_bit(backend, rng):
    X, y = data(rng)
    found = []
    for clip in ({}, {"clip_norm": 1e6}, {"clip_value": 1e300}):
        net = network(backend, "float32")
        net.fit(X, y, optimizer=nn.Adam(0.01, **clip), epochs=3, batch_size=16)
        found.append(b"".join(w.tobytes() for w in net.get_weights()))
    assert len(set(found)) == 1


@every_kind
@every_clip
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_backends_agree(kind, clip, dtype, rng):
    pytest.importorskip("nncore._core")
    X, y = data(rng)
    nets = [network(name, dtype) for name in ("native", "numpy")]
    rate = 0.001 if kind is nn.RMSprop else 0.01  # whose first steps are 10 rates long, and magnify roundings
    for net in nets:
        net.fit(X, y, optimizer=kind(rate, weight_decay=0.1, **clip), epochs=3, batch_size=16)
    unclipped = network("numpy", dtype)
    unclipped.fit(X, y, optimizer=kind(0.01, weight_decay=0.1), epochs=3, batch_size=16)

    def apart(other):
        return max(np.abs(a - b).max() for a, b in zip(nets[0].get_weights(), other.get_weights(), strict=True))

    # Lion's sign may fall differently where the float32 average all but cancels: a step of 2 rates, here 0.02.
    assert apart(nets[1]) < (1e-11 if dtype == "float64" else 0.05 if kind is nn.Lion else 2e-4)
    if kind is nn.SGD:  # the others undo most of a scaling
        assert apart(unclipped) > 1e-2


NORMED = {
    "at the ends": lambda: [nn.BatchNorm(), nn.Dense(13, 7, "tanh"), nn.Dense(7, 3), nn.BatchNorm()],
    "behind noise": lambda: [nn.GaussianNoise(0.3), nn.BatchNorm(activation="softplus"), nn.Dense(13, 7, "sigmoid"),
                             nn.GaussianNoise(0.3), nn.LayerNorm(activation="softplus"), nn.Dense(7, 3)],
    "behind dropout": lambda: [nn.Dropout(0.3), nn.BatchNorm(activation="sigmoid"), nn.Dense(13, 9, "softplus"),
                               nn.Dropout(0.3), nn.BatchNorm(activation="softplus"), nn.Dense(9, 3)],
}  # fmt: skip


@pytest.mark.parametrize("case", NORMED)
def test_what_lies_in_padding_does_not_count_in_the_norm(case, rng):
    """Columns past a layer's last hold rubbish, noise or f(0) in the core; their gradients must be 0 in the sum."""
    pytest.importorskip("nncore._core")
    (X, y), found = data(rng, 90, 13), []
    for name in ("native", "numpy"):
        net = nn.Sequential(NORMED[case](), dtype="float64", seed=2, backend=name)
        net.fit(X, y, optimizer=nn.SGD(0.1, momentum=0.9, clip_norm=0.05), epochs=4, batch_size=16)
        found.append(net.get_weights())
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-13)


@every_clip
@pytest.mark.parametrize(("rows", "sizes"), [(64, (9, 40, 3)), (700, (4, 6, 3))])  # in tiles, and in chunks
def test_any_number_of_threads_gives_the_same_bits(clip, rows, sizes, rng):
    pytest.importorskip("nncore._core")
    X, y = data(rng, rows, sizes[0], sizes[-1])
    for plain in (True, False):
        found = set()
        for threads in (1, 2, 3, 4, 7):
            net = network("native", "float32", sizes, plain)
            with nn.testing.force_threads(threads):
                net.fit(X, y, optimizer=nn.Adam(0.01, **clip), epochs=2, batch_size=rows)
            found.add(b"".join(w.tobytes() for w in net.get_weights()))
        assert len(found) == 1


def test_a_gradient_whose_square_overflows_its_type_is_scaled_all_the_same(backend):
    net = nn.Sequential([nn.Dense(2, 1, initializer="zeros")], dtype="float32", backend=backend)
    net.train_step([[3e15, 4e15]], [-1e15], optimizer=nn.SGD(1.0, clip_norm=1.0))
    np.testing.assert_allclose(net.get_weights()[0][:, 0], [-0.6, -0.8], rtol=1e-5)


@every_kind
def test_settings_are_kept_shown_and_fixed(kind):
    optimizer = kind(0.01, clip_value=0.5, clip_norm=2)
    assert repr(optimizer).endswith("clip_value=0.5, clip_norm=2.0)") or kind is nn.NAdam
    assert "clip_value=0.5, clip_norm=2.0" in repr(optimizer) and "clip" not in repr(kind(0.01))
    for twin in (copy.copy(optimizer), pickle.loads(pickle.dumps(optimizer)), optimizer._fresh()):
        assert (twin.clip_value, twin.clip_norm) == (0.5, 2.0)
    for name in ("clip_value", "clip_norm"):
        with pytest.raises(AttributeError, match=f"{name} is fixed"):
            setattr(optimizer, name, 1.0)
    str(network(None).plan(16, optimizer))


def test_a_run_goes_on_from_a_checkpoint_only_with_the_same_bounds(backend, rng, tmp_path):
    X, y = data(rng)
    path, clip = tmp_path / "run", {"clip_norm": 0.05}
    whole, first, second = (network(backend, "float32") for _ in range(3))
    whole.fit(X, y, optimizer=nn.Adam(0.01, **clip), epochs=5, batch_size=16)
    saves = [nn.callbacks.Checkpoint(path)]
    first.fit(X, y, optimizer=nn.Adam(0.01, **clip), epochs=2, batch_size=16, callbacks=saves)
    for other in ({}, {"clip_norm": 0.1}, {"clip_value": 0.05}):
        with pytest.raises(ValueError, match="resume has an optimizer with"):
            second.fit(X, y, optimizer=nn.Adam(0.01, **other), epochs=5, batch_size=16, resume=path)
    second.fit(X, y, optimizer=nn.Adam(0.01, **clip), epochs=5, batch_size=16, resume=path)
    for a, b in zip(whole.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_trace_shows_the_bound_and_no_rule_that_leaves_it_out():
    net = nn.MLP([2, 1], dtype="float64")
    shown = net.trace([3.0, 4.0], 1.0, optimizer=nn.SGD(0.1, clip_norm=0.5))
    assert "clip_norm=0.5" in str(shown) and shown.rule == ""
    move = shown.new_W[0] - shown.W[0]
    assert np.sqrt((move**2).sum() + (shown.new_b[0] - shown.b[0]) @ (shown.new_b[0] - shown.b[0])) == pytest.approx(
        0.05
    )


@every_kind
@pytest.mark.parametrize("name", ["clip_value", "clip_norm"])
def test_what_does_not_fit_is_refused(kind, name):
    for value in (0, -1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match=f"{name} is"):
            kind(**{name: value})
    for value in ("1", [1.0], True):
        with pytest.raises(TypeError, match=f"{name} is"):
            kind(**{name: value})
    with pytest.raises(TypeError, match=name):
        nn.LBFGS(**{name: 1.0})
    with pytest.raises(TypeError, match=name):
        nn.LevenbergMarquardt(**{name: 1.0})
