"""DU-VO: optimal control by a deep-unfolded Ritz method, and Riccati's equation.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, section 6.3, after
Keyanpour and Azizsefat 2011: ``x' = u``, ``x(0) = 1``, least ``int_0^1 x^2 + u^2 dt``. The end is
free, so ``u(1) = 0`` and not ``x(1) = 0``: ``u = -sinh(1-t) / cosh 1``, cost ``tanh 1``.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import numpy as np
import optax

from ..problems import RBF, OptimalControl, PiecewiseConstant, RightEuler
from ..records import ControlSolution
from . import Row, Task

BASIS = RBF(50, low=-0.5, high=1.95, width=20.0, start=1.0)
GRID = np.linspace(0.0, 1.0, 1001)
HORIZON = 2.0
ADAM = functools.cache(lambda: optax.adam(0.1))


class Quadratic(NamedTuple):
    """``x' = A x + B u``, cost ``int x'Qx + u'Ru dt + x(T)'Fx(T)``."""

    A: np.ndarray
    B: np.ndarray
    Q: np.ndarray
    R: np.ndarray
    F: np.ndarray
    x0: np.ndarray


def book(updates: int = 200) -> ControlSolution:
    """The book's recipe: 200 steps, controls and cost read at right ends, Adam at .1."""
    return _scalar(control=BASIS, method=RightEuler(), intervals=200).solve(
        rule=ADAM(), steps=updates, finish=0
    )


def _scalar(**options: Any) -> OptimalControl:
    return OptimalControl(
        lambda t, x, u: u, lambda t, x, u: x @ x + u @ u, x0=[1.0], horizon=1.0, **options
    )


def exact(t: np.ndarray) -> np.ndarray:
    """The best control (n,) of the book's problem."""
    return -np.sinh(1 - t) / np.cosh(1)


def draw(dim: int, inputs: int, seed: int) -> Quadratic:
    """A random linear-quadratic problem; Q and F are positive semidefinite, R is at least one."""
    rng = np.random.default_rng(seed)
    root = dim**-0.5
    A, B = root * rng.standard_normal((dim, dim)), rng.standard_normal((dim, inputs))
    G, H = (root * rng.standard_normal((dim, dim)) for _ in range(2))
    S = inputs**-0.5 * rng.standard_normal((inputs, inputs))
    x0 = rng.standard_normal(dim)
    return Quadratic(A, B, G @ G.T, np.eye(inputs) + S @ S.T, H @ H.T, x0)


def solve(q: Quadratic, **options: Any) -> ControlSolution:
    """By `OptimalControl`, with the default control unless told."""
    return OptimalControl(
        lambda t, x, u: q.A @ x + q.B @ u, lambda t, x, u: x @ q.Q @ x + u @ q.R @ u,
        lambda x: x @ q.F @ x, x0=q.x0, horizon=HORIZON, inputs=q.B.shape[1], **options,
    ).solve()  # fmt: skip


def riccati(q: Quadratic, t: np.ndarray) -> tuple[float, np.ndarray]:
    """Cost and controls (n, inputs) by ``-P' = A'P + PA - P B R^-1 B' P + Q``, ``P(T) = F``."""
    from scipy.integrate import solve_ivp

    n, back = len(q.A), np.linalg.solve(q.R, q.B.T)

    def slope(s: float, p: np.ndarray) -> np.ndarray:
        P = p.reshape(n, n)
        return (q.A.T @ P + P @ q.A - P @ q.B @ back @ P + q.Q).ravel()

    options = {"rtol": 1e-11, "atol": 1e-12, "dense_output": True}
    P = solve_ivp(slope, (0.0, HORIZON), q.F.ravel(), **options).sol

    def gain(s: float) -> np.ndarray:
        return -back @ P(HORIZON - s).reshape(n, n)

    path = solve_ivp(
        lambda s, x: (q.A + q.B @ gain(s)) @ x, (0.0, HORIZON), q.x0, **options
    ).sol  # fmt: skip
    cost = q.x0 @ P(HORIZON).reshape(n, n) @ q.x0
    return float(cost), np.stack([gain(s) @ path(s) for s in t])


def discrete(q: Quadratic, pieces: int, per_piece: int) -> tuple[float, np.ndarray]:
    """The same for controls held over `pieces`: the discrete recursion of exactly our steps.

    One Runge-Kutta step is linear in the state and the control held over it, and its cost is
    quadratic: so are `per_piece` of them. Both are found by stepping unit vectors.
    """
    n, m = q.B.shape
    h = HORIZON / (pieces * per_piece)
    G = np.block([[q.A, q.B], [np.zeros((m, n + m))]])
    W = np.block([[q.Q, np.zeros((n, m))], [np.zeros((m, n)), q.R]])
    one, unit = np.eye(n + m), np.eye(n + m)
    k1 = G @ unit
    k2 = G @ (unit + h / 2 * k1)
    k3 = G @ (unit + h / 2 * k2)
    stages = [unit, unit + h / 2 * k1, unit + h / 2 * k2, unit + h * k3]
    step = unit + h / 6 * (k1 + 2 * k2 + 2 * k3 + G @ stages[3])
    price = sum(w * s.T @ W @ s for w, s in zip((1, 2, 2, 1), stages, strict=True)) * h / 6
    total = np.zeros_like(price)
    for _ in range(per_piece):
        total, one = total + one.T @ price @ one, step @ one
    move, P, gains = one[:n], q.F, []
    for _ in range(pieces):
        Z = total + move.T @ P @ move
        gains.append(-np.linalg.solve(Z[n:, n:], Z[n:, :n]))
        K = np.concatenate([np.eye(n), gains[-1]])
        P = K.T @ Z @ K
    x, u = q.x0, []
    for K in reversed(gains):
        u.append(K @ x)
        x = move @ np.concatenate([x, u[-1]])
    return float(q.x0 @ P @ q.x0), np.stack(u)


def misses(dim: int, inputs: int, seed: int) -> tuple[float, float]:
    """Relative errors of the cost and of ``max |u|`` against Riccati's equation."""
    q = draw(dim, inputs, seed)
    t = np.linspace(0.0, HORIZON, 2001)
    cost, u = riccati(q, t)
    found = solve(q)
    return abs(found.cost / cost - 1), abs(_largest(found.control(t)) / _largest(u) - 1)


def held_misses(dim: int, inputs: int, seed: int, pieces: int = 50) -> tuple[float, float]:
    """The same for piecewise constant controls, against the discrete recursion."""
    q = draw(dim, inputs, seed)
    cost, u = discrete(q, pieces, 200 // pieces)
    found = solve(q, control=PiecewiseConstant(pieces))
    middle = (np.arange(pieces) + 0.5) * HORIZON / pieces
    return abs(found.cost / cost - 1), abs(_largest(found.control(middle)) / _largest(u) - 1)


def _largest(u: np.ndarray) -> float:
    return float(np.linalg.norm(u, axis=1).max())


def run(task: Task = Task(), *, seeds: int = 3, dims: tuple[int, ...] = (4, 12)) -> list[Row]:
    """The book's recipe, the default solver, the free end, and linear-quadratic problems."""
    theirs, ours = book(), _scalar().solve()
    error, their_error = (np.abs(s.control(GRID)[:, 0] - exact(GRID)).max() for s in (ours, theirs))
    rows = [
        Row("cost (book's recipe)", 0.7601447910, theirs.cost, note="after update 200"),
        Row("max error in control (book's recipe)", 5.2e-3, float(their_error), note="at t = 1"),
        Row("cost", round(math.tanh(1), 9), ours.cost, note="published: tanh 1"),
        Row("max error in control", None, float(error), note="default solver"),
        Row("x(1), free end", round(1 / math.cosh(1), 8), float(ours.states[-1, 0])),
        Row("u(1), natural condition", None, float(ours.control(1.0)[0])),
        Row("Pontryagin residual", None, float(np.abs(ours.residual).max())),
    ]
    for dim in dims:
        inputs = max(1, dim // 4) + 1
        for kind, miss in (("", misses), (", held", held_misses)):
            errors = np.array([miss(dim, inputs, seed) for seed in range(seeds)])
            for name, worst in zip(("cost", "max |u|"), errors.max(axis=0), strict=True):
                note = f"relative, worst of {seeds} seeds, {inputs} controls"
                note += "; discrete recursion" if kind else "; Riccati's differential equation"
                rows.append(Row(f"LQ, dim {dim}{kind}: {name}", None, float(worst), note=note))
    if task.out is not None:
        _picture(task, theirs, ours)
    return rows


def _picture(task: Task, theirs: ControlSolution, ours: ControlSolution) -> None:
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import AHEAD, GOOD, INK, LEARNED

    with lettering():
        figure = new_figure(7.2, 3.2)
        left, right = figure.subplots(1, 2)
        left.plot(GRID, exact(GRID), color=INK, linewidth=3, alpha=0.3, label="exact u")
        left.plot(GRID, theirs.control(GRID)[:, 0], color=AHEAD, label="book's recipe")
        left.plot(GRID, ours.control(GRID)[:, 0], color=LEARNED, linestyle="--", label="default")
        left.plot(ours.time, ours.states[:, 0], color=GOOD, label="x")
        dress(left, title="State and control", x="t")
        for solution, shade, name in ((theirs, AHEAD, "book's recipe"), (ours, LEARNED, "default")):
            off = np.abs(solution.control(GRID)[:, 0] - exact(GRID))
            right.semilogy(GRID, np.maximum(off, 1e-16), color=shade, label=name)
        dress(right, title="Error of the control", x="t")
        assert task.out is not None
        figure.savefig(task.out / "du-optimal-control.png", dpi=150)
