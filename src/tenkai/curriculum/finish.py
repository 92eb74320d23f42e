"""The last stage of a user's equation: least squares in its numbers and all start states.

The unknowns are few and the residuals smooth, so Levenberg-Marquardt ends where Adam only comes
near. Residuals are on the scale where their noise is homogeneous, additive or relative per
variable, which the likelihood tells; variables are weighed by their own noise.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from ..data import Scaler
from ..models.ensemble import cast
from ..models.equation import Residual, scaling, users
from ..models.grid import Grid
from ..models.trajectory import TrajectoryModel
from ..unfold import Tableau
from .least_squares import Normal, levenberg_marquardt
from .material import padded
from .solves import Solves
from .task import Task, Trained

_ROUNDS = 3  # the noise that weighs the residuals is known only after a fit
_FLOOR = 1e-6  # of the spread: less noise than this is arithmetic


class Nodes(NamedTuple):
    """The series (nodes,) that each node belongs to, and the first node (series,) of each."""

    series: Any
    first: Any


class Sight(NamedTuple):
    """What one fit sees: `values` (nodes, dim) on the scale of their `noise`, where `seen`."""

    values: Any
    seen: Any
    noise: Scaler


@dataclass(frozen=True, eq=False)
class Finished:
    """The fit to all visible points: `unknowns` (n,), which of them are `free`, and its misses.

    The first unknowns are the equation's numbers in the order of `jax.tree.leaves`, the others the
    start states. `matrices` (dim, n, n) are each variable's ``J^T J`` and `squares` (dim,) its sum
    of squared misses of `points` (dim,) observations, NaN where the path is not finite.
    """

    unknowns: Float[np.ndarray, " n"]
    free: np.ndarray
    matrices: Float[np.ndarray, "dim n n"]
    squares: Float[np.ndarray, " dim"]
    points: np.ndarray


def finish(trained: Trained, task: Task, solves: Solves) -> Finished:
    """Move every member of `trained` to the least squares of its own points; also fit them all.

    All members on a scale go on from the best one of it, so that one that is lost comes back; not
    beside networks, which differ and stay as they are.
    """
    fits = _Fits(trained, task, solves)
    fits.run()
    if not isinstance(fits.models.field, Residual):
        fits.share_the_best()
    for _ in range(_ROUNDS - 1):
        fits.weigh()
        fits.run()
    fits.keep()
    return fits.of_everything()


class _Fits:
    """The fit to all visible points, then one per member to the member's own, side by side."""

    def __init__(self, trained: Trained, task: Task, solves: Solves):
        assert trained.models is not None
        best = int(np.argmin(trained.errors))
        self.trained, self.task, self.solves = trained, task, solves
        models = _arrays(lambda a: np.concatenate([a[best : best + 1], a]), trained.models)
        self.models: TrajectoryModel = cast(models, np.float64)
        self.scalers = [task.scalers[best], *task.scalers]
        self.noise = [Scaler(s.offset, s.scale, s.positive) for s in self.scalers]
        problem, self.size = task.problem, solves.size.nodes
        visible = ~np.isnan(problem.values) & ~task.closed[:, None]
        self.seen = np.stack([visible, *task.train[..., : task.shown]])
        first = np.array([s.start for s in problem.spans])
        self.nodes = Nodes(padded(problem.series, self.size), first)
        self.grid: Grid = cast(problem.grid(trained.refine, solves.size), np.float64)

    def run(self) -> None:
        """Least squares of every fit from where it is, in double precision."""
        raw, noise = self.task.problem.values, self.noise
        values = [np.where(w, s.forward(raw), 0.0) for s, w in zip(noise, self.seen, strict=True)]
        sight = Sight(
            padded(np.stack(values), self.size), padded(self.seen, self.size),
            Scaler(*map(np.stack, zip(*noise, strict=True))),
        )  # fmt: skip
        program = _program(len(noise), self.solves.plan.tableau)
        with jax.enable_x64(True):
            out = program(self.models, self.grid, self.nodes, sight)
        self.at, self.cost, path, self.matrices, self.squares = map(np.asarray, out)
        self.path = path[:, : len(raw), : self.task.shown]
        self.models = _placed(self.models, self.at, self.nodes.first)

    def share_the_best(self) -> None:
        """Put every fit where the best one on the same scale is, by its misses per point."""
        mean = np.where(np.isfinite(self.cost), self.cost, np.inf) / self.seen.sum((1, 2))
        kinds = np.stack([np.concatenate(s) for s in self.scalers])
        donors = [int(np.argmin(np.where((kinds == kind).all(1), mean, np.inf))) for kind in kinds]
        self.models = _placed(self.models, self.at[donors], self.nodes.first)
        self.path = self.path[donors]

    def weigh(self) -> None:
        """The noise of every variable as each fit's misses show it."""
        values = self.task.problem.values
        paths = zip(self.scalers, self.path, self.seen, strict=True)
        self.noise = [_noise(s.inverse(z), values, seen) for s, z, seen in paths]

    def keep(self) -> None:
        """Hand the members back, with their judged errors measured anew."""
        trained, solves, task = self.trained, self.solves, self.task
        members = _arrays(lambda a: a[1:], self.models)
        trained.models = models = cast(members, solves.plan.dtype)
        path = solves(models, trained.refine)
        trained.errors = (solves.judged(path, task.held_out) + solves.judged(path, task.train)) / 2

    def of_everything(self) -> Finished:
        """The fit to all visible points."""
        states = np.asarray(self.models.free)[0, self.nodes.first].ravel()
        numbers = np.ones(self.at.shape[1] - len(states), bool)
        squares = self.squares[0] if np.isfinite(self.cost[0]) else self.squares[0] * np.nan
        return Finished(
            self.at[0], np.concatenate([numbers, states]), self.matrices[0], squares,
            self.seen[0].sum(0),
        )  # fmt: skip


def _noise(path: np.ndarray, values: np.ndarray, seen: np.ndarray) -> Scaler:
    """Size and kind of the noise: relative where the misses of logarithms are the likelier."""
    size, relative = np.ones(values.shape[1]), np.zeros(values.shape[1], bool)
    for j, use in enumerate(seen.T):
        x, y = values[use, j], path[use, j]
        if not len(x) or not np.isfinite(y).all():
            continue
        size[j] = _root_mean_square(x - y, float(np.std(x)) or abs(x[0]))
        if (x > 0).all() and (y > 0).all():
            share = _root_mean_square(np.log(x / y), 1.0)
            # Densities of x: the logarithm's has the Jacobian 1 / x.
            if np.log(share) + np.log(x).mean() < np.log(size[j]):
                size[j], relative[j] = share, True
    return Scaler(np.zeros_like(size), size, relative)


def _root_mean_square(miss: np.ndarray, spread: float) -> float:
    return float(max(np.sqrt(np.mean(miss**2)), _FLOOR * spread)) or 1.0


def _arrays(change: Any, tree: PyTree) -> PyTree:
    return jax.tree.map(lambda a: change(np.asarray(a)) if eqx.is_array_like(a) else a, tree)


def _numbers(model: TrajectoryModel) -> tuple[PyTree, PyTree]:
    """The parameters of the user's field in a model, and the rest of that field."""
    return eqx.partition(users(model.field), eqx.is_inexact_array)


def _with(model: TrajectoryModel, field: Any, states: Any) -> TrajectoryModel:
    return eqx.tree_at(lambda m: (users(m.field), m.states), model, (field, states))


def _placed(models: TrajectoryModel, at: np.ndarray, first: np.ndarray) -> TrajectoryModel:
    """The stacked models with the unknowns `at` (fits, n)."""
    numbers, rest = _numbers(models)
    leaves, tree = jax.tree.flatten(numbers)
    edges = np.cumsum([a[0].size for a in leaves])
    parts = np.split(at, edges, axis=1)
    new = [p.reshape(a.shape) for p, a in zip(parts[:-1], leaves, strict=True)]
    field = eqx.combine(jax.tree.unflatten(tree, new), rest)
    states = np.array(models.states)
    states[:, first] = parts[-1].reshape(len(at), len(first), -1)
    return _with(models, field, states)


@functools.cache
def _program(fits: int, tableau: Tableau):
    """Compiled, of all fits: unknowns, cost, path; per variable ``J^T J`` and squared misses."""

    def one(model: TrajectoryModel, grid: Grid, nodes: Nodes, sight: Sight):
        numbers, rest = _numbers(model)
        state = scaling(model.field)
        flat, unflat = ravel_pytree(numbers)
        count, starts = len(flat), model.states[nodes.first]
        shown = sight.values.shape[1]

        def misses(at: Array, shift: Array) -> tuple[Array, Array]:
            # Series do not see one another, so one shift serves the start states of all.
            field = eqx.combine(unflat(at[:count] + shift[:count]), rest)
            begin = at[count:].reshape(starts.shape) + shift[count:]
            states = jnp.zeros_like(model.states).at[nodes.first].set(begin)
            path = _with(model, field, states).arrivals(
                grid, grid.first, tableau=tableau, members=fits
            )
            raw = state.inverse(path, xp=jnp)[:, :shown]
            miss = sight.noise.forward(raw, xp=jnp) - sight.values
            return jnp.where(sight.seen, miss, 0.0), path

        def normal(at: Array) -> Normal:
            def again(shift: Array):
                miss, path = misses(at, shift)
                return miss, (miss, path)

            none = jnp.zeros(count + starts.shape[1], at.dtype)
            slope, (miss, path) = jax.jacfwd(again, has_aux=True)(none)
            slope = jnp.where(sight.seen[..., None], slope, 0.0)
            gradient, matrices = _blocks(slope, miss, nodes.series, len(starts), count)
            squares = jnp.sum(miss**2, 0)
            more = (path, matrices, squares)
            return Normal(jnp.sum(squares), gradient, jnp.sum(matrices, 0), more)

        free = jnp.concatenate([jnp.ones(count, bool), model.free[nodes.first].ravel()])
        begun = jnp.concatenate([flat, starts.ravel()])
        at, found = levenberg_marquardt(normal, begun, free)
        return at, found.cost, *found.more

    axes = (eqx.if_array(0), None, None, 0)
    return eqx.filter_jit(eqx.filter_vmap(one, in_axes=axes))


def _blocks(
    slope: Float[Array, "nodes dim k"], miss: Float[Array, "nodes dim"], series: Array, count: int,
    numbers: int,
) -> tuple[Float[Array, " n"], Float[Array, "dim n n"]]:  # fmt: skip
    """``J^T r`` and each variable's ``J^T J`` of unknowns of which most belong to one series."""
    ours, theirs = slope[..., :numbers], slope[..., numbers:]

    def per_series(a: Array) -> Array:
        return jax.ops.segment_sum(a, series, count)

    gradient = per_series(jnp.einsum("nji,nj->ni", theirs, miss))
    gradient = jnp.concatenate([jnp.einsum("njp,nj->p", ours, miss), gradient.ravel()])
    cross = per_series(jnp.einsum("njp,nji->njpi", ours, theirs))
    own = per_series(jnp.einsum("nji,njk->njik", theirs, theirs))
    dim, states = slope.shape[1], count * theirs.shape[-1]
    corner = jnp.einsum("njp,njq->jpq", ours, ours)
    side = cross.transpose(1, 2, 0, 3).reshape(dim, numbers, states)
    rest = jnp.einsum("sjik,st->jsitk", own, jnp.eye(count, dtype=slope.dtype))
    rest = rest.reshape(dim, states, states)
    return gradient, jnp.block([[corner, side], [side.transpose(0, 2, 1), rest]])
