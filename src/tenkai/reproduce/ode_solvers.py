"""ODE solvers: Euler's steps beside the solution, and the error of every method against its step.

Toyama, Neural ordinary differential equations (in Japanese), Deep Learning JP, 2019, slides 3-5.
Examples with known solutions: ``dx/dt = -c x``, ``x0 exp(-c t)``; ``d2x/dt2 = -c^2 x``,
``A sin ct + B cos ct``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..solve import solve
from ..unfold import EULER, TABLEAUX, Tableau
from . import Row, Task

RATE, END = 1.0, 4.0
SHOWN = (4, 8, 32)  # steps of the pictures
# Steps over which an order is fitted: fine enough for the leading term, above rounding errors.
COUNTS = {1: (64, 128, 256, 512), 2: (64, 128, 256, 512), 4: (32, 64, 128, 256), 5: (32, 64, 128)}


def decay(t: Any, x: Any, u: Any = None) -> Any:
    """Example 1, radioactive decay."""
    return -RATE * x


def oscillation(t: Any, x: Any, u: Any = None) -> Any:
    """Example 2, a spring, as position and velocity."""
    return jnp.stack([x[1], -(RATE**2) * x[0]])


START = {decay: [1.0], oscillation: [1.0, 0.0]}


def path(field: Any, method: Tableau, steps: int) -> Float[np.ndarray, "steps+1 dim"]:
    """The numerical solution at every one of its steps."""
    times = np.linspace(0, END, steps + 1)
    return np.asarray(solve(field, jnp.asarray(START[field]), times, method=method).ys)


@dataclass(frozen=True)
class Errors:
    """Largest errors (counts,) of the oscillation's position, and the order fitted to them."""

    steps: np.ndarray
    errors: np.ndarray

    @property
    def order(self) -> float:
        """Slope of log error against log h, by least squares."""
        return float(-np.polyfit(np.log(self.steps), np.log(self.errors), 1)[0])


def measure(method: Tableau) -> Errors:
    """Solve the oscillation with ever smaller steps."""
    counts = COUNTS[method.order]

    def error(n: int) -> float:
        exact = np.cos(RATE * np.linspace(0, END, n + 1))
        return float(np.max(np.abs(path(oscillation, method, n)[:, 0] - exact)))

    return Errors(np.array(counts), np.array([error(n) for n in counts]))


def run(task: Task = Task()) -> list[Row]:
    """Orders by regression beside those of theory, and Euler's error on the decay."""
    with jax.enable_x64(True):
        measured = {name: measure(method) for name, method in TABLEAUX.items()}
        if task.out is not None:
            draw(measured, task.out / "ode-solvers.png")
        ends = {n: float(path(decay, EULER, n)[-1, 0]) for n in SHOWN}
    rows = [
        Row(f"order, {name}", float(TABLEAUX[name].order), of.order, note="published: theory")
        for name, of in measured.items()
    ]
    return rows + [
        Row(
            f"x(4) of x' = -x, {n} Euler steps", round((1 - RATE * END / n) ** n, 4), end,
            note=f"published: (1 - h)^n; the solution is {math.exp(-RATE * END):.4f}",
        )
        for n, end in ends.items()
    ]  # fmt: skip


def draw(measured: dict[str, Errors], file: Path) -> None:
    """Three panels: Euler on both examples, and the errors on logarithmic axes."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering

    with lettering():
        figure = new_figure(11, 3.6)
        left, middle, right = figure.subplots(1, 3)
        _draw_euler(left, decay, lambda t: np.exp(-RATE * t))
        _draw_euler(middle, oscillation, lambda t: np.cos(RATE * t))
        dress(left, title="Euler, $dx/dt = -x$", x="$t$", y="$x$")
        dress(middle, title="Euler, $d^2x/dt^2 = -x$", x="$t$", y="$x$", legend=False)
        _draw_errors(right, measured)
        dress(right, title="Largest error and fitted order", x="step $h$", y="error")
        figure.savefig(file, dpi=200)


def _draw_euler(axes: Any, field: Any, exact: Any) -> None:
    from ..report.palette import INK, SERIES

    fine = np.linspace(0, END, 400)
    axes.plot(fine, exact(fine), color=INK, lw=2, label="solution")
    for n, shade, mark in zip(SHOWN, SERIES, "osv", strict=False):
        x = path(field, EULER, n)[:, 0]
        size = 5 if n < 32 else 2.5
        label = f"$h$ = {END / n:g}"
        times = np.linspace(0, END, n + 1)
        axes.plot(times, x, mark, ls="-", color=shade, lw=1, ms=size, label=label)


def _draw_errors(axes: Any, measured: dict[str, Errors]) -> None:
    from ..report.palette import colour

    # On a linear equation all two-stage methods of order two agree: Heun's is drawn hollow and
    # dashed over the midpoint's, and their names stand above and below the line's end.
    heun = {"ls": "--", "mfc": "none", "ms": 9}
    for i, (name, of) in enumerate(measured.items()):
        h, style = END / of.steps, heun if name == "heun" else {"ms": 5}
        axes.loglog(h, of.errors, marker="oso^D"[i], color=colour(i), **style)
        shift = {"midpoint": 5, "heun": -9}.get(name, -3)
        axes.annotate(
            f"{name} {of.order:.2f}", (h[0], of.errors[0]), xytext=(9, shift),
            textcoords="offset points", color=colour(i), fontsize="small",
        )  # fmt: skip
    axes.set_xlim(None, 0.6)
    axes.set_ylim(None, 1)
