"""`FlowDensity` of a table as a program: densities, transport, samples out of base draws."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..devices import arithmetic
from ..estimators.flow_density import FlowDensity
from ..estimators.sklearn_border import require_fitted
from ..flows.continuous import Grid
from ..flows.density import Density
from ..flows.divergence import Exact
from ..flows.flow import base_log_prob, rows
from ..flows.mixture import FREEDOM, tail_log_density
from ..unfold import RK4
from .program import Argument, Function, Program
from .programs import Wanted, build, unsupported, wide

FEWEST, MOST = 16, 512  # steps of a continuous flow's grid
_MOVED = 1e-6  # nats, or standard deviations, that a grid of half the step may move any row by
_TRIED = 64  # rows on which grids are tried


@build.register
def _(model: FlowDensity, wanted: Wanted) -> Program:
    require_fitted(model)
    if model.images_ is not None:
        raise unsupported(
            "FlowDensity", "a density of a table", "one of images",
            "keep it in Python: tk.load and score_samples",
        )  # fmt: skip
    density, notes = model.density_, []
    if density.is_continuous:
        density, steps, moved = _on_grid(density, model.data_, model.context_)
        notes.append(
            f"continuous flows on a fixed grid of {steps} Runge-Kutta steps; half the step moves "
            f"no row of the data by more than {moved:.1g}"
        )
    maker = _Maker(model, density)
    functions = (maker.score_samples(), maker.transform(), maker.inverse_transform(),
                 maker.sample())  # fmt: skip
    title = f"FlowDensity of {', '.join(model.names_)}"
    return Program(title, functions, tuple(notes), density.mixture)


def _on_grid(density: Density, x: np.ndarray, context: Any) -> tuple[Density, int, float]:
    """The density with flows on a grid that is fine enough for the data, its steps, and the error.

    The error is what half the step changes, which is a sixteenth of it away from the truth.
    """
    x, known = x[:_TRIED], None if context is None else context[:_TRIED]
    steps, moved, last = FEWEST, np.inf, None
    with arithmetic("float64"):
        while True:
            now = _with_steps(density, steps)
            found = np.asarray(jax.jit(lambda x, c, d=now: _logs(d, x, c)[1])(x, known))
            if last is not None:
                moved = float(np.nanmax(np.abs(found - last))) / 15
                if not moved > _MOVED or steps >= MOST:
                    return now, steps, moved
            steps, last = 2 * steps, found


def _with_steps(density: Density, steps: int) -> Density:
    flows: Any = density.mixture.flows
    flow = flows.with_solver(Grid(steps, RK4), divergence=Exact(), costs=False)
    mixture = eqx.tree_at(lambda m: m.flows, density.mixture, flow)
    return Density(mixture, density.scale, density.context, density.tolerance)


def _members(density: Density) -> Callable[[Callable], Any]:
    """``ask(flow)`` of every member, stacked; a single member is asked alone."""
    mixture = density.mixture
    arrays, rest = eqx.partition(wide(mixture.flows), eqx.is_array)

    def over(ask: Callable) -> Any:
        real = jnp.zeros(()).dtype
        known = jax.tree.map(
            lambda a: jnp.asarray(a, real if a.dtype.kind == "f" else None), arrays
        )
        if len(mixture) == 1:
            alone = jax.tree.map(lambda a: a[0], known)
            return jax.tree.map(lambda v: v[None], ask(eqx.combine(alone, rest)))
        return jax.vmap(lambda a: ask(eqx.combine(a, rest)))(known)

    return over


def _context(density: Density, context: Any) -> Any:
    return None if density.context is None else density.context.forward(context, xp=jnp)


def _logs(density: Density, x: Array, context: Any) -> tuple[Array, Array]:
    """Log density (rows,) and, of members and tail, (members + 1, rows) before they are mixed."""
    z, c = density.scale.forward(x, xp=jnp), _context(density, context)

    def one(flow: Any) -> Array:
        moved = rows(flow.to_base, z, c)
        return base_log_prob(moved.y) + moved.log_det

    logs = jnp.concatenate([_members(density)(one), tail_log_density(z, xp=jnp)[None]])
    logs = jnp.where(jnp.isfinite(logs), logs, -jnp.inf)
    weighed = logs + np.log(np.maximum(density.mixture.shares, 1e-300))[:, None].astype(x.dtype)
    top = jnp.max(weighed, axis=0)
    total = jnp.log(jnp.sum(jnp.exp(weighed - top), axis=0)) + top
    return total + density.scale.log_det(x, xp=jnp), logs


class _Maker:
    """The functions of one density."""

    def __init__(self, model: FlowDensity, density: Density):
        self.model, self.density, self.names = model, density, model.names_

    def _arguments(self, name: str, doc: str) -> tuple[Argument, ...]:
        first = Argument(name, ("rows", len(self.names)), doc)
        known = self.model.context_names_
        if not known:
            return (first,)
        words = f"what the density is given: {', '.join(known)}"
        return first, Argument("context", ("rows", len(known)), words)

    def score_samples(self) -> Function:
        def score_samples(x: Array, context: Any = None) -> Array:
            return _logs(self.density, x, context)[0]

        return Function(
            "score_samples", score_samples, self._arguments("x", f"rows of {self._columns}"),
            ("log_density",), "Log density of every row, in nats and the units of x.",
        )  # fmt: skip

    @property
    def _columns(self) -> str:
        return ", ".join(self.names)

    @property
    def _best(self) -> Any:
        flow = wide(self.density.best)
        return jax.tree.map(lambda a: jnp.asarray(a) if eqx.is_array(a) else a, flow)

    def transform(self) -> Function:
        def transform(x: Array, context: Any = None) -> Array:
            z = self.density.scale.forward(x, xp=jnp)
            return rows(self._best.to_base, z, _context(self.density, context)).y

        return Function(
            "transform", transform, self._arguments("x", f"rows of {self._columns}"), ("z",),
            "Rows to the base, where they are standard normal (by the best member).",
        )  # fmt: skip

    def inverse_transform(self) -> Function:
        def inverse_transform(z: Array, context: Any = None) -> Array:
            moved = rows(self._best.to_data, z, _context(self.density, context)).y
            return self.density.scale.inverse(moved, xp=jnp)

        return Function(
            "inverse_transform", inverse_transform, self._arguments("z", "rows of the base"),
            ("x",), "Rows of the base to the units of the data, the inverse of transform.",
        )  # fmt: skip

    def sample(self) -> Function:
        shares = np.cumsum(self.density.mixture.shares)
        count = len(self.density.mixture)

        def sample(z: Array, choice: Array, chi2: Array, context: Any = None) -> Array:
            c = _context(self.density, context)
            moved = _members(self.density)(lambda flow: rows(flow.to_data, z, c).y)
            # The last place is the tail: a Student t for rows unlike all others.
            every = jnp.concatenate([moved, (jnp.sqrt((FREEDOM - 2) / chi2)[:, None] * z)[None]])
            bounds = shares[:-1, None].astype(z.dtype)
            which = jnp.sum((choice >= bounds).astype(jnp.int32), axis=0)
            own = which[None] == jnp.arange(count + 1)[:, None]
            drawn = jnp.sum(jnp.where(own[:, :, None], every, 0.0), axis=0)
            return self.density.scale.inverse(drawn, xp=jnp)

        first, *known = self._arguments("z", "standard normal draws")
        arguments = (
            first, Argument("choice", ("rows",), "uniform draws from 0 to 1: which member"),
            Argument("chi2", ("rows",), f"draws of chi-square, {FREEDOM} degrees of freedom"),
            *known,
        )  # fmt: skip
        return Function(
            "sample", sample, arguments, ("x",), "Rows of the density out of base draws."
        )
