"""Solutions of variational problems: the path, its action, and whether it is one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from .core import Status

if TYPE_CHECKING:
    import pandas as pd


def _inside(t: Any, interval: tuple[float, float]) -> np.ndarray:
    """Times of a user, as float64; `InputError` outside the interval."""
    t, (low, high) = np.asarray(t, float), interval
    slack = 1e-9 * (high - low)
    if not ((t >= low - slack) & (t <= high + slack)).all():
        bad = t[~((t >= low - slack) & (t <= high + slack))].flat[0]
        raise InputError(
            "t", expected=f"times between {low:g} and {high:g}", got=f"{bad:g}",
            do="ask inside, or solve the problem on a longer interval",
        )  # fmt: skip
    return t


@dataclass(frozen=True, eq=False)
class Solution:
    """The path ``y(t)`` of a variational problem on a grid of times, and how good it is.

    `loss` is what was minimised: the `action` and, where the ends are penalised, the penalties.
    `residual` is that of the Euler-Lagrange equation, ``d/dt L_dy - L_y``; `relative_residual` its
    largest size over that of its two terms; `momentum_error` the largest size of its integral
    over that of the momentum ``L_dy`` (du Bois-Reymond 1879), by which the status judges: it is
    small too where a solution has corners, and where the trial follows y but not y''.

    `natural` is the momentum at both ends, which vanishes at a free one (over its largest size;
    NaN where the end is given). `legendre` is the smallest eigenvalue of ``L_dydy`` along the path
    (Legendre 1786): where it is negative the path is no minimum.
    `curvature` the smallest eigenvalue of the second variation over the largest.
    """

    time: Float[np.ndarray, " n"]
    values: Float[np.ndarray, "n dim"]
    slopes: Float[np.ndarray, "n dim"]
    action: float
    loss: float
    boundary_errors: Float[np.ndarray, "2 dim"]
    residual: Float[np.ndarray, "n dim"]
    relative_residual: float
    momentum_error: float
    natural: Float[np.ndarray, "2 dim"]
    legendre: float
    curvature: float | None
    status: Status
    trial: str
    steps: int
    scalar: bool = False
    history: list[dict[str, Any]] = field(default_factory=list, repr=False)
    path: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None = field(
        default=None, repr=False
    )

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.asarray(self.values, dtype=dtype)

    def __call__(self, t: Any) -> np.ndarray:
        """``y(t)``, of the shape of t and then (dim,) where y is a vector.

        Raises `InputError` outside the interval.
        """
        return self._at(t)[0]

    def derivative(self, t: Any) -> np.ndarray:
        """``y'(t)``, as `y` itself."""
        return self._at(t)[1]

    def _at(self, t: Any) -> tuple[np.ndarray, np.ndarray]:
        assert self.path is not None
        t = _inside(t, (self.time[0], self.time[-1]))
        y, dy = self.path(t.reshape(-1))
        shape = t.shape if self.scalar else (*t.shape, y.shape[-1])
        return y.reshape(shape), dy.reshape(shape)

    def to_frame(self) -> pd.DataFrame:
        """One row per time: time, y, dy and the residual of every component."""
        import pandas as pd

        table: dict[str, np.ndarray] = {"time": self.time}
        for i in range(self.values.shape[1]):
            name = "y" if self.scalar else f"y{i}"
            table |= {name: self.values[:, i], f"d{name}": self.slopes[:, i]}
            table[f"residual {name}"] = self.residual[:, i]
        return pd.DataFrame(table)

    def plot(self, **options: Any) -> Any:
        """The path and its residual as matplotlib axes."""
        from .. import report

        return report.plot(self, **options)


@dataclass(frozen=True, eq=False)
class Family:
    """The solutions ``y(t; r)`` of a whole ensemble of problems, learned at once.

    `residual` are the relative residuals of the Euler-Lagrange equation at the problems `checked`.
    """

    interval: tuple[float, float]
    status: Status
    checked: Float[np.ndarray, "problems dim_r"]
    residual: Float[np.ndarray, " problems"]
    evaluate: Callable[[np.ndarray, np.ndarray], np.ndarray] = field(repr=False)
    draw: Callable[[int, Any], np.ndarray] = field(repr=False)
    check: Callable[[Any], np.ndarray] = field(repr=False)
    expectation: tuple[np.ndarray, np.ndarray] = field(repr=False)  # problems and their weights
    scalar: bool = False
    scalar_r: bool = True
    mean_problem: Solution | None = field(default=None, repr=False)

    def __call__(self, t: Any, r: Any) -> np.ndarray:
        """``y(t; r)``, shape (problems, times), then (dim,) where y is a vector.

        One problem leaves the first axis away, one time the second. Raises `InputError` for r
        outside the support (of an unbounded one: its outer 0.02 %) and t outside the interval.
        """
        t, rows = _inside(t, self.interval), self.check(r)
        out = self.evaluate(t.reshape(-1), rows)
        one = np.ndim(r) == (0 if self.scalar_r else 1)
        lead = () if one else (len(rows),)
        tail = () if self.scalar else (out.shape[-1],)
        return out.reshape((*lead, *t.shape, *tail))

    def sample(
        self, count: int, t: Any, *, seed: int = 0
    ) -> tuple[Float[np.ndarray, "count dim_r"], np.ndarray]:
        """Problems drawn from the ensemble and their solutions (count, times[, dim])."""
        r = self.draw(count, seed)
        asked = r[:, 0] if self.scalar_r else r
        return r, self(np.atleast_1d(np.asarray(t, float)), asked)

    def mean_of_solutions(self, t: Any) -> np.ndarray:
        """``E_r y(t; r)``, by quadrature; not the solution of the mean problem."""
        r, q = self.expectation
        return np.tensordot(q, self(t, r[:, 0] if self.scalar_r else r), 1)

    def plot(self, **options: Any) -> Any:
        """The mean problem's solution, the mean of solutions and 50 sampled ones."""
        from .. import report

        return report.plot(self, **options)
