"""`Unfolded`: an iterative algorithm whose numbers, one set per layer, are learned."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from ..devices import arithmetic
from ..errors import InputError
from ..fit import fit
from ..records import Fit, Status
from ..storage import load_model, save_model
from ..unfold import Memory, Store
from . import border
from .border import as_sampler, cast, checked, checked_pair, replaced, rules, spread
from .iteration import Iteration, run, squared_error
from .learning import Learner, Lesson, by_name, default_rule, objective, parts
from .tuning import FixedStep, best_fixed

_SLACK = 1.05  # a second fit may wander a little around what the first one found


class Unfolded:
    """Unfolds ``s[k+1] = step(s[k], x[k])`` into layers and learns the numbers of each.

    ``x[k] = Layer(p, y, k)``: the parameters `p` of layer k (a dictionary), the inputs `y` of one
    problem, the number of the layer. All functions see one problem; batches are mapped outside.
    Before `fit` it is the classical algorithm, with the parameters it was given.

    Args:
        step: ``(state, layer) -> state``. Arrays that it captures or holds are fixed.
        init: ``y -> state``, or the state: an array, or arrays in a dictionary or a tuple.
        layers: how many iterations are unfolded.
        parameters: first values by name; a scalar or an array is used in every layer.
        tied: False: every layer has its own; True: all share one; an integer T: layer k has
            number ``k mod T``.
        read: ``state -> estimate`` where the state holds more than the estimate.
        memory: what the backward pass keeps (`tenkai.unfold`).
        seed, precision: of everything random, and of the arithmetic.

    After `fit`: `parameters_` (arrays by name, the leading axis counts layers, or the period),
    `fit_` (status, history).

    Source: Gregor and LeCun 2010; Ito, Takabe and Wadayama 2019 (incremental training).

    >>> import jax, jax.numpy as jnp, optax, tenkai as tk
    >>> def step(x, layer):
    ...     return x - layer.p["eta"] * (x - layer.y)
    >>> def sampler(key):
    ...     y = jax.random.normal(key, (3,))
    ...     return y, y
    >>> gd = tk.Unfolded(step, jnp.zeros(3), layers=2, parameters={"eta": 0.1})
    >>> _ = gd.fit(sampler, steps=300, rule=optax.adam(0.05))
    >>> bool(gd.error(*gd.draw(sampler, 10))[-1] < 1e-6)
    True
    """

    def __init__(
        self,
        step: Callable[[Any, Any], Any],
        init: Any,
        layers: int = 20,
        parameters: dict[str, Any] | None = None,
        *,
        tied: bool | int = False,
        read: Callable[[Any], Any] = lambda s: s,
        memory: Memory = Store(),
        seed: int = 0,
        precision: Literal["float32", "float64"] = "float64",
    ):
        self.layers, self.tied, self.seed, self.precision = layers, tied, seed, precision
        self.memory, self._fits = memory, 0
        dtype = np.dtype(precision)
        self.parameters_ = spread({} if parameters is None else parameters, layers, tied, dtype)
        self.iteration = cast(Iteration(step, border.start(init), read), dtype)
        self.fit_: Fit | None = None
        self.problem_: PyTree = None  # shapes and types of one problem's inputs, once it has fitted

    def fit(
        self,
        data: Any,
        *,
        steps: int = 1000,
        batch: int = 100,
        incremental: bool = False,
        on: Literal["last", "all"] = "last",
        loss: Callable[[Any, Any], Any] = squared_error,
        rule: optax.GradientTransformation | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Unfolded:
        """Learn from ``sampler(key) -> (inputs, target)`` (one problem) or arrays of both.

        Every step draws `batch` fresh problems. With `incremental` the first `steps` train one
        layer, the next ones two, and so on with one optimiser state: deep unfoldings are hard to
        train at once. `loss` ``(estimate, target) -> scalar`` judges the last layer, or with
        ``on="all"`` the mean over layers. `rule` is any optax rule, or one by the name of each
        parameter; parameters without one stay. Default: Adam at 0.3 % of each parameter's size,
        falling like a cosine. Calling `fit` again goes on from what was learned, on fresh
        problems. `options` go to `tenkai.fit` (checkpoint, log, ...).

        Raises `InputError` where step, init, sampler and loss do not fit together.
        """
        with self._arithmetic():
            sampler = self._cast(as_sampler(data))
            checked(self.iteration, self.parameters_, sampler, loss, self.layers, on, steps, batch)
            self.problem_ = checked_pair(sampler)[0]
            lesson = Lesson(
                self.layers, batch, loss, on, steps if incremental else None, self.memory
            )
            arrays, static = parts(self.iteration, sampler)
            if isinstance(rule, Mapping):
                rule = by_name(rules(rule, self.parameters_))
            elif rule is None:
                rule = default_rule(steps)
            learner = Learner(jax.tree.map(jnp.asarray, self.parameters_), jnp.int32(0))
            made = fit(
                learner, objective(static, lesson), arrays, rule=rule,
                steps=steps * (self.layers if incremental else 1),
                key=jax.random.fold_in(jax.random.key(self.seed), self._fits), **options,
            )  # fmt: skip
            self._fits += 1
            before = self.parameters_
            self.parameters_ = jax.tree.map(np.asarray, made.model.parameters)
            status = self._status(made.status, before, sampler, loss)
        self.fit_ = Fit(
            self.parameters_, status, made.history, made.seconds, made.steps, made.snapshots
        )
        return self

    def _status(self, status: Status, before: PyTree, sampler: Any, loss: Any) -> Status:
        """Whether it learned anything: the loss on fresh problems before and after."""
        if not status.ok:
            return status
        if self._same(before) and self._same(self.parameters_):
            note = "all layers learned the same values: begin from others, or with incremental=True"
            status = replace(status, notes=(*status.notes, note))
        inputs, targets = self.draw(sampler, 200, seed=self.seed + 1)
        was, now = (
            np.asarray(_errors(self.iteration, p, inputs, targets, self.layers, loss), float)
            for p in (before, self.parameters_)
        )
        old, new = was[-1], now[-1]
        told = f"loss on 200 fresh problems {new:.4g}, before training {old:.4g}"
        if new > now[0]:
            return Status(
                "diverged", f"The layers lead away from the solution: {told}, at init {now[0]:.4g}",
                cause="an unstable iteration", remedy="begin with smaller parameters",
                ok=False, notes=status.notes,
            )  # fmt: skip
        if np.isfinite(new) and (new <= _SLACK * old or not np.isfinite(old)):
            return Status("converged", f"Trained {self.layers} layers: {told}", notes=status.notes)
        return Status(
            "diverged", f"Training made the algorithm worse: {told}",
            cause="steps that were too large, or a depth that is hard to train at once",
            remedy="lower the rate of the rule, or train with incremental=True", ok=False,
            notes=status.notes,
        )  # fmt: skip

    def _same(self, parameters: dict[str, np.ndarray]) -> bool:
        """Whether layers that may differ do not: equal steps have equal gradients and stay so."""
        free = [v for v in parameters.values() if len(v) > 1]
        return bool(free) and all(np.allclose(v, v[:1], rtol=1e-3, atol=0) for v in free)

    def __call__(self, inputs: PyTree, *, layers: int | None = None) -> Any:
        """Estimates for a batch of problems (leading axis), after `layers` (default: all)."""
        return self._run(inputs, layers, keep=False)

    def path(self, inputs: PyTree, *, layers: int | None = None) -> Any:
        """Estimates before and after every layer, (layers + 1, batch, ...).

        Beyond the trained number of layers the parameters begin again.
        """
        return self._run(inputs, layers, keep=True)

    def _run(self, inputs: PyTree, layers: int | None, keep: bool) -> Any:
        with self._arithmetic():
            y, n = self._cast(border.arrays("inputs", inputs)), self._count(layers)
            with border.explaining(self.iteration, self.parameters_, y):
                return jax.tree.map(np.asarray, _runs(self.iteration, self.parameters_, y, n, keep))

    def error(
        self,
        inputs: PyTree,
        targets: PyTree,
        *,
        layers: int | None = None,
        loss: Callable[[Any, Any], Any] = squared_error,
    ) -> np.ndarray:
        """The mean loss over a batch before and after every layer, (layers + 1,)."""
        with self._arithmetic():
            (y, x), n = self._cast(border.batch(inputs, targets)), self._count(layers)
            with border.explaining(self.iteration, self.parameters_, y, x, loss):
                return np.asarray(_errors(self.iteration, self.parameters_, y, x, n, loss))

    def draw(self, sampler: Callable, count: int, *, seed: int = 1) -> tuple[PyTree, PyTree]:
        """A batch of inputs and targets from a sampler, as NumPy arrays: for tests."""
        with self._arithmetic():
            border.count("count", count, 0)
            border.checked_pair(self._cast(sampler))
            keys = jax.random.split(jax.random.key(seed), count)
            return jax.tree.map(border.host, _drawn(self._cast(sampler), keys))

    def best_fixed(
        self, inputs: PyTree, targets: PyTree, values: Any, *, name: str | None = None,
        loss: Callable[[Any, Any], Any] = squared_error,
    ) -> FixedStep:  # fmt: skip
        """The best single value of one parameter, the same in all layers, by search.

        `values` are tried on this batch with the first value of all other parameters: the baseline
        that a learned algorithm must beat. Raises `InputError` where `name` is needed or unknown.
        """
        with self._arithmetic():
            y, x = self._cast(border.batch(inputs, targets))
            with border.explaining(self.iteration, self.parameters_, y, x, loss):
                return best_fixed(
                    self.iteration, self.parameters_, y, x, values, name, self.layers, loss
                )

    def with_parameters(self, **values: Any) -> Unfolded:
        """A copy with these values in place of the learned ones, to compare or to begin with.

        One value is used in every layer; a leading axis gives one per layer, or per period.
        Raises `InputError` for unknown names and shapes.

        >>> import jax.numpy as jnp
        >>> gd = Unfolded(lambda x, layer: x - layer.p["eta"] * x, lambda y: y, 2, {"eta": 0.0})
        >>> gd.with_parameters(eta=[0.5, 1.0])(jnp.ones((1, 1))).item()
        0.0
        """
        made = copy.copy(self)
        made.parameters_ = self.parameters_ | replaced(self.parameters_, values, self.layers)
        made.fit_, made._fits = None, 0
        return made

    def save(self, path: Path | str) -> None:
        """Write the parameters to one file; the code of the algorithm is not stored."""
        told = {"layers": self.layers, "tied": self.tied}
        save_model(
            path, self.parameters_, class_name="Unfolded", arguments=told,
            names=tuple(self.parameters_),
        )  # fmt: skip

    def with_saved(self, path: Path | str) -> Unfolded:
        """A copy of this algorithm with the parameters of a file that `save` wrote.

        Raises `InputError` for other files, damaged ones, and names or shapes that do not fit.
        """
        arrays, meta = load_model(path)
        if meta["class"] != "Unfolded":
            raise InputError(
                f"file {path}", expected="parameters of an Unfolded", got=f"a {meta['class']}",
                do="open it with tk.load",
            )  # fmt: skip
        return self.with_parameters(**arrays)

    def plot(self) -> Any:
        """Matplotlib axes: every parameter by layer, and the training loss."""
        from .. import report

        return report.plot(self)

    def _count(self, layers: int | None) -> int:
        if layers is not None:
            border.count("layers", layers, 0)
        return self.layers if layers is None else layers

    def _cast(self, tree: PyTree) -> Any:
        return cast(tree, np.dtype(self.precision))

    def _arithmetic(self) -> AbstractContextManager[None]:
        return arithmetic(self.precision)


@eqx.filter_jit
def _drawn(sampler: Callable, keys: Any) -> Any:
    return jax.vmap(sampler)(keys)


@eqx.filter_jit
def _runs(iteration: Iteration, parameters: PyTree, inputs: PyTree, layers: int, keep: bool) -> Any:
    return run(iteration, parameters, inputs, layers, keep=keep)


@eqx.filter_jit
def _errors(
    iteration: Iteration, parameters: PyTree, inputs: PyTree, targets: PyTree, layers: int,
    loss: Callable[[Any, Any], Any],
) -> Any:  # fmt: skip
    out = run(iteration, parameters, inputs, layers, keep=True)
    return jax.lax.map(lambda o: jnp.mean(jax.vmap(loss)(o, targets)), out)
