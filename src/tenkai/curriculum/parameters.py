"""The numbers of a user's equation: their names, standard errors and intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from ..models.ensemble import cast
from ..models.equation import Residual, equation, few, plain, shares
from .finish import Finished, finish
from .material import padded
from .solves import Solves
from .task import Task, Trained

if TYPE_CHECKING:
    from .runs import Run

COVERAGE = 0.9  # of the intervals in the table
_MOST_UNKNOWNS = 400  # with the start states of all series: J^T J is dense
_SINGULAR = 1e-12  # eigenvalue of J^T J with a unit diagonal that is zero in double precision
_NEGLIGIBLE = 0.01  # share of a network that leaves the equation to itself
_INVOLVED = 1e-3  # share of a parameter in a direction that nothing determines


@dataclass(frozen=True, eq=False)
class Estimates:
    """Per parameter (n,): name, value, standard error and the ends of its interval, in raw units.

    A standard error is infinite where the data do not determine the parameter, NaN where it was
    not computed. `network` (dim,) is the share of the field that a network beside the equation has.
    """

    names: tuple[str, ...]
    value: Float[np.ndarray, " n"]
    standard_error: Float[np.ndarray, " n"]
    lower: Float[np.ndarray, " n"]
    upper: Float[np.ndarray, " n"]
    notes: tuple[str, ...] = ()
    network: Float[np.ndarray, " dim"] | None = None


def names(field: Any) -> tuple[str, ...]:
    """The numbers of a field by their paths, as ``growth``, ``uptake.rate``, ``rates[0]``.

    >>> names({"rates": np.ones(2), "growth": np.float64(1.0)})
    ('growth', 'rates[0]', 'rates[1]')
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(eqx.filter(field, eqx.is_inexact_array_like))
    out = []
    for path, leaf in leaves:
        name = ""
        for key in path:
            if isinstance(key, jax.tree_util.SequenceKey):
                name += f"[{key.idx}]"
            else:
                part = jax.tree_util.keystr((key,), simple=True)
                name += f".{part}" if name else part
        out += [name + "".join(f"[{i}]" for i in index) for index in np.ndindex(*np.shape(leaf))]
    return tuple(out)


def settle(trained: Trained, task: Task, solves: Solves) -> Finished | None:
    """A user's numbers in their own units, and at their least squares where they are few."""
    assert trained.models is not None
    fields = plain(trained.models.field)
    raw = equation(fields)
    trained.models = eqx.tree_at(lambda m: m.field, trained.models, fields)
    unknowns = len(task.problem.spans) * task.values.shape[2]
    if raw is None or not few(raw.field, task.members):
        return None
    return finish(trained, task, solves) if unknowns <= _MOST_UNKNOWNS else None


def estimate(run: Run, fit: Finished | None) -> Estimates | None:
    """What a finished run on all points says about a user's numbers; None without an equation."""
    assert run.trained.models is not None
    fields = run.trained.models.field
    raw = equation(fields)
    if raw is None or run.task.closed.any():
        return None
    good = run.trusted() if run.trusted().any() else np.ones(run.task.members, bool)
    network = _network(run, good) if isinstance(fields, Residual) else None
    # What a network could trade with the numbers, their least squares beside it do not see.
    alone = network is None or bool((network < _NEGLIGIBLE).all())
    made = gauss_newton(_one(raw.field), fit) if fit and alone else jackknife(raw.field, good)
    return replace(made, network=network)


def _one(field: Any) -> Any:
    """The first of stacked fields."""
    return jax.tree.map(lambda a: a[0] if eqx.is_array(a) else a, field)


def _network(run: Run, good: np.ndarray) -> np.ndarray:
    """Share of the field that the network has along the learned paths, per observed variable."""
    problem, models, dtype = run.task.problem, run.trained.models, run.solves.plan.dtype
    assert models is not None
    nodes = run.solves.size.nodes
    given = problem.tau, run.paths, np.ones(len(problem.tau))
    t, z, weight = (cast(padded(a, nodes), dtype) for a in given)
    u = None if problem.inputs is None else cast(padded(problem.inputs, nodes), dtype)
    return np.asarray(shares(models.field, t, z, u, weight))[good, : run.task.shown].mean(0)


def jackknife(field: Any, good: np.ndarray) -> Estimates:
    """Means of the members that are `good`; errors by leaving a group of points out of each.

    ``s^2 = (k - 1) / k sum (value_i - mean)^2`` over k members with k - 1 degrees of freedom
    (Tukey 1958): it does not see what all members share, and needs at least three.
    """
    from scipy.special import stdtrit

    leaves = jax.tree.leaves(eqx.filter(field, eqx.is_inexact_array))
    each = np.concatenate([np.asarray(a, float).reshape(len(good), -1) for a in leaves], 1)[good]
    count, value, half = len(each), each.mean(0), np.full(each.shape[1], np.nan)
    error = half
    if count >= 3:
        error = np.sqrt((count - 1) / count * ((each - value) ** 2).sum(0))
        half = stdtrit(count - 1, 0.5 + COVERAGE / 2) * error
    note = "standard errors of the parameters are what the members' different points make of them"
    return Estimates(names(_one(field)), value, error, value - half, value + half, (note,))


def gauss_newton(field: Any, fit: Finished) -> Estimates:
    """Gauss-Newton: covariance ``(sum_j J_j^T J_j / s_j^2)^-1`` and Student's t.

    ``s_j^2 = RSS_j / (n_j - p_j)`` is the noise of variable j, with ``p_j`` the degrees of freedom
    that its points spend, the trace of its part of the hat matrix. Start states are unknowns beside
    the parameters. Source: Seber and Wild 1989, *Nonlinear regression*, sections 2.1 and 2.8.
    """
    from scipy.special import stdtrit

    called = names(field)
    value = fit.unknowns[: len(called)]
    freedom = int(fit.points.sum() - fit.free.sum())
    unknown = np.full(len(called), np.nan)
    if freedom < 1 or not np.isfinite(fit.squares).all():
        why = "there are not more observations than unknowns"
        why = why if freedom < 1 else "the path is not finite"
        note = f"no standard errors of the parameters: {why}"
        return Estimates(called, value, unknown, unknown, unknown, (note,))
    covariance, lost = _covariance(fit)
    error = unknown.copy()
    error[:] = np.where(lost, np.inf, np.sqrt(np.diag(covariance)))[: len(called)]
    half = stdtrit(freedom, 0.5 + COVERAGE / 2) * error
    notes = ()
    if np.isinf(error).any():
        loose = ", ".join(n for n, e in zip(called, error, strict=True) if np.isinf(e))
        notes = (f"the data do not determine {loose}: fix or remove parameters of the field",)
    return Estimates(called, value, error, value - half, value + half, notes)


def _covariance(fit: Finished) -> tuple[np.ndarray, np.ndarray]:
    """Covariance (n, n) of the unknowns, and which of them (n,) nothing determines."""
    pairs = np.ix_(fit.free, fit.free)
    matrices = np.stack([m[pairs] for m in fit.matrices])
    noise = fit.squares / np.maximum(fit.points, 1)
    for _ in range(3):
        noise = np.maximum(noise, 1e-300)
        inverse, lost = _inverse((matrices / noise[:, None, None]).sum(0))
        spent = np.einsum("ij,kji->k", inverse, matrices) / noise
        noise = fit.squares / np.maximum(fit.points - spent, 1e-9)
    n = len(fit.free)
    covariance, undetermined = np.zeros((n, n)), np.zeros(n, bool)
    covariance[pairs], undetermined[fit.free] = inverse, lost
    return covariance, undetermined


def _inverse(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse on what is determined, and which unknowns take part in what is not."""
    diagonal = np.diag(matrix)
    unit = np.where(diagonal > 0, diagonal, 1.0) ** -0.5
    values, vectors = np.linalg.eigh(unit[:, None] * matrix * unit)
    able = values > _SINGULAR * max(values[-1], 1e-300)
    within = vectors[:, able]
    inverse = unit[:, None] * ((within / values[able]) @ within.T) * unit
    return inverse, (vectors[:, ~able] ** 2).sum(1) > _INVOLVED**2
