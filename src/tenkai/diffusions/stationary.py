"""The law that a learned diffusion settles to, or that there is none."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array

from ..data import Scaler
from ..models.sde import SDE, Positive, SmoothNetwork
from ..records import Stationary, Status
from .moments import square
from .simulation import paths

_POINTS = 4001
_REACH = 60.0  # standard deviations of the data that a law may spread over
_GONE = 1e-8
_PATHS, _GAPS = 1000, 1000
_SAME = 0.2


@functools.cache
def _fields():
    def one(model: SDE, z: Array, u: Array | None) -> tuple[Array, Array]:
        def at(z: Array) -> tuple[Array, Array]:
            a, b = model(0.0, z, u)
            return a, square(b)

        return jax.vmap(at)(z)

    return eqx.filter_jit(eqx.filter_vmap(one, in_axes=(eqx.if_array(0), None, None)))


def stationary(
    model: SDE, state: Scaler, starts: np.ndarray, u: np.ndarray | None, substeps: int, seed: int
) -> Stationary:
    """Mean and covariance in raw units, inputs (k,) held constant, from standardised `starts`.

    Of one variable ``p(z) ~ exp(int 2 a / b^2) / b^2``; of affine drifts with a level diffusion on
    the raw scale ``A P + P A^T + b b^T = 0``; otherwise a long simulation.
    """
    dim = starts.shape[1]
    if dim == 1:
        return _of_one(model, state, u)
    linear = _linear(model, u)
    if linear is not None and not state.positive.any():
        return _lyapunov(*linear, state)
    return _simulated(model, state, starts, u, substeps, seed)


def _none(dim: int, cause: str) -> Stationary:
    status = Status(
        "no stationary law", "the learned diffusion settles to no law", cause,
        "look at forecasts instead; with more data a weak pull back may show", False,
    )  # fmt: skip
    return Stationary(np.full(dim, np.nan), np.full((dim, dim), np.nan), status)


def _of_one(model: SDE, state: Scaler, u: np.ndarray | None) -> Stationary:
    reach = 4.0
    while reach <= _REACH:
        z = np.linspace(-reach, reach, _POINTS)
        a, c = (np.asarray(x, float) for x in _fields()(model, z[:, None], u))
        a, c = a[..., 0], c[..., 0, 0]
        slope = 2 * a / c
        step = z[1] - z[0]
        logs = np.cumsum(np.pad(0.5 * (slope[:, 1:] + slope[:, :-1]) * step, ((0, 0), (1, 0))), 1)
        logs = logs - np.log(c)
        if np.isfinite(logs).all():
            density = np.exp(logs - logs.max(1, keepdims=True))
            if max(density[:, 0].max(), density[:, -1].max()) < _GONE:
                return _moments(z, density, state)
        reach *= 1.5
    return _none(1, "its density does not fall off: it grows, or walks without a pull back")


def _moments(z: np.ndarray, density: np.ndarray, state: Scaler) -> Stationary:
    share = (density / density.sum(1, keepdims=True)).mean(0)
    x = state.inverse(z[:, None])[:, 0]
    mean = share @ x
    variance = share @ (x - mean) ** 2
    grid = np.gradient(x)
    status = Status("stationary", "the stationary law of one variable, by quadrature")
    return Stationary(
        np.array([mean]), np.array([[variance]]), status, grid=x, density=share / grid
    )


def _linear(model: SDE, u: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Members' drift at zero, slope and noise, where the drift is affine and the noise level."""
    drift, noise = model.drift, model.diffusion
    if not isinstance(drift, SmoothNetwork) or not isinstance(noise, Positive):
        return None
    level = not np.asarray(noise.net.coefficients)[..., 1:].any()
    if drift.hidden.direction.shape[-2] or not level:
        return None
    dim = np.asarray(drift.coefficients).shape[-2]
    a, c = (np.asarray(x, float) for x in _fields()(model, np.zeros((1, dim)), u))
    slope = np.asarray(drift.coefficients, float)[:, :, 1 : 1 + dim]
    return a[:, 0], slope, c[:, 0]


def _lyapunov(a: np.ndarray, slope: np.ndarray, c: np.ndarray, state: Scaler) -> Stationary:
    from scipy.linalg import solve_continuous_lyapunov

    dim = a.shape[1]
    if np.linalg.eigvals(slope).real.max() >= 0:
        return _none(dim, "its drift pushes away from its resting point, or does not pull at all")
    means = np.stack([-np.linalg.solve(s, v) for s, v in zip(slope, a, strict=True)])
    each = np.stack([solve_continuous_lyapunov(s, -q) for s, q in zip(slope, c, strict=True)])
    scale = np.asarray(state.scale)
    status = Status("stationary", "the stationary law of an affine drift, by Lyapunov's equation")
    return Stationary(state.inverse(means.mean(0)), each.mean(0) * np.outer(scale, scale), status)


def _simulated(
    model: SDE, state: Scaler, starts: np.ndarray, u: np.ndarray | None, substeps: int, seed: int
) -> Stationary:
    random = np.random.default_rng(seed)
    begun = starts[random.integers(len(starts), size=_PATHS)]
    t = np.arange(_GAPS + 1.0)
    inputs = None if u is None else np.tile(u, (len(t), 1))
    with np.errstate(over="ignore", invalid="ignore"):
        x = state.inverse(paths(model, begun, t, inputs, substeps, seed))
    dim = starts.shape[1]
    if not np.isfinite(x).all():
        return _none(dim, "its paths blow up")
    third, last = (x[:, a:b].reshape(-1, dim) for a, b in ((_GAPS // 2, 3 * _GAPS // 4),
                                                            (3 * _GAPS // 4, None)))  # fmt: skip
    spread = np.sqrt(third.var(0))
    moved = np.abs(last.mean(0) - third.mean(0)) > _SAME * spread
    if moved.any() or (np.abs(last.var(0) / third.var(0) - 1) > _SAME).any():
        return _none(dim, f"after {_GAPS} usual gaps its paths still move away")
    both = np.concatenate([third, last])
    status = Status("stationary", f"the stationary law, by {_PATHS} paths over {_GAPS} usual gaps")
    return Stationary(both.mean(0), np.cov(both.T), status)
