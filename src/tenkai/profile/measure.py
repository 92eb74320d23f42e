"""`profile`: all measurements of one problem within a budget of time, and what to use."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

import numpy as np

from ..errors import InputError
from ..records.profile import STIFF, MeasuredGradient, Profile, Recommendation
from ..unfold import Tableau
from . import gradients
from .clock import Clock
from .problem import Problem, profilable
from .reference import Rates, rates, reference
from .solves import Bench, Tried, measure_solves

_LONG = 2048  # steps beyond which no gradient is measured
_GROWN = 4  # times as many steps, to see how bytes grow
_NEAR = 1.1  # times the quickest way back is as good as it
_BACK = (1e-2, 1e-3, 1e-4, 1e-5)


def profile(
    model: Any,
    data: Any = None,
    *,
    tolerance: float | None = None,
    seconds: float = 60.0,
    precision: Literal["float32", "float64"] | None = None,
) -> Profile:
    """What solving a model's field costs: error, time, memory, stiffness; and what to use.

    Measured are: error and seconds against evaluations of the field (NFE) for Euler's, the
    midpoint, Runge-Kutta's classical and Dormand and Prince's method in fixed steps, the latter in
    adaptive ones, Adams' for flows and an implicit method where the field is stiff; bytes
    (temporary memory of the compiled program), seconds and exactness of a gradient by every memory
    policy, by recursive checkpointing and by the continuous adjoint, with its backward NFE; and
    the ratio of the extreme real parts of the Jacobian's eigenvalues along the path. Errors are
    against a float64 solve, root mean squares over rows and variables at the worst time.

    Args:
        model: a fitted `NeuralODE`, a `FlowDensity` with a continuous flow, or any field
            ``f(t, y, u) -> dy/dt``; other models join by `tenkai.profile.profilable`.
        data: what to solve it on; default what the estimator was trained on. Of a field
            ``(y0, t)`` or ``(y0, t, u)``: start (dim,) or (rows, dim), first and last time, inputs.
        tolerance: the error that is small enough; default a tenth of the model's noise, where it
            has any, else 1e-3.
        seconds: for all of it, compilation included. What there was no time for is in `left_out`.
        precision: in which the model is solved; default its own, of a field that of `y0`.

    Raises `InputError` for models without a field, data that do not fit and other bad arguments.

    >>> import jax.numpy as jnp, numpy as np, tenkai as tk
    >>> spiral = lambda t, y, u: jnp.array([[-0.1, 2.0], [-2.0, -0.1]]) @ y
    >>> found = tk.profile(spiral, (np.array([2.0, 0.0]), [0.0, 5.0]), seconds=1)
    >>> best = found.recommendation
    >>> bool(best.solve.error <= found.tolerance), found.stiff
    (True, False)
    >>> tk.solve(spiral, np.array([2.0, 0.0]), [0.0, 5.0], **best.options).ys.shape
    (2, 2)

    Source: Hairer, Nørsett and Wanner 1993, II.10 (work-precision diagrams); Chen et al. 2018,
    figure 3.
    """
    _check(tolerance, seconds, precision)
    clock = Clock(float(seconds))
    problem = profilable(model, data)
    changed: dict[str, Any] = {} if precision is None else {"precision": precision}
    if tolerance is not None:
        changed |= {"tolerance": float(tolerance), "because": "as asked"}
    return measured(dataclasses.replace(problem, **changed), clock)


def _check(tolerance: Any, seconds: Any, precision: Any) -> None:
    for name, value in (("tolerance", 1.0 if tolerance is None else tolerance),
                        ("seconds", seconds)):  # fmt: skip
        number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not (number and 0 < float(value) < math.inf):
            raise InputError(
                name, expected="a positive number", got=repr(value), do="pass 1e-3, say"
            )
    if precision not in (None, "float32", "float64"):
        raise InputError(
            "precision", expected="'float32', 'float64' or None", got=repr(precision),
            do="pick one of these",
        )  # fmt: skip


def measured(problem: Problem, clock: Clock) -> Profile:
    """All measurements of a problem."""
    known = reference(problem)
    if not np.isfinite(known.ys).all():
        raise InputError(
            "data", expected="a path that exists over the whole span",
            got="states that are not finite", do="shorten the span, or look for a pole of the field"
        )  # fmt: skip
    seen = rates(problem, known)
    bench = Bench(problem, known, clock)
    stiff = bool(np.nanmax(seen.stiffness) > STIFF and seen.decay > STIFF)
    measure_solves(bench, stiff)
    best, met, told = _best(bench, stiff)
    ways = _gradients(bench)
    notes = [*problem.notes, *told]
    if known.error > 0.1 * problem.tolerance:
        notes.append(f"The reference itself may be off by {known.error:.1g}: the tolerance is too "
                     "strict to be judged by it")  # fmt: skip
    advice = Recommendation(
        best.result, met, best.result.kind == "implicit", _options(bench, best), _way(ways)
    )
    return _record(bench, seen, advice, ways, bench.current(), tuple(notes))


def _record(
    bench: Bench, seen: Rates, advice: Recommendation, ways: list[MeasuredGradient], now: Any,
    notes: tuple[str, ...],
) -> Profile:  # fmt: skip
    problem, clock = bench.problem, bench.clock
    return Profile(
        subject=problem.subject,
        solves=tuple(t.result for t in bench.tried),
        gradients=tuple(ways),
        at=seen.at,
        stiffness=seen.stiffness,
        decay=seen.decay,
        recommendation=advice,
        tolerance=problem.tolerance,
        because=problem.because,
        unit=problem.unit,
        reference_error=bench.known.error,
        precision=problem.precision,
        seconds=clock.spent,
        current=now,
        notes=notes,
        left_out=tuple(clock.left_out),
    )


def _best(bench: Bench, stiff: bool) -> tuple[Tried, bool, list[str]]:
    """The quickest that is exact enough, else the most exact one; and what to say of it.

    Where the field is stiff an implicit one goes first, if there is one: explicit steps stand at
    the edge of their stability there, and another start may cross it.
    """
    met = list(bench.within())
    if not met:
        return min(bench.tried, key=lambda t: t.result.error), False, []
    safe = [t for t in met if t.result.kind == "implicit"] if stiff else []
    if not safe or safe[0] is met[0]:
        return met[0], True, []
    quick = met[0].result
    said = f"{quick.seconds / safe[0].result.seconds:.2g} times the implicit method's time"
    return safe[0], True, [f"Explicit, at the edge of its stability: {quick}: {said}"]


def _options(bench: Bench, best: Tried) -> dict[str, Any]:
    """Of `tk.solve` over the whole span, of a flow's solver where the method is Adams'."""
    if isinstance(best.method, Tableau):
        return {"method": best.method, "substeps": best.result.steps}
    if best.result.kind == "fixed":
        from ..flows import Grid

        return {"solver": Grid(best.result.steps, best.method)}
    import diffrax

    rtol = best.result.rtol or bench.problem.tolerance
    controller = diffrax.PIDController(rtol=rtol, atol=bench.atol(rtol))
    return {"method": best.method, "controller": controller}


def _gradients(bench: Bench) -> list[MeasuredGradient]:
    """Every way back through the quickest fixed grid that is exact enough, then the others."""
    clock, problem = bench.clock, bench.problem
    grid = next((t for t in bench.within() if isinstance(t.method, Tableau)), None)
    if grid is None or grid.result.steps > _LONG:
        clock.left_out.append(
            f"gradients (no fixed grid of at most {_LONG} steps meets the tolerance)"
        )
        return []
    if not clock.allows("gradients", 2):
        return []
    exact = gradients.reference_gradient(problem, bench.known)
    back = gradients.Backwards(problem, bench.known, problem.precision)
    tableau, steps = grid.method, grid.result.steps
    names = ("recompute field", "store", "recompute step", "segments", gradients.CONTINUOUS)
    made = [
        gradients.grid_gradient(back, exact, name, tableau, steps)
        for name in names
        if clock.allows(f"gradient by {name}", 1.5)
    ]
    made += _adaptive_gradients(bench, back, exact)
    if clock.allows(f"bytes of {_GROWN} times as many steps", 6):
        made += [
            gradients.grid_gradient(back, exact, name, tableau, _GROWN * steps) for name in names
        ]
    return made


def _adaptive_gradients(bench: Bench, back: Any, exact: Any) -> list[MeasuredGradient]:
    """diffrax's recursive checkpointing, and the continuous adjoint at several tolerances."""
    clock = bench.clock
    found = [t for t in bench.within() if t.result.kind == "adaptive"]
    if not found:
        return []
    made, solver = [], found[0].method
    loosest = max(found, key=lambda t: t.result.rtol or 0.0).result
    if clock.allows(f"gradient by {gradients.RECURSIVE}", 8):
        steps = loosest.steps + loosest.rejected
        made.append(gradients.recursive_gradient(
            back, exact, solver, loosest.rtol or 1e-3, steps, loosest.nfe
        ))  # fmt: skip
    if clock.allows(f"{gradients.CONTINUOUS} in adaptive steps", 8):
        made += gradients.continuous_gradients(back, exact, solver, list(_BACK), 4096)
    return made


def _way(ways: list[MeasuredGradient]) -> MeasuredGradient | None:
    """Of the ways through the fixed grid as exact as any: the smallest of the quickest."""
    if not ways:
        return None
    steps = min(w.steps for w in ways if w.rtol is None)
    mine = [w for w in ways if w.rtol is None and w.steps == steps]
    least = min((w.error for w in mine if not math.isnan(w.error)), default=math.nan)
    exact = [w for w in mine if math.isnan(w.error) or w.error <= 1.5 * least]
    quickest = min(w.seconds for w in exact)
    near = [w for w in exact if w.seconds <= _NEAR * quickest]
    return min(near, key=lambda w: w.bytes)
