"""DU-EM: an output feedback learned through Euler-Maruyama, and how small noise lets the state be.

Wadayama, Model-based deep learning and deep unfolding (in Japanese), 2023, chapter 5:
``dx = (A + B K C) x dt + .4 dW``, loss ``E |x(20)|^2`` from ``x(0) ~ N(0, I)``. The noise is
additive, so the state never comes to rest: its stationary law is N(0, P) with
``M P M' + .16 h I = P``, ``M = I + h (A + B K C)``, for the scheme's step h.
"""

from __future__ import annotations

import numpy as np

from ..problems import OptimalControl, OutputFeedback
from . import Row, Task
from .du_stabilise import ADAM, HORIZON, A, B, C

K0 = np.array([[-2.7, 2.7], [2.7, -2.7]])
NOISE, STEPS, UPDATES = 0.4, 1000, 100
ETA = HORIZON / STEPS
BEST, BEST_CONTINUOUS = 0.979, 0.965  # of any static gain, by numerical search; gains diverge


def problem(seed: int, running: bool = False, intervals: int = STEPS) -> OptimalControl:
    """The book's problem; with `running` the cost is ``E int |x|^2 dt`` instead."""
    from scipy.stats import multivariate_normal

    return OptimalControl(
        lambda t, x, u: A @ x + B @ u,
        (lambda t, x, u: x @ x) if running else None,
        None if running else (lambda x: x @ x),
        x0=multivariate_normal(np.zeros(4)), horizon=HORIZON, noise=NOISE,
        control=OutputFeedback(K0, C), intervals=intervals, seed=seed,
    )  # fmt: skip


def learned(seed: int, running: bool = False) -> np.ndarray:
    """K after the book's 100 updates."""
    K = problem(seed, running).solve(rule=ADAM(), steps=UPDATES).gain
    assert K is not None
    return K


def covariance(K: np.ndarray, eta: float | None = ETA) -> np.ndarray:
    """The stationary covariance (4, 4) of the scheme with step `eta`, or of the equation (None)."""
    from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov

    closed = A + B @ K @ C
    if eta is None:
        return solve_continuous_lyapunov(closed, -(NOISE**2) * np.eye(4))
    return solve_discrete_lyapunov(np.eye(4) + eta * closed, eta * NOISE**2 * np.eye(4))


def mean_norm(P: np.ndarray) -> float:
    """``E |x|`` for x ~ N(0, P); infinite where P is not a covariance.

    ``int_0^inf (1 - prod_i (1 + 2 s l_i)^-1/2) s^-3/2 ds / (2 sqrt pi)``, l the eigenvalues of P:
    from ``sqrt(q) = int_0^inf (1 - exp(-s q)) s^-3/2 ds / (2 sqrt pi)`` and the Laplace transform
    of the quadratic form.
    """
    from scipy.integrate import quad

    eigen = np.linalg.eigvalsh(P)
    if eigen.min() <= 0:
        return float("inf")

    def inside(v: float) -> float:  # s = exp(v)
        s = np.exp(v)
        return -np.expm1(-0.5 * np.log1p(2 * s * eigen).sum()) / np.sqrt(s)

    value = quad(inside, -80.0, 80.0, limit=500, epsabs=1e-12, points=[-10.0, 0.0, 10.0])[0]
    return float(value / (2 * np.sqrt(np.pi)))


def simulated(K: np.ndarray, paths: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times .5 .. 20, mean and standard deviation over paths of ``|x|`` from x(0) = ones."""
    rng = np.random.default_rng(seed)
    step = np.eye(4) + ETA * (A + B @ K @ C)
    x, norms = np.ones((paths, 4)), []
    for i in range(STEPS):
        x = x @ step.T + NOISE * np.sqrt(ETA) * rng.standard_normal((paths, 4))
        if (i + 1) % (STEPS // 40) == 0:
            norms.append(np.linalg.norm(x, axis=1))
    return np.arange(1, 41) * HORIZON / 40, np.mean(norms, axis=1), np.std(norms, axis=1)


def run(task: Task = Task(), *, seeds: int = 5, paths: int = 10_000) -> list[Row]:
    """The book's recipe over several seeds, judged by Lyapunov equations and by simulation."""
    gains = [learned(seed) for seed in range(seeds)]
    whole = learned(0, running=True)
    norms = [mean_norm(covariance(K)) for K in gains]
    flow = [mean_norm(covariance(K, None)) for K in gains]
    middle = gains[int(np.argsort(norms)[len(norms) // 2])]
    late = {"before": simulated(K0, paths, 1), "learned": simulated(middle, paths, 1)}
    reached = {name: float(curve[1][20:].mean()) for name, curve in late.items()}
    each = ", ".join(f"{v:.3f}" for v in norms)
    expected = mean_norm(covariance(middle))
    rows = [
        Row("stationary norm, before", 1.677, mean_norm(covariance(K0)), note="of the scheme"),
        Row("stationary norm", BEST, float(np.median(norms)), _spread(norms), seeds,
            note=f"median; seeds: {each}; published: best static gain, book .99-1.07"),
        Row("simulated norm, before", 1.674, reached["before"], note="mean over t = 10.5 .. 20"),
        Row("simulated norm", None, reached["learned"],
            note=f"{paths} paths; {reached['learned'] / expected - 1:+.2%} off {expected:.4f}"),
        Row("stationary norm, continuous, before", 1.582, mean_norm(covariance(K0, None))),
        Row("stationary norm, continuous", BEST_CONTINUOUS, float(np.median(flow)), _spread(flow),
            seeds, note="published: the best static gain"),
        Row("trace of P, before", 3.43, float(np.trace(covariance(K0)))),
        Row("trace of P", None, float(np.median([np.trace(covariance(K)) for K in gains]))),
        Row("stationary norm, ours", None, mean_norm(covariance(whole)),
            note="cost along the whole path instead of at its end, seed 0"),
    ]  # fmt: skip
    if task.out is not None:
        _picture(task, late, {"before": mean_norm(covariance(K0)), "learned": expected})
    return rows


def _spread(values: list[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def _picture(task: Task, late: dict, levels: dict[str, float]) -> None:
    from ..report.axes import band, dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import AHEAD, LEARNED

    with lettering():
        ax = new_figure(6.4, 3.6).add_subplot()
        for name, shade in (("before", AHEAD), ("learned", LEARNED)):
            t, mean, sd = late[name]
            ax.plot(t, mean, color=shade, label=f"{name}, mean")
            band(ax, t, mean - sd, mean + sd, shade)
            ax.axhline(levels[name], color=shade, linewidth=0.8, linestyle="--",
                       label=f"{name}, stationary {levels[name]:.3f}")  # fmt: skip
        ax.set_ylim(0.0, 4.2)
        dress(ax, title="Norm of the state, mean ± standard deviation of paths", x="T", y="|x(T)|")
        assert task.out is not None
        ax.figure.savefig(task.out / "du-stabilise-sde.png", dpi=150)  # type: ignore[union-attr]
