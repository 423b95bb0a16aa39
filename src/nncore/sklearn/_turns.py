"""Fits of an estimator one at a time, predictions of other threads beside them, and what a fork makes of both.

A fit that goes on from the weights there are leaves the estimator readable all along. One that begins anew does not
until its weights, classes and numbers of features belong together: until then it refuses other threads' predictions.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nncore.sklearn._model import Model

_fits: WeakSet[Fit] = WeakSet()
models: WeakSet[Model] = WeakSet()


class Fit:
    """A fit under way, which an estimator has as ``_fitting``.

    Attributes
    ----------
    thread : int
        Whose it is.
    anew : bool
        Whether it does not go on from the weights there are.
    ready : bool
        Whether other threads may predict.
    lost : bool
        Whether its thread is not there any more, in the child of a fork.
    """

    __slots__ = ("__weakref__", "_estimator", "_model", "anew", "lost", "ready", "thread")

    def __init__(self, estimator: Any, anew: bool) -> None:
        self._estimator = ref(estimator)
        self._model: Model | None = None
        self.thread = get_ident()
        self.anew = anew
        self.ready = not anew
        self.lost = False
        _fits.add(self)

    def hold(self, model: Model) -> None:
        """Train this network: until the end of the fit predictions go by the weights that it has."""
        self._model = model
        model.engine.held = True

    def release(self) -> None:
        """Let predictions bring the estimator's arrays again."""
        if self._model is not None:
            self._model.engine.held = False

    def after_fork(self) -> None:
        """In the child: where the fit was another thread's, leave its network and its solver, which may be torn."""
        estimator = self._estimator()
        if self.thread == get_ident() or estimator is None or estimator.__dict__.get("_fitting") is not self:
            return
        for name in ("_model", "_optimizer"):
            estimator.__dict__.pop(name, None)
        if self.anew:
            self.lost = True
        else:
            del estimator.__dict__["_fitting"]


@contextmanager
def under_way(estimator: Any, anew: bool) -> Iterator[Fit]:
    """Be the one fit of an estimator; `anew` where it does not go on from the weights there are.

    Raises
    ------
    RuntimeError
        If there is another one.
    """
    own = estimator.__dict__
    mine = Fit(estimator, anew)
    other = own.setdefault("_fitting", mine)
    if other is not mine:
        if not other.lost:
            whose = "this" if other.thread == get_ident() else "another"
            raise RuntimeError(
                f"fit is called while {whose} thread is fitting this estimator; expected one fit at a time: fit a clone"
            )
        own["_fitting"] = mine
    try:
        if anew:
            own["_fits"] = own.get("_fits", 0) + 1
        yield mine
    finally:
        mine.release()
        own.pop("_fitting", None)


def state_without(state: dict[str, Any]) -> dict[str, Any]:
    """Return what a pickle or a copy of an estimator takes along: no network of the core, and no fit under way."""
    return {name: value for name, value in state.items() if name not in ("_model", "_fitting", "_fits")}


def consistent(estimator: Any, outputs: Callable[[], Any]) -> Any:
    """Return the outputs for rows, all of them by one fit: again where another thread has begun one anew meanwhile.

    Raises
    ------
    RuntimeError
        If another thread has just begun one, or was fitting when the process forked.
    """
    own = estimator.__dict__
    while True:
        fits = own.get("_fits")
        _require_readable(own.get("_fitting"))
        try:
            found = outputs()
        except Exception:  # where half of what it read was new
            if own.get("_fits") == fits:
                raise
            continue
        if own.get("_fits") == fits:
            return found


def _require_readable(fit: Fit | None) -> None:
    if fit is None:
        return
    if fit.lost:
        raise RuntimeError(
            "this estimator was being fitted by another thread when the process forked; in the child it has no weights "
            "of a finished fit: fit it here, or fork before or after fit"
        )
    if not fit.ready and fit.thread != get_ident():
        raise RuntimeError(
            "another thread has just begun to fit this estimator, which has no weights of that fit yet; predict before "
            "it, or when its first epoch has begun"
        )


def _after_fork_in_child() -> None:
    for model in list(models):
        model.engine.after_fork()  # opens a gate that a thread of the parent held
    for fit in list(_fits):
        fit.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
