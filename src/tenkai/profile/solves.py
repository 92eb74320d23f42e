"""Error and time against evaluations of the field: fixed steps, adaptive and implicit ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from ..devices import arithmetic
from ..records.profile import MeasuredSolve
from ..unfold import DOPRI5, EULER, MIDPOINT, RK4, Store, Tableau
from .clock import Clock, least_time
from .problem import Problem
from .reference import Reference
from .system import Rows, adaptive, fixed, implicit, system_of

METHODS = (RK4, DOPRI5, EULER, MIDPOINT)
_MOST_STEPS = 8192  # of a fixed method
_MOST_ADAPTIVE = 4096
_SLOW = 0.25  # seconds of one solve that stop a ladder
_SHARE = 0.08  # of the budget, that of one ladder
_TOLERANCES = {"float32": (1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
               "float64": (1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10)}  # fmt: skip
_NEAR = 1.25  # times the quickest solve is as quick as it: clocks are no better
_ADAMS = (8, 16, 32, 64)


class Tried(NamedTuple):
    """A measured solve and the object that solved it: a tableau, a solver or `Adams`."""

    result: MeasuredSolve
    method: Any


class Bench:
    """Everything that the solves of one problem share."""

    def __init__(self, problem: Problem, known: Reference, clock: Clock):
        self.problem, self.known, self.clock = problem, known, clock
        self.dtype = np.dtype(problem.precision)
        with arithmetic(problem.precision):
            self.system, self.y0 = system_of(problem, self.dtype)
        self.tried: list[Tried] = []

    def fixed(self, tableau: Tableau, each: int) -> MeasuredSolve:
        """`each` steps of a fixed method to every point at which errors are measured."""
        points = self.problem.points

        def run() -> Any:
            return fixed(self.system, self.y0, tableau, points, np.int32(each))

        steps = each * points
        return self._measured(run, tableau, steps=steps, nfe=steps * tableau.stages)

    def _measured(self, run: Callable, method: Any, steps: int, nfe: int) -> MeasuredSolve:
        with arithmetic(self.problem.precision):
            error = self.known.off(run())
            seconds = least_time(run)
        name = getattr(method, "name", type(method).__name__.lower())
        made = MeasuredSolve(name, "fixed", steps, None, nfe, error, seconds)
        self.tried.append(Tried(made, method))
        return made

    def ladder(self, tableau: Tableau) -> None:
        """Twice as many steps until rounding, and the fewest that meet the tolerance."""
        each, goal, last = 1, self.problem.tolerance, None
        fails, meets, most = 0, None, self.clock.spent + _SHARE * self.clock.seconds
        enough = max(10 * self.known.error, 3e-7 if self.dtype == np.float32 else 1e-12)
        while each * self.problem.points <= _MOST_STEPS:
            made = self.fixed(tableau, each)
            if made.error <= goal and meets is None:
                meets = each
            elif meets is None:
                fails = each
            rounding = last is not None and last < 1e-3 and made.error > last / 1.4
            slow = made.seconds > _SLOW or (self.clock.spent > most and each > 8)
            if slow or (meets is not None and (rounding or made.error <= enough)):
                break
            last, each = made.error, 2 * each
        while meets is not None and meets - fails > max(1, meets // 12):
            middle = (meets + fails) // 2
            if self.fixed(tableau, middle).error <= goal:
                meets = middle
            else:
                fails = middle

    def adaptive(self, solver: Any, *, stiff: bool = False) -> None:
        """A diffrax solver at several tolerances, relative to each variable's unit."""
        run_it = implicit if stiff else adaptive
        name, kind = type(solver).__name__.lower(), "implicit" if stiff else "adaptive"
        name += "" if stiff else " adaptive"
        for rtol in _TOLERANCES[self.problem.precision]:
            limits = np.asarray(rtol, self.dtype), np.asarray(self.atol(rtol), self.dtype)

            def run(limits: tuple = limits) -> Any:
                points = self.problem.points
                return run_it(
                    self.system, self.y0, solver, points, limits[0], limits[1], _MOST_ADAPTIVE
                )

            with arithmetic(self.problem.precision):
                ys, work, ok = run()
                error = self.known.off(ys) if bool(ok) else float("inf")
                seconds = least_time(run)
            made = MeasuredSolve(
                name, kind, int(work.accepted), rtol, int(work.nfe), error, seconds,
                int(work.rejected),
            )  # fmt: skip
            self.tried.append(Tried(made, solver))
            late = self.clock.left < 4 * seconds and error <= self.problem.tolerance
            if seconds > 4 * _SLOW or late or not bool(ok):
                break

    def atol(self, rtol: float) -> np.ndarray:
        """Absolute tolerances (dim,): `rtol` of every variable's unit."""
        return rtol * self.known.scale

    def adams(self) -> None:
        """Adams' method, whose grid has to be known while compiling; only the end is measured."""
        from ..solve.adams import Adams

        for steps in _ADAMS:
            if self._multistep(Adams(), steps).error <= self.problem.tolerance / 10:
                break

    def _multistep(self, method: Any, steps: int) -> MeasuredSolve:
        def run() -> Any:
            return _adams(self.system, self.y0, method, steps)[None]

        return self._measured(run, method, steps=steps, nfe=steps + 1)

    def current(self) -> MeasuredSolve | None:
        """The model as it is solved now, not one of those to choose from."""
        if self.problem.current is None:
            return None
        method, steps = self.problem.current
        if isinstance(method, Tableau):
            made = self.fixed(method, -(-steps // self.problem.points))
        else:
            made = self._multistep(method, steps)
        self.tried.pop()
        return made

    def within(self) -> Iterator[Tried]:
        """Those that meet the tolerance, the quickest first; of equally quick ones by NFE."""
        met = [t for t in self.tried if t.result.error <= self.problem.tolerance]
        least = min((t.result.seconds for t in met), default=0.0)
        near = [t for t in met if t.result.seconds <= _NEAR * least]
        yield from sorted(near, key=lambda t: t.result.nfe)
        rest = [t for t in met if t.result.seconds > _NEAR * least]
        yield from sorted(rest, key=lambda t: t.result.seconds)


@eqx.filter_jit
def _adams(system: Rows, y0: Any, method: Any, steps: int) -> Any:
    from ..solve.adams import adams

    return adams(system, y0, method, steps, Store())[0]


def measure_solves(bench: Bench, stiff: bool) -> None:
    """All methods in the order of what they tell, as far as the time allows."""
    import diffrax

    clock = bench.clock
    clock.starts(1.5)
    bench.ladder(METHODS[0])
    for tableau in METHODS[1:]:
        if clock.allows(f"{tableau.name} in fixed steps", 1.5):
            bench.ladder(tableau)
    if bench.problem.points == 1 and clock.allows("Adams' method", 3):
        bench.adams()
    if stiff:
        bench.adaptive(_implicit_solver(), stiff=True)
    if clock.allows("adaptive steps", 4):
        bench.adaptive(diffrax.Dopri5())


def _implicit_solver() -> Any:
    """Kvaerno's method of order five, with Newton's iteration instead of a frozen Jacobian.

    The latter rejects every step of van der Pol's equation with mu = 1000 after diffrax's own
    first guess of a step.
    """
    import diffrax
    import optimistix

    newton = diffrax.with_stepsize_controller_tols(optimistix.Newton)()
    return diffrax.Kvaerno5(root_finder=newton)
