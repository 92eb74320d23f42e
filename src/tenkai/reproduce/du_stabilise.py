"""DU-stabilise: an output feedback that stabilises a linear system, learned through 500 steps.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, chapter 5, after
Kobayashi et al. 2019: ``x' = (A + B K C) x``, ``x(0) = (1, 1, 1, 1)``, loss ``|x(20)|^2``.
"""

from __future__ import annotations

import functools

import numpy as np
import optax

from ..problems import OptimalControl, OutputFeedback
from ..records import ControlSolution
from ..unfold import EULER, RK4
from . import Row, Task

A = np.array(
    [
        [-0.2, 0.4, -1, -0.4],
        [-0.7, -0.8, -0.6, -0.3],
        [-0.2, 0.1, -0.2, 0.4],
        [-0.6, 0.8, -0.9, 0.3],
    ]
)
B = np.array([[-0.2, 0.1], [-0.7, -0.6], [0.6, 0.9], [-0.4, 0.4]])
C = np.array([[0.8, 0.8, -0.8, -0.9], [-0.7, 0.8, -0.8, -0.2]])
HORIZON = 20.0
ADAM = functools.cache(lambda: optax.adam(1.0))
PUBLISHED = {0: (2.7e11, None), 2: (3.02, 0.038), 20: (1.2e-3, -0.12)}


def problem(
    running: bool = False, K0: np.ndarray = np.ones((2, 2)), intervals: int = 500
) -> OptimalControl:
    """The book's problem, 500 Euler steps; `running`: ``int |x|^2 + |u|^2 dt`` and Runge-Kutta."""
    along = (lambda t, x, u: x @ x + u @ u) if running else None
    end = None if running else (lambda x: x @ x)
    return OptimalControl(
        lambda t, x, u: A @ x + B @ u, along, end, x0=np.ones(4), horizon=HORIZON,
        control=OutputFeedback(K0, C), method=RK4 if running else EULER, intervals=intervals,
    )  # fmt: skip


def spread(K: np.ndarray) -> float:
    """The spectral abscissa ``max Re eig(A + B K C)``."""
    return float(np.linalg.eigvals(A + B @ K @ C).real.max())


def run(task: Task = Task()) -> list[Row]:
    """Loss and spectral abscissa after 0, 2 and 20 updates, and of a cost over the whole path."""
    book = problem()
    found = {n: book.solve(rule=ADAM(), steps=n, finish=0) for n in PUBLISHED}
    rows = []
    for n, (loss, abscissa) in PUBLISHED.items():
        rows.append(Row(f"loss (book's recipe), {n} updates", loss, found[n].cost))
        note = "unstable: the loss at the end does not show it" if n == 2 else ""
        rows.append(
            Row(f"spectral abscissa, {n} updates", abscissa, found[n].spectral_abscissa, note=note)
        )
    rows += [Row("spectral abscissa of A", 0.5799, float(np.linalg.eigvals(A).real.max()))]
    K = found[20].gain
    assert K is not None
    whole = problem(running=True, K0=K).solve()
    rows.append(
        Row("spectral abscissa, ours", None, whole.spectral_abscissa,
            note=f"cost of states and controls along the path; {whole.status.kind}")
    )  # fmt: skip
    if task.out is not None:
        _picture(task, {f"{n} updates": found[n] for n in (2, 20)} | {"whole path": whole})
    return rows


def _picture(task: Task, found: dict[str, ControlSolution]) -> None:
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import INK, QUIET, colour

    with lettering():
        figure = new_figure(7.2, 3.2)
        left, right = figure.subplots(1, 2)
        for i, (name, s) in enumerate(found.items()):
            size = np.linalg.norm(s.states, axis=1)
            left.semilogy(s.time, size, color=colour(i), label=name)
            assert s.gain is not None
            poles = np.linalg.eigvals(A + B @ s.gain @ C)
            right.plot(poles.real, poles.imag, "o", color=colour(i), label=name)
        poles = np.linalg.eigvals(A)
        right.plot(poles.real, poles.imag, "x", color=INK, label="without control")
        right.axvline(0.0, color=QUIET, linewidth=0.8)
        left.set_ylim(bottom=1e-5)
        dress(left, title="Norm of the state", x="t")
        dress(right, title="Eigenvalues of A + BKC", x="real part", y="imaginary part")
        assert task.out is not None
        figure.savefig(task.out / "du-stabilise.png", dpi=150)
