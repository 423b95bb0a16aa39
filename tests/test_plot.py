"""Tests of the pictures: what is drawn, labels that do not overlap, refusals, and the message without matplotlib."""

from __future__ import annotations

import subprocess
import sys
import types

import numpy as np
import pytest

import nncore as nn
from nncore import plot

WITHOUT = """
import sys
sys.path[:0] = {path!r}
import nncore as nn
sys.modules["matplotlib"] = None
assert "matplotlib.pyplot" not in sys.modules
try:
    nn.plot.activations()
except ImportError as error:
    print(error)
"""


@pytest.fixture
def matplotlib():
    matplotlib = pytest.importorskip("matplotlib")
    with matplotlib.rc_context({"figure.max_open_warning": 0}):
        matplotlib.use("Agg")
        yield matplotlib
        from matplotlib import pyplot

        pyplot.close("all")


def texts_that_overlap(figure):
    """Return pairs of drawn texts of the figure whose boxes meet."""
    from matplotlib.text import Text

    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    shown = [axes for axes in figure.axes if axes.get_visible()]
    axises = [axis for axes in shown for axis in (axes.xaxis, axes.yaxis)]
    ticks = {tick: axis for axis in axises for tick in axis.get_major_ticks()}
    beyond = set()  # labels of ticks outside of the view, which are there and not drawn
    for tick, axis in ticks.items():
        low, high = sorted(axis.get_view_interval())
        if not (low <= tick.get_loc() <= high and tick.label1.get_visible()):
            beyond.add(tick.label1)
    texts = [
        text
        for axes in (*shown, *figure.legends)
        for text in axes.findobj(Text)
        if text.get_visible() and text.get_text().strip() and text not in beyond
    ]
    boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
    assert len(boxes) > 3
    return [
        (a, b) for i, (a, box) in enumerate(boxes) for b, other in boxes[:i] if box.shrunk(0.9, 0.9).overlaps(other)
    ]


def test_without_matplotlib_the_extra_is_named():
    code = WITHOUT.format(path=[path for path in sys.path if path])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert 'pip install "nncore[plot]"' in done.stdout


def test_activations_are_drawn_with_their_derivatives(matplotlib):
    figure = plot.activations()
    shown = [axes for axes in figure.axes if axes.get_visible()]
    assert [axes.get_title() for axes in shown] == [
        repr(f) for name, f in nn.activations.ALIASES.items() if name != "softmax"
    ]
    assert texts_that_overlap(figure) == []
    figure = plot.activations(["gelu", nn.LeakyReLU(0.3)], span=2)
    gelu, leaky = figure.axes
    assert leaky.get_title() == "LeakyReLU(alpha=0.3)"
    value, slope = [line for line in gelu.lines if line.get_label() in ("f(z)", "f'(z)")]
    z = value.get_xdata()
    assert (z[0], z[-1]) == (-2, 2)
    np.testing.assert_array_equal(value.get_ydata(), nn.gelu(z))
    np.testing.assert_array_equal(slope.get_ydata(), nn.gelu.derivative(z))
    assert value.get_linestyle() != slope.get_linestyle()


def test_history(matplotlib):
    h = nn.History(["loss", "accuracy", "val_loss", "val_accuracy"])
    for k in range(3):
        for i, name in enumerate(h.history):
            h.history[name].append(10.0 * i + k)
    h.history["loss"][1] = float("inf")
    figure = plot.history(h)
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel(), accuracy.get_xlabel()) == ("loss", "accuracy", "epoch")
    np.testing.assert_array_equal(loss.lines[0].get_ydata(), [0, np.nan, 2])
    np.testing.assert_array_equal(loss.lines[1].get_ydata(), [20, 21, 22])
    np.testing.assert_array_equal(accuracy.lines[1].get_xdata(), [1, 2, 3])
    assert texts_that_overlap(figure) == []
    assert len(plot.history({"loss": [1.0]}).axes) == 1
    assert len(plot.history(types.MappingProxyType({"loss": [1.0]})).axes) == 1


def test_decision_boundary_shows_the_predictions(matplotlib, rng):
    X = rng.standard_normal((30, 2))
    three = nn.MLP([2, 8, 3], "gelu", "softmax", seed=1)
    axes = plot.decision_boundary(three, X, np.arange(30) % 3, resolution=20)
    image = axes.images[0]
    assert image.get_array().shape == (20, 20)
    left, right, bottom, top = image.get_extent()
    assert left < X[:, 0].min() < X[:, 0].max() < right
    corner = three.predict([[left, bottom], [right, top]]).argmax(axis=1)
    np.testing.assert_array_equal([image.get_array()[0, 0], image.get_array()[-1, -1]], corner)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["class 0", "class 1", "class 2"]
    assert texts_that_overlap(axes.figure) == []
    one = nn.Sequential([nn.Dense(2, 1, "sigmoid")], seed=1)
    one.set_weights([np.array([[1.0], [0.0]]), np.array([0.0])])
    given = matplotlib.figure.Figure().add_subplot()
    assert plot.decision_boundary(one, X, X[:, :1] > 0, resolution=21, ax=given) is given
    np.testing.assert_array_equal(given.images[0].get_array()[0] == 1, np.linspace(*given.get_xlim(), 21) >= 0)
    assert plot.decision_boundary(one, X[:1]).get_legend() is None
    signs = np.where(X[:, 0] > 0, 1, -1)
    of_class = [points.get_offsets() for points in plot.decision_boundary(one, X, signs).collections[-2:]]
    np.testing.assert_allclose(of_class[0], X[signs == -1], rtol=1e-6)
    np.testing.assert_allclose(of_class[1], X[signs == 1], rtol=1e-6)
    assert plot.decision_boundary(three, X, np.eye(3)[np.arange(30) % 3]).get_legend() is not None


def test_network(matplotlib):
    net = nn.MLP([2, 3, 1], "tanh", "sigmoid", seed=1)
    axes = plot.network(net)
    lines = [line for line in axes.lines if len(line.get_xdata())]
    assert len(lines) == 2 * 3 + 3 * 1
    W = net.get_weights()[0]
    dashed = [line.get_linestyle() != "-" for line in lines[:6]]
    assert dashed == (W < 0).ravel().tolist()
    assert [text.get_text() for text in axes.texts] == ["2\ninputs", "3\ntanh", "1\nsigmoid"]
    assert texts_that_overlap(axes.figure) == []
    wide = plot.network(nn.MLP([2, 100, 1]))
    assert len([line for line in wide.lines if len(line.get_xdata())]) == 2 * 12 + 12
    assert "\u22ee" in [text.get_text() for text in wide.texts]
    assert texts_that_overlap(wide.figure) == []


def test_a_network_of_other_layers(matplotlib):
    """Each weight lies between the units that it joins, and what a layer passes on is grey."""
    layers = [nn.Columns({1: (5, 2)}, 3), nn.GaussianNoise(0.1), nn.Dense(4, 3), nn.BatchNorm(activation="relu"),
              nn.Dropout(0.5), nn.Dense(3, 2)]  # fmt: skip
    net = nn.Sequential(layers, seed=1)
    axes = plot.network(net)
    ends = {(tuple(line.get_xdata()), tuple(line.get_ydata())): line for line in axes.lines if len(line.get_xdata())}
    places = [axes.collections[at].get_offsets()[:, 1] for at in range(7)]
    assert [len(at) for at in places] == [3, 4, 4, 3, 3, 3, 2]
    dense = {2: net.get_weights()[1], 5: net.get_weights()[5]}
    passed = {0: [(0, 0), (2, 1), (1, 2), (1, 3)]}  # the numeric columns first, then the two numbers of column 1
    for at, count in ((1, 4), (3, 3), (4, 3)):
        passed[at] = [(unit, unit) for unit in range(count)]
    for at, W in dense.items():
        for i, j in np.ndindex(W.shape):
            line = ends.pop(((at, at + 1), (places[at][i], places[at + 1][j])))
            assert (line.get_linestyle() != "-") == (W[i, j] < 0)
    for at, pairs in passed.items():
        for i, j in pairs:
            assert ends.pop(((at, at + 1), (places[at][i], places[at + 1][j]))).get_color() == "#999999"
    assert not ends
    names = [text.get_text() for text in axes.texts]
    assert names == ["3\ninputs", "4\nColumns", "4\nGaussianNoise", "3\nidentity", "3\nBatchNorm\nrelu", "3\nDropout",
                     "2\nidentity"]  # fmt: skip
    assert texts_that_overlap(axes.figure) == []
    wide = plot.network(nn.MLP([40, 30, 20, 1], norm="layer", dropout=0.1, categories={39: (9, 20)}))
    assert texts_that_overlap(wide.figure) == []


def test_refusals(matplotlib, rng):
    net, X = nn.MLP([2, 3, 2]), rng.standard_normal((5, 2))
    cases = [
        (ValueError, "span is 0", lambda: plot.activations(span=0)),
        (ValueError, "activation is 'swish'", lambda: plot.activations(["swish"])),
        (ValueError, "names has softmax", lambda: plot.activations(["softmax"])),
        (ValueError, "names is empty", lambda: plot.activations([])),
        (TypeError, "names is 'relu'", lambda: plot.activations("relu")),
        (TypeError, "h is of type int", lambda: plot.history(3)),
        (ValueError, "h has no finished epoch", lambda: plot.history(nn.History())),
        (TypeError, "net is of type str", lambda: plot.network("net")),
        (TypeError, "net is of type int", lambda: plot.decision_boundary(1, X)),
        (ValueError, "net has 3 inputs", lambda: plot.decision_boundary(nn.MLP([3, 2]), X)),
        (ValueError, "net has 9 outputs", lambda: plot.decision_boundary(nn.MLP([2, 9]), X)),
        (ValueError, "resolution is 0", lambda: plot.decision_boundary(net, X, resolution=0)),
        (ValueError, "X has", lambda: plot.decision_boundary(net, X[:, :1])),
        (ValueError, "X has a value that is not finite", lambda: plot.decision_boundary(net, X * np.nan)),
        (ValueError, r"y has shape \(4,\)", lambda: plot.decision_boundary(net, X, np.zeros(4))),
        (ValueError, "y has label -1", lambda: plot.decision_boundary(nn.MLP([2, 1]), X, [-1, 0, 1, 0, 1])),
        (ValueError, "y has label 7", lambda: plot.decision_boundary(net, X, np.full(5, 7))),
    ]
    for kind, message, call in cases:
        with pytest.raises(kind, match=message):
            call()
