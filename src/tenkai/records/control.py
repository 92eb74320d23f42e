"""A solved control problem: what to do, what it costs, and whether to trust it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .core import Status

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class ControlSolution:
    """The plan of an `OptimalControl`: cost, paths, costate, Pontryagin residual, status.

    `states` (time, dim) and `controls` (time, inputs) are at the nodes `time`; with noise or
    several initial states they have a leading axis of paths, of which `costs` has each one's.
    `cost` is their mean with its `standard_error`; `refined_cost` is that of the same control on
    steps half as long, with the same noise. `costate` is ``dJ/dx`` at the nodes, the control
    held as it was applied, as are `states`. `residual` (time - 1, inputs) is the mean of ``dH/du``
    over each step, projected where a bound binds, and `residual_size` what it is to be small
    against. It is zero for the best of all controls; one of a narrow kind (a constant gain, say)
    may be the best of its kind and leave a residual. With noise, and for an open loop from several
    states, it is the mean over paths.

    `eigenvalues` are those of the closed loop linearised at the rest point `equilibrium` next to
    the end, for a feedback policy that does not read the time. `violation` is by how much
    constraints are missed.
    """

    cost: float
    status: Status
    time: np.ndarray
    states: np.ndarray
    controls: np.ndarray
    costate: np.ndarray
    residual: np.ndarray
    residual_size: float
    costs: np.ndarray
    refined_cost: float
    standard_error: float | None = None
    violation: float = 0.0
    equilibrium: np.ndarray | None = None
    eigenvalues: np.ndarray | None = None
    bounds: tuple[np.ndarray, np.ndarray] | None = None
    feedback: bool = False
    model: Any = field(default=None, repr=False)
    history: Sequence[dict[str, Any]] = field(default=(), repr=False)
    steps: int = 0
    seconds: float = 0.0
    act: Callable[..., np.ndarray] | None = field(default=None, repr=False)

    @property
    def spectral_abscissa(self) -> float | None:
        """The largest real part of the closed loop's eigenvalues: below zero it is stable."""
        return None if self.eigenvalues is None else float(np.real(self.eigenvalues).max())

    @property
    def gain(self) -> np.ndarray | None:
        """The learned matrix K of a linear gain or an output feedback."""
        gain = getattr(self.model, "K", None)
        return None if gain is None else np.asarray(gain)

    def control(self, t: Any, x: Any = None) -> np.ndarray:
        """What to do at times `t` (n,), or at one time: (n, inputs) or (inputs,).

        A feedback policy also needs the states `x` (n, dim) or (dim,). Raises `ValueError` where
        a state is missing or has another shape.
        """
        assert self.act is not None
        t = np.asarray(t, float)
        if not self.feedback:
            u = self.act(np.atleast_1d(t))
            return u if t.ndim else u[0]
        dim = self.states.shape[-1]
        if x is None or np.shape(x)[-1:] != (dim,):
            got = "none" if x is None else f"shape {np.shape(x)}"
            raise ValueError(f"a feedback policy: expected states of {dim} numbers; got {got}.")
        x = np.asarray(x, float)
        times = np.broadcast_to(t, (len(np.atleast_2d(x)),))
        u = self.act(times, np.atleast_2d(x))
        return u if x.ndim == 2 else u[0]

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2g}"
        return f"cost {self.cost:.6g}{error}. {self.status}"

    def to_frame(self) -> pd.DataFrame:
        """One row per node: [path,] time, x1, .., u1, .., costate1, ..."""
        import pandas as pd

        parts = {"x": self.states, "u": self.controls, "costate": self.costate}
        paths = np.atleast_3d(self.states).shape[0] if self.states.ndim == 3 else 1
        frame: dict[str, Any] = {}
        if self.states.ndim == 3:
            frame["path"] = np.repeat(np.arange(paths), len(self.time))
        frame["time"] = np.tile(self.time, paths)
        for name, values in parts.items():
            flat = values.reshape(-1, values.shape[-1])
            frame |= {f"{name}{i + 1}": flat[:, i] for i in range(flat.shape[1])}
        return pd.DataFrame(frame)

    def plot(self, **options: Any) -> Any:
        """Matplotlib axes: states, controls and costate over time."""
        from .. import report

        return report.plot(self, **options)
