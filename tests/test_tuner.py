"""The choice of the number of threads: made-up times of a step in, choices out. No clock is read here."""

from __future__ import annotations

from collections.abc import Callable

import pytest

_core = pytest.importorskip("nncore._core")

SECOND = 1e9


def train(tuner: _core.Tuner, ns: Callable[[int], float], duration: float) -> dict[int, float]:
    """Let steps take ns(threads) for a while; return how long was spent with each number of threads."""
    spent: dict[int, float] = {}
    while sum(spent.values()) < duration:
        threads = tuner.pick()
        spent[threads] = spent.get(threads, 0.0) + ns(threads) * tuner.steps()
        tuner.took(ns(threads))
    return spent


@pytest.mark.parametrize("true", [{1: 4e3, 2: 3e3}, {1: 4e3, 2: 11e3}, {1: 2e6, 2: 1.1e6}, {1: 1e8, 2: 0.6e8}])
@pytest.mark.parametrize("error", [0.7, 1.0, 1.5])
def test_the_faster_of_two_is_found_whatever_the_model_says(true, error):
    tuner = _core.Tuner({1: true[1], 2: true[2] * error})
    spent = train(tuner, true.__getitem__, max(SECOND, 40 * true[1]))
    best = min(true.values())
    lost = sum(duration * (1 - best / true[threads]) for threads, duration in spent.items())
    assert lost < 0.06 * sum(spent.values())


def test_many_threads_are_climbed_to_and_down_from():
    true = {1: 64e3, 2: 33e3, 4: 18e3, 8: 11e3, 16: 9e3, 32: 14e3, 64: 40e3}
    for best_predicted in true:
        predicted = {n: (1e3 if n == best_predicted else 2e4) for n in true}
        spent = train(_core.Tuner(predicted), true.__getitem__, 2 * SECOND)
        assert max(spent, key=spent.__getitem__) == 16
        assert spent[16] > 0.85 * sum(spent.values())


def test_another_process_on_the_core_is_met_and_its_end_is_noticed():
    alone, beside = {1: 240e3, 2: 130e3}, {1: 250e3, 2: 9e6}
    tuner = _core.Tuner({1: 245e3, 2: 125e3})
    assert train(tuner, alone.__getitem__, SECOND)[2] > 0.95 * SECOND
    contended = train(tuner, beside.__getitem__, 2 * SECOND)
    assert contended[1] > 0.9 * sum(contended.values())
    train(tuner, alone.__getitem__, 2 * SECOND)  # it may take a moment
    again = train(tuner, alone.__getitem__, SECOND)
    assert again[2] > 0.95 * SECOND


def test_trying_costs_about_a_fiftieth_where_it_never_pays():
    true = {1: 240e3, 2: 20e6}
    tuner = _core.Tuner({1: 245e3, 2: 200e3})
    assert train(tuner, true.__getitem__, SECOND)[2] < 0.15 * SECOND
    assert train(tuner, true.__getitem__, 10 * SECOND)[2] < 0.025 * 10 * SECOND


def test_what_the_model_thinks_hopeless_is_not_tried_while_all_goes_as_it_expected():
    spent = train(_core.Tuner({1: 250.0, 2: 1000.0}), {1: 250.0, 2: 1000.0}.__getitem__, SECOND)
    assert set(spent) == {1}


def test_alone_means_one_thread():
    tuner = _core.Tuner({1: 4e3, 2: 3e3})
    assert tuner.pick(alone=True) == 1
    tuner.took(4e3)
    assert tuner.pick() == 2


def test_segments_are_about_a_fifth_of_a_millisecond():
    assert 45 <= _core.Tuner({1: 4e3}).steps() <= 50
    assert _core.Tuner({1: 5e6}).steps() == 1
