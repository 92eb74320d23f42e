"""Systems with known equations, sampled as badly as real ones: irregular, noisy, with gaps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from ..errors import InputError
from .trajectories import Trajectories


@dataclass(frozen=True)
class System:
    """``dy/dt = rhs(t, y, **parameters)`` from `y0` over `span`, in NumPy.

    `solution` ``(t (time, 1), y0 (dim,)) -> (time, dim)`` is the closed form where there is one,
    needed where `rhs` is singular. `times` are those at which the source observes the system.
    """

    name: str
    rhs: Callable[..., Any]
    y0: tuple[float, ...]
    span: tuple[float, float]
    names: tuple[str, ...]
    parameters: Mapping[str, float] = field(default_factory=dict)
    solution: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None
    times: tuple[float, ...] | None = None


def _oscillator(t, y, omega, damping):
    return [y[1], -(omega**2) * y[0] - damping * y[1]]


def _lotka_volterra(t, y, a, b, c, d):
    return [a * y[0] - b * y[0] * y[1], -c * y[1] + d * y[0] * y[1]]


def _van_der_pol(t, y, mu):
    return [y[1], mu * (1 - y[0] ** 2) * y[1] - y[0]]


def _cubic_spiral(t, y, a, b):
    x, z = y[0] ** 3, y[1] ** 3
    return [-a * x - b * z, b * x - a * z]


def _pendulum(t, y, gravity, damping):
    return [y[1], -gravity * np.sin(y[0]) - damping * y[1]]


def _lorenz(t, y, sigma, rho, beta):
    return [sigma * (y[1] - y[0]), y[0] * (rho - y[2]) - y[1], y[0] * y[1] - beta * y[2]]


# The four functions of DU-NeuralODE (Wadayama 2023, section 6.2): the path starts at t = 0, every
# tenth of 200 steps of .02 is observed.
_BOOK = tuple(round(0.02 * i, 10) for i in range(1, 192, 10))


def _function(name: str, rhs: Callable[..., Any], solution: Callable[..., Any]) -> System:
    return System(name, rhs, (0.0,), (0.0, 4.0), ("y",), {}, solution, _BOOK)


SYSTEMS = {
    s.name: s
    for s in (
        System("decay", lambda t, y, rate: -rate * y, (1.0,), (0.0, 4.0), ("y",), {"rate": 1.0}),
        System(
            "oscillator", _oscillator, (1.0, 0.0), (0.0, 12.0), ("y", "v"),
            {"omega": 1.0, "damping": 0.0},
        ),
        System(
            "lotka_volterra", _lotka_volterra, (1.0, 1.0), (0.0, 14.0), ("prey", "predator"),
            {"a": 1.5, "b": 1.0, "c": 1.0, "d": 0.5},
        ),
        System("van_der_pol", _van_der_pol, (2.0, 0.0), (0.0, 14.0), ("y", "v"), {"mu": 1.0}),
        # torchdiffeq's ode_demo.py (Chen et al. 2018)
        System(
            "cubic_spiral", _cubic_spiral, (2.0, 0.0), (0.0, 25.0), ("x", "y"), {"a": 0.1, "b": 2.0}
        ),
        System(
            "damped_pendulum", _pendulum, (2.0, 0.0), (0.0, 12.0), ("angle", "velocity"),
            {"gravity": 2.0, "damping": 0.2},
        ),
        # Lorenz 1963
        System(
            "lorenz", _lorenz, (-8.0, 7.0, 27.0), (0.0, 4.0), ("x", "y", "z"),
            {"sigma": 10.0, "rho": 28.0, "beta": 8 / 3},
        ),
        _function("sine", lambda t, y: [np.cos(t)], lambda t, y0: y0 + np.sin(t)),
        _function("parabola", lambda t, y: [2 * (t - 2)], lambda t, y0: y0 + t * (t - 4)),
        _function("exponential", lambda t, y: -(y + 1), lambda t, y0: (y0 + 1) * np.exp(-t) - 1),
        _function("square_root", lambda t, y: 0.5 / y, lambda t, y0: np.sqrt(y0**2 + t)),
    )
}  # fmt: skip


def system(name: str) -> System:
    """The system of that name; `InputError` lists the known ones."""
    if name not in SYSTEMS:
        raise InputError(
            f"toy system {name!r}", expected=f"one of {', '.join(SYSTEMS)}", got=name, do="pick one"
        )
    return SYSTEMS[name]


def truth(name: str, t: Any, y0: Any = None) -> Float[np.ndarray, "time dim"]:
    """The true state at times `t`, not before the system's start, from `y0` at the start.

    The closed form where there is one, else DOP853 at a relative tolerance of 1e-10.
    """
    toy = system(name)
    t = np.atleast_1d(np.asarray(t, dtype=np.float64))
    start = np.asarray(toy.y0 if y0 is None else y0, dtype=np.float64)
    if toy.solution is not None:
        return toy.solution(t[:, None], start)
    from scipy.integrate import solve_ivp

    end = max(float(t.max()), np.nextafter(toy.span[0], np.inf))
    solved = solve_ivp(
        lambda s, y: toy.rhs(s, y, **toy.parameters), (toy.span[0], end), start,
        method="DOP853", rtol=1e-10, atol=1e-12, dense_output=True,
    )  # fmt: skip
    return solved.sol(t).T


def sample(
    name: str,
    n: int | None = None,
    *,
    noise: float = 0.0,
    kind: Literal["additive", "relative", "absolute"] = "additive",
    irregular: bool = False,
    missing: float = 0.0,
    series: int = 1,
    seed: int = 0,
) -> Trajectories:
    """Measurements of a toy system.

    Of ``y`` is seen ``y + noise sd(y) e`` (additive), ``y exp(noise e)`` (relative) or
    ``y + noise e`` (absolute), with ``e ~ N(0, 1)`` and each value left out with probability
    `missing`. Without `n`, the source's own times, or 40; where the first of these comes after
    the start, the start is a row with nothing observed. `irregular` times are uniform on the
    span. The first series starts at the system's y0, the others at ``y0 exp(.3 e)``.
    """
    toy = system(name)
    if kind not in ("additive", "relative", "absolute"):
        raise InputError("kind", expected="additive, relative or absolute", got=kind, do="pick one")
    rng = np.random.default_rng(seed)
    ts, xs = [], []
    for i in range(series):
        y0 = np.asarray(toy.y0) * (np.exp(0.3 * rng.standard_normal(len(toy.y0))) if i else 1.0)
        t = _times(toy, n, irregular, rng)
        y = truth(name, t, y0)
        e = noise * rng.standard_normal(y.shape)
        if kind == "relative":
            x = y * np.exp(e)
        else:
            x = y + e * (y.std(axis=0) if kind == "additive" else 1.0)
        x[rng.random(x.shape) < missing] = np.nan
        if t[0] > toy.span[0]:
            t, x = np.append(toy.span[0], t), np.append(np.full((1, x.shape[1]), np.nan), x, axis=0)
        ts.append(t)
        xs.append(x)
    return Trajectories.from_arrays(xs, ts, names=toy.names)


def _times(toy: System, n: int | None, irregular: bool, rng: np.random.Generator) -> np.ndarray:
    if n is None and toy.times is not None and not irregular:
        return np.asarray(toy.times)
    n = n or len(toy.times or range(40))
    if irregular:
        return np.append(toy.span[0], np.sort(rng.uniform(*toy.span, n - 1)))
    return np.linspace(*toy.span, n)
