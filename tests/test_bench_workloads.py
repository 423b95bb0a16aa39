"""What the bench trains: what a step costs, data, neighbouring sizes."""

from __future__ import annotations

import numpy as np
import pytest

from nncore.bench import workloads
from nncore.bench.workloads import WORKLOADS, Workload


def test_flops_of_a_step_counted_by_hand():
    # 5 rows; 2 x 3 and 3 x 4 weights: 12 and 24 operations a row. The first layer has no gradient for its inputs.
    assert Workload((2, 3, 4), "relu", "numbers", 5, "sgd", 20).flops == 5 * (2 * 12 + 3 * 24)
    assert WORKLOADS["digits"].flops == 32 * (2 * 2 * 64 * 64 + 3 * 2 * 64 * 10)
    assert WORKLOADS["wide"].flops == 1024 * (2 + 3 * 3) * 2 * 1024**2


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_has_whole_batches_and_data_that_fit(name, dtype):
    work = WORKLOADS[name]
    X, y = work.data(dtype)
    assert work.steps * work.batch == work.rows
    assert X.shape == (work.rows, work.sizes[0]) and X.dtype == dtype
    if work.task == "classes":
        assert y.shape == (work.rows,) and set(np.unique(y)) == set(range(work.sizes[-1]))
    else:
        assert y.shape == (work.rows, work.sizes[-1]) and y.dtype == dtype


def test_a_network_in_words():
    assert WORKLOADS["digits"].network == "64-64-10"
    assert WORKLOADS["higgs"].network == "28-300 (5 times)-1"
    assert WORKLOADS["xor"].description == "2-4-1 tanh, batch 4, SGD"
    assert WORKLOADS["wide"].description == "1024 (5 times), batch 1,024"


def test_neighbours_differ_in_the_hidden_widths():
    assert workloads.neighbours("digits") == ["digits@64-63-10", "digits@64-65-10"]
    assert workloads.neighbours("mnistb")[1] == "mnistb@784-513-513-10"
    # A network of one width throughout keeps one.
    assert [workloads.find(name).sizes for name in workloads.neighbours("wide")] == [
        (w,) * 5 for w in (1023, 1025, 1000)
    ]


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_neighbour_is_the_workload_but_for_its_sizes(name):
    work = workloads.find(name)
    assert work is WORKLOADS[name]
    for neighbour in workloads.neighbours(name):
        found = workloads.find(neighbour)
        assert found != work and found._replace(sizes=work.sizes) == work
        X, y = found.data()
        assert X.shape[1] == found.sizes[0]
        assert found.task == "classes" or y.shape[1] == found.sizes[-1]
