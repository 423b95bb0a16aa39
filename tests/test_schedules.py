"""Schedules of the learning rate: PyTorch's and Keras' formulas, warm-up, and their way into both backends' steps."""

from __future__ import annotations

import copy
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

import nncore as nn
from nncore import schedules

FILE = np.load(Path(__file__).parent / "data" / "optimizers.npz")
ALL = [
    schedules.Constant(0.1),
    schedules.Step(0.1, every=3, factor=0.5),
    schedules.Exponential(0.1, steps=4, factor=0.5),
    schedules.Cosine(0.1, steps=20, end=0.01),
    schedules.OneCycle(0.1, steps=20),
    schedules.InverseScaling(0.1, power=0.7),
    schedules.ReduceOnPlateau(0.1, patience=0, threshold=0.9),
]
every_schedule = pytest.mark.parametrize("schedule", ALL, ids=lambda s: s.name)


@pytest.mark.parametrize(
    ("case", "schedule"),
    [
        ("step", schedules.Step(0.5, every=7, factor=0.3)),
        ("exponential", schedules.Exponential(0.5, steps=1, factor=0.9)),
        ("cosine", schedules.Cosine(0.5, steps=29, end=0.1)),
        ("one cycle", schedules.OneCycle(0.5, steps=31)),
    ],
)
def test_as_pytorch(case, schedule):
    np.testing.assert_allclose([schedule(step) for step in range(30)], FILE[f"rates {case}"], rtol=1e-12)


def test_reduce_on_plateau_as_pytorch():
    schedule = schedules.ReduceOnPlateau(0.5, factor=0.5, patience=1, cooldown=2, end=0.05)
    found = []
    for value in FILE["plateau"]:
        schedule.on_epoch_end({"loss": value})
        found.append(schedule(1000))
    np.testing.assert_allclose(found, FILE["rates plateau"], rtol=1e-15)
    assert found[0] > found[-1]


def test_reduce_on_plateau_takes_validation_first_and_either_direction():
    falling = schedules.ReduceOnPlateau(1.0, patience=0)
    for loss in (3.0, 2.0, 1.0):
        falling.on_epoch_end({"loss": loss, "val_loss": 1.0})
    assert falling(0) == pytest.approx(0.01)
    rising = schedules.ReduceOnPlateau(1.0, patience=0, monitor="accuracy", mode="max")
    for accuracy in (0.1, 0.2, 0.3, 0.3):
        rising.on_epoch_end({"loss": 1.0, "accuracy": accuracy})
    assert rising(0) == pytest.approx(0.1)
    negative = schedules.ReduceOnPlateau(1.0, patience=0, threshold=0.1)
    for loss in (-1.0, -1.2, -1.25):  # below -1.2 by less than a tenth of it
        negative.on_epoch_end({"loss": loss})
    assert negative(0) == pytest.approx(0.1)


def test_the_formulas():
    assert [schedules.Constant(0.3)(step) for step in (0, 10**6)] == [0.3, 0.3]
    assert schedules.InverseScaling(0.5, power=0.5)(99) == pytest.approx(0.05)
    assert schedules.Exponential(1.0, steps=10, factor=0.25)(5) == pytest.approx(0.5)  # Keras' ExponentialDecay
    cosine = schedules.Cosine(1.0, steps=10, end=0.2)
    assert [cosine(step) for step in (0, 5, 10, 11, 10**9)] == pytest.approx([1.0, 0.6, 0.2, 0.2, 0.2])
    cycle = schedules.OneCycle(1.0, steps=100, rise=0.5, start_divisor=10, end_divisor=100)
    assert [cycle(step) for step in (0, 49, 99, 100, 10**9)] == pytest.approx([0.1, 1.0, 1e-3, 1e-3, 1e-3])
    assert schedules.OneCycle(1.0, steps=2, rise=0.1)(0) == 1.0
    for schedule in (schedules.Step(1.0, every=1), schedules.Exponential(1.0, steps=1)):
        assert schedule(10**18) == 0.0


@every_schedule
def test_warm_up_rises_to_the_first_rate_and_then_the_schedule_begins(schedule):
    settings = {name: getattr(schedule, name) for name in schedule._SETTINGS}
    warm = type(schedule)(**settings, warmup=4)
    assert [warm(step) for step in range(4)] == pytest.approx([schedule(0) * part / 5 for part in (1, 2, 3, 4)])
    assert [warm(step) for step in range(4, 40)] == [schedule(step) for step in range(36)]


@every_schedule
def test_repr_copies_and_names(schedule):
    assert repr(eval(repr(schedule), vars(schedules))) == repr(schedule)
    for twin in (copy.copy(schedule), copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert repr(twin) == repr(schedule)
        assert twin.state() == schedule.state()
    assert type(schedules.get(schedule.name)) is type(schedule)
    assert schedules.get(schedule) is schedule


def test_get():
    assert schedules.get(0.25)(7) == 0.25
    assert schedules.get(math.sqrt) is math.sqrt
    with pytest.raises(ValueError, match="schedule is 'cosines'; expected one of 'constant', 'step'"):
        schedules.get("cosines")
    with pytest.raises(TypeError, match="schedule is the class Cosine; expected an object of it"):
        schedules.get(schedules.Cosine)
    with pytest.raises(ValueError, match="schedule is -1"):
        schedules.get(-1)
    with pytest.raises(TypeError, match="schedule is None"):
        schedules.get(None)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: schedules.Constant(-1), ValueError, "learning_rate is -1"),
        (lambda: schedules.Constant("0.1"), TypeError, "learning_rate is '0.1'"),
        (lambda: schedules.Constant(0.1, warmup=-1), ValueError, "warmup is -1"),
        (lambda: schedules.Constant(0.1, warmup=1.5), TypeError, "warmup is 1.5"),
        (lambda: schedules.Step(every=0), ValueError, "every is 0"),
        (lambda: schedules.Step(factor=1.5), ValueError, "factor is 1.5"),
        (lambda: schedules.Exponential(factor=0), ValueError, "factor is 0"),
        (lambda: schedules.Exponential(steps=0), ValueError, "steps is 0"),
        (lambda: schedules.Cosine(0.1, steps=0), ValueError, "steps is 0"),
        (lambda: schedules.Cosine(0.1, end=0.2), ValueError, "end is 0.2"),
        (lambda: schedules.OneCycle(steps=1), ValueError, "steps is 1; expected at least 2"),
        (lambda: schedules.OneCycle(rise=1), ValueError, "rise is 1"),
        (lambda: schedules.OneCycle(start_divisor=0.5), ValueError, "start_divisor is 0.5"),
        (lambda: schedules.InverseScaling(power=-1), ValueError, "power is -1"),
        (lambda: schedules.ReduceOnPlateau(factor=1), ValueError, "factor is 1"),
        (lambda: schedules.ReduceOnPlateau(patience=-1), ValueError, "patience is -1"),
        (lambda: schedules.ReduceOnPlateau(mode="auto"), ValueError, "mode is 'auto'; expected one of 'min', 'max'"),
        (lambda: schedules.ReduceOnPlateau(monitor=3), TypeError, "monitor is 3"),
        (lambda: schedules.ReduceOnPlateau(0.1, end=0.2), ValueError, "end is 0.2"),
        (lambda: nn.SGD(schedules.Cosine), TypeError, "learning_rate is the class Cosine"),
        (lambda: nn.SGD("cosine"), TypeError, "learning_rate is 'cosine'"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()


# ------------------------------------------------------------------------------------------------------- in training


def network(backend, dtype="float64"):
    return nn.MLP([4, 6, 2], activation="tanh", output="identity", dtype=dtype, seed=2, backend=backend)


@pytest.fixture
def data(rng):
    return rng.standard_normal((40, 4)), rng.standard_normal((40, 2))


@every_schedule
def test_each_step_takes_its_own_rate(backend, schedule, data):
    schedule = copy.deepcopy(schedule)
    one, steps = network(backend), network(backend)
    optimizer = nn.SGD(schedule)
    assert optimizer.learning_rate is schedule
    assert optimizer.rate == schedule(0)
    one.fit(*data, optimizer=optimizer, epochs=4, batch_size=8, shuffle=False)
    by_hand = schedules.ReduceOnPlateau(**{name: getattr(schedule, name) for name in schedule._SETTINGS}) \
        if schedule.name == "reduce_on_plateau" else schedule  # fmt: skip
    plain, losses = nn.SGD(0.0), []
    for step in range(20):
        start = step % 5 * 8
        plain.learning_rate = by_hand(step)
        losses.append(steps.train_step(data[0][start : start + 8], data[1][start : start + 8], plain))
        if step % 5 == 4 and hasattr(by_hand, "on_epoch_end"):
            by_hand.on_epoch_end({"loss": np.mean(losses[-5:])})
    assert [w.tobytes() for w in one.get_weights()] == [w.tobytes() for w in steps.get_weights()]
    assert optimizer.rate == by_hand(20)
    if schedule.name == "reduce_on_plateau":
        assert by_hand(0) < 0.1


@every_schedule
@pytest.mark.parametrize("kind", [nn.Adam, nn.NAdam])
def test_n_calls_are_one_of_n_epochs(backend, schedule, kind, data):
    found = []
    for parts in ((4,), (1, 1, 2)):
        net, optimizer = network(backend, "float32"), kind(copy.deepcopy(schedule))
        for epochs in parts:
            net.fit(*data, optimizer=optimizer, epochs=epochs, batch_size=9)
        found.append([w.tobytes() for w in net.get_weights()])
    assert found[0] == found[1]


def test_a_callable_counts_updates_from_0_over_the_optimizers_life(backend, data):
    seen = []

    def rate(step):
        seen.append(step)
        return np.float32(0.01) / (1 + step)

    net, optimizer = network(backend), nn.Adam(rate)
    net.fit(*data, optimizer=optimizer, epochs=2, batch_size=16)
    net.train_step(*data, optimizer=optimizer)
    assert sorted(set(seen)) == list(range(7))
    optimizer.learning_rate = 0.5
    assert optimizer.rate == optimizer.learning_rate == 0.5


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (math.nan, ValueError, "learning_rate gave nan at step 7; expected a finite number of at least 0"),
        (math.inf, ValueError, "learning_rate gave inf at step 7"),
        (-0.5, ValueError, "learning_rate gave -0.5 at step 7"),
        ("fast", TypeError, "learning_rate gave 'fast' at step 7"),
        (None, TypeError, "learning_rate gave None at step 7"),
        ("0.1", TypeError, "learning_rate gave '0.1' at step 7"),
    ],
)
def test_a_callable_that_gives_no_rate_is_named_with_its_step(backend, bad, error, message, data):
    net, twin = network(backend), network(backend)
    with pytest.raises(error, match=message):
        net.fit(*data, optimizer=nn.SGD(lambda step: bad if step == 7 else 0.1), epochs=4, batch_size=8)
    twin.fit(*data, optimizer=nn.SGD(0.1), epochs=1, batch_size=8)
    assert net.history.epochs == 1
    assert [w.tobytes() for w in net.get_weights()] == [w.tobytes() for w in twin.get_weights()]


def test_what_a_callable_raises_comes_through(backend, data):
    net = network(backend)
    before = net.get_weights()
    with pytest.raises(ZeroDivisionError):
        net.fit(*data, optimizer=nn.SGD(lambda step: 1 / step), epochs=1)
    for a, b in zip(net.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_monitor_that_is_not_recorded_is_refused_before_training(backend, data):
    net = network(backend)
    optimizer = nn.SGD(schedules.ReduceOnPlateau(0.1, monitor="val_loss"))
    with pytest.raises(ValueError, match="monitor is 'val_loss'; expected one of 'loss', 'mse'"):
        net.fit(*data, optimizer=optimizer, metrics=["mse"])
    assert net.epochs_trained == 0
    net.train_step(*data, optimizer=optimizer)
    net.fit(*data, optimizer=optimizer, validation_split=0.2, epochs=1)


def test_a_schedule_in_the_plan(backend):
    plan = network(backend).plan(4, nn.Adam(schedules.Cosine(0.1)))
    assert plan.threads in plan.measured


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_reduce_on_plateau_takes_no_value_that_is_not_finite_as_the_best(mode, bad):
    """Such an epoch is one without improvement, the first among them, and the next one counts as any other."""
    schedule = schedules.ReduceOnPlateau(1.0, factor=0.5, patience=1, mode=mode)
    better = -1.0 if mode == "min" else 1.0
    rates = []
    for value in (bad, 5 * better, bad, 6 * better, 7 * better, bad, bad):
        schedule.on_epoch_end({"loss": value})
        rates.append(schedule(0))
        copy = schedules.ReduceOnPlateau(1.0, factor=0.5, patience=1, mode=mode)
        copy.load_state(schedule.state())
        assert copy.state() == schedule.state()
    assert rates == [1.0] * 6 + [0.5]
    assert schedule.state()["best"] == 7 * better
