"""What solving a field costs and how exact it is, forwards and backwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

Table = Literal["solves", "gradients", "stiffness"]
STIFF = 1000.0  # ratio from which a field is called stiff


@dataclass(frozen=True)
class MeasuredSolve:
    """One solve over the whole span: what it cost and how far it is from the reference.

    `kind` is "fixed", "adaptive" or "implicit"; `steps` are accepted ones, `rtol` the tolerance of
    the adaptive ones. `error` is in the units of `Profile.unit`, `seconds` the least of several
    repetitions. Evaluations inside the root finder of an implicit solver are not in `nfe`.
    """

    method: str
    kind: str
    steps: int
    rtol: float | None
    nfe: int
    error: float
    seconds: float
    rejected: int = 0

    def __str__(self) -> str:
        how = f"{self.steps} steps" if self.rtol is None else f"rtol {self.rtol:.2g}"
        return f"{self.method}, {how}"


@dataclass(frozen=True)
class MeasuredGradient:
    """One gradient of a function of the end with respect to the parameters and the start.

    `nfe_backward` counts vector-Jacobian products of the field: discretise-then-optimise has one
    for each evaluation of the forward solve, the continuous adjoint what its own solve takes.
    `bytes` are the compiled program's temporary memory, `error` is relative to the reference's
    norm (NaN where there is none).
    """

    adjoint: str
    method: str
    steps: int
    rtol: float | None
    nfe: int
    nfe_backward: int
    bytes: int
    seconds: float
    error: float


@dataclass(frozen=True, eq=False)
class Recommendation:
    """The quickest measured solve whose error is within the tolerance, and the way back through it.

    `options` are those of ``tk.solve`` from the first to the last time. `met` is false where
    nothing that was measured is exact enough: then it is the most exact one.
    """

    solve: MeasuredSolve
    met: bool
    implicit: bool
    options: Mapping[str, Any] = field(repr=False, default_factory=dict)
    gradient: MeasuredGradient | None = None


@dataclass(frozen=True, eq=False)
class Profile:
    """Measured trade-offs of a field: error, time and memory against evaluations of it.

    `solves` and `gradients` are tables (`to_frame`). `stiffness` (time, rows) is the ratio of the
    extreme real parts of the Jacobian's eigenvalues at fractions `at` (time,) of the way, and
    `decay` the fastest decaying one times the span. `tolerance` is what the recommendation had to
    meet, `because` why. `reference_error` is how far the float64 reference itself may be off.
    `current` is how the model is solved now, where that is known. `left_out` says what the budget
    of time did not allow.
    """

    subject: str
    solves: tuple[MeasuredSolve, ...]
    gradients: tuple[MeasuredGradient, ...]
    at: np.ndarray
    stiffness: np.ndarray
    decay: float
    recommendation: Recommendation
    tolerance: float
    because: str
    unit: str
    reference_error: float
    precision: str
    seconds: float
    current: MeasuredSolve | None = None
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def stiff(self) -> bool:
        """Ratio above 1000 with a decay that explicit steps would have to follow."""
        return bool(np.nanmax(self.stiffness) > STIFF and self.decay > STIFF)

    @property
    def order(self) -> dict[str, float]:
        """Observed order of every fixed method: slope of log error against log steps.

        Between errors of a tenth and those where rounding or the reference takes over; NaN with
        fewer than two such solves.
        """
        found = {}
        for name in dict.fromkeys(s.method for s in self.solves if s.kind == "fixed"):
            floor = 30 * max(self.floor, self.reference_error)
            mine = [s for s in self.solves if s.method == name and floor < s.error < 0.1]
            mine = sorted(mine, key=lambda s: s.steps)[-3:]
            steps, errors = [s.steps for s in mine], [s.error for s in mine]
            found[name] = (
                float(-np.polyfit(np.log(steps), np.log(errors), 1)[0])
                if len(set(steps)) > 1
                else float("nan")
            )
        return found

    @property
    def floor(self) -> float:
        """The least error seen, where rounding begins."""
        errors = [s.error for s in self.solves if np.isfinite(s.error)]
        return min(errors) if errors else float("nan")

    def to_frame(self, table: Table = "solves") -> pd.DataFrame:
        """One row per measurement: of "solves", of "gradients", or of "stiffness" along the way."""
        import pandas as pd

        if table == "stiffness":
            rows = self.stiffness.shape[1]
            return pd.DataFrame({
                "fraction": np.repeat(self.at, rows),
                "row": np.tile(np.arange(rows), len(self.at)),
                "stiffness": self.stiffness.ravel(),
            })  # fmt: skip
        made = {"solves": self.solves, "gradients": self.gradients}
        kind = {"solves": MeasuredSolve, "gradients": MeasuredGradient}[table]
        return pd.DataFrame([asdict(m) for m in made[table]], columns=list(kind.__annotations__))

    def summary(self) -> str:
        """A few lines in words: what to use, how it compares, what was left out."""
        lines = [f"{self.subject}, {self.precision}, measured in {self.seconds:.0f} s"]
        lines += [_advice(self), *_way_back(self), _rates(self)]
        if self.current is not None:
            now = self.current
            lines.append(
                f"Now: {now}: {now.nfe} evaluations, error {now.error:.2g}, "
                f"{_time(now.seconds)} a solve"
            )
        lines += [*self.notes, *(f"Left out: {what}" for what in self.left_out)]
        return "\n".join(lines)

    def __str__(self) -> str:
        return self.summary()

    def plot(self, **options: Any) -> Any:
        """Panels: error and time against evaluations, backward evaluations, bytes, stiffness."""
        from .. import report

        return report.plot(self, **options)


def _advice(p: Profile) -> str:
    best = p.recommendation.solve
    said = f"{best}: {best.nfe} evaluations, error {best.error:.2g}, {_time(best.seconds)} a solve"
    goal = f"tolerance {p.tolerance:.2g} ({p.because}), in units of {p.unit}"
    if not p.recommendation.met:
        return f"Nothing measured meets the {goal}; nearest: {said}"
    kind = "Use an implicit solver" if p.recommendation.implicit else "Use"
    return f"{kind} {said}; {goal}"


def _way_back(p: Profile) -> list[str]:
    best = p.recommendation.gradient
    lines = []
    if best is not None:
        exact = "" if np.isnan(best.error) else f", error {best.error:.2g}"
        lines.append(
            f"Gradients: {best.adjoint} through {best.method}, {best.steps} steps: "
            f"{size(best.bytes)}, {_time(best.seconds)}{exact}"
        )
    back = [g for g in p.gradients if g.adjoint == "continuous adjoint" and g.rtol is not None]
    if back:
        ratios = [g.nfe_backward / g.nfe for g in back]
        said = " to ".join(dict.fromkeys(f"{r:.2g}" for r in (min(ratios), max(ratios))))
        lines.append(f"The continuous adjoint evaluates {said} times as often back as forth")
    return lines


def _rates(p: Profile) -> str:
    middle, most = np.nanmedian(p.stiffness), np.nanmax(p.stiffness)
    verdict = "stiff" if p.stiff else "not stiff"
    return f"Stiffness ratio {middle:.2g} (median), {most:.2g} (largest): {verdict}"


def size(count: float) -> str:
    """Bytes as people read them."""
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.3g} µs"
    return f"{seconds * 1e3:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
