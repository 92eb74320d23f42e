"""Small fitted models of every kind, and what their own methods say: the law of the exports."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tenkai as tk

PRECISE = "float64"
PACKED = 1e-6  # estimators of many series round their data to float32 where they pack them


class Case(NamedTuple):
    """A model, arguments of its exported functions, what its own methods answer, options.

    `wanted` has nothing for a function that the estimator has not; `close` is the relative error
    that is allowed there, where the estimator solves adaptively.
    """

    model: Any
    arguments: dict[str, tuple]
    wanted: dict[str, Any]
    options: dict[str, Any]
    close: dict[str, float]


def made(
    model: Any, arguments: dict[str, tuple], wanted: dict[str, Any],
    options: dict[str, Any] | None = None, close: dict[str, float] | None = None,
) -> Case:  # fmt: skip
    """A case, without options unless told."""
    return Case(model, arguments, wanted, options or {}, close or {})


def _series(count: int = 12) -> tuple[list[np.ndarray], list[np.ndarray]]:
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0, 3, rng.integers(8, 12))) for _ in range(count)]
    values = [np.sin(t[:, None] + [k, k + 1.0]) + 0.1 * rng.normal(size=(len(t), 2))
              for k, t in enumerate(times)]  # fmt: skip
    return times, [np.where(rng.random(x.shape) < 0.2, np.nan, x) for x in values]


def ode(precision: str = PRECISE) -> Case:
    """One series, one member; a rollout of 100 steps."""
    data = tk.toys.sample("lotka_volterra", n=20, noise=0.05, seed=0)
    model = tk.NeuralODE(
        members=1, width=8, depth=1, steps=5, matching_steps=20, held_out=0.0, decay=0.0,
        jacobian=0.0, positive=True, precision=precision,  # type: ignore[arg-type]
    ).fit(data)  # fmt: skip
    y0 = data[0].x[-1].astype(precision).astype(float)
    times = data[0].t[-1] + 0.125 * np.arange(101)
    ahead = model.forecast(times=times[1:])
    return made(
        model, {"vector_field": (y0,), "simulate": (y0, times), "forecast": (times[1:],)},
        {
            "vector_field": model.derivative(y0)[0], "simulate": model.simulate(y0, times).values,
            "forecast": (ahead.mean, ahead.lower, ahead.upper),
        },
    )  # fmt: skip


def driven_ode() -> Case:
    """Two series, two members, hidden dimensions, an input that the user knows."""
    rng = np.random.default_rng(0)
    times = np.arange(16) / 4
    inputs = [np.sin(times + k)[:, None] for k in range(2)]
    values = [np.cumsum(u, 0) / 4 + 0.01 * rng.normal(size=u.shape) for u in inputs]
    model = tk.NeuralODE(
        members=2, width=6, depth=1, augment=1, steps=3, matching_steps=10, held_out=0.0,
        decay=0.0, jacobian=0.0, positive=False, precision="float64",
    ).fit(values, [times] * 2, inputs)  # fmt: skip
    later, future = times[-1] + 0.1 * np.arange(1, 21), np.cos(np.arange(20))[:, None]
    ahead = model.forecast(times=later, inputs=future)[1]
    return made(
        model,
        {"simulate": (np.array([0.2]), later, future), "forecast": (np.int32(1), later, future)},
        {
            "simulate": model.simulate([0.2], later, future).values,
            "forecast": (ahead.mean, ahead.lower, ahead.upper),
        },
    )  # fmt: skip


def sde() -> Case:
    rng, x = np.random.default_rng(0), np.zeros((200, 1))
    for k in range(199):
        x[k + 1] = 0.9 * x[k] + 0.2 * rng.standard_normal(1)
    model = tk.NeuralSDE(positive=False).fit(x, t=0.125)
    times, y0 = 0.125 * np.arange(4), np.array([[0.3], [-0.1]])
    return made(
        model, {"drift": (y0[0],), "diffusion": (y0[0],), "simulate": (y0, times, _noise(model))},
        {
            "drift": model.drift(y0[0])[0], "diffusion": model.diffusion(y0[0])[0],
            "simulate": np.asarray(model.simulate(y0, times, paths=2, seed=0)),
        },
    )  # fmt: skip


def _noise(model: Any) -> np.ndarray:
    """What `simulate` draws for two paths over three gaps."""
    import jax

    from tenkai.diffusions.simulation import FINER

    inner = FINER * model.diffusion_.finer
    out = np.zeros((2, 4, inner, 1))
    with jax.enable_x64(True):
        key = jax.random.split(jax.random.key(0), 1)[0]
        for k in range(1, 4):
            for i in range(inner):
                key, now = jax.random.split(key)
                out[:, k, i] = jax.random.normal(now, (2, 1))
    return out


def latent() -> Case:
    times, values = _series()
    model = tk.LatentODE(latent=2, steps=3, hidden=6, width=6, precision="float64").fit(
        values, times, labels=[k % 2 for k in range(12)]
    )
    one = model.data_[3]
    given = one.t, np.nan_to_num(one.x), ~np.isnan(one.x)
    at = np.linspace(one.t[0], one.t[-1] + 2, 100)
    code, path = model.encode(), model.reconstruct(times=at)[3]
    return made(
        model, {"encode": given, "forecast": (*given, at), "predict_proba": given},
        {
            "encode": (code.mean[3], code.sd[3]),
            "forecast": (path.values, path.lower, path.upper),
            "predict_proba": model.predict_proba()[3],
        },
        close=dict.fromkeys(("encode", "forecast", "predict_proba"), PACKED),
    )  # fmt: skip


def rnn(sides: str = "past") -> Case:
    times, values = _series()
    cell = "ode" if sides == "past" else "gaps"
    model = tk.ODERNN(
        cell, sides=sides, hidden=6, width=6, steps=3, precision="float64",  # type: ignore[arg-type]
    ).fit(values, times, labels=[k % 2 for k in range(12)])  # fmt: skip
    one = model.data_[3]
    given = one.t, np.nan_to_num(one.x), ~np.isnan(one.x)
    path = model.reconstruct()[3]
    arguments = {"reconstruct": given, "predict_proba": given}
    wanted: dict[str, Any] = {
        "reconstruct": (path.values, path.lower, path.upper),
        "predict_proba": model.predict_proba()[3],
    }
    if sides == "past":
        later = one.t[-1] + 0.0625 * np.arange(1, 101)
        noise = np.random.default_rng(0).standard_normal((4, 104, 2))[:, :100]
        arguments["forecast"] = (*given, later, noise)
        ahead = model.forecast(times=later, data=[one.x], t=[one.t], draws=4)
        wanted["forecast"] = (None, ahead.mean)  # the draws are told only by their quantiles
    return made(model, arguments, wanted, close=dict.fromkeys(arguments, PACKED))


def classifier() -> Case:
    x = np.random.default_rng(0).normal(size=(60, 2))
    model = tk.ODEClassifier(steps=5, width=6).fit(x, (np.hypot(*x.T) < 1).astype(int))
    rows = x[:9]
    return made(
        model, {"predict_proba": (rows,), "predict": (rows,)},
        {"predict_proba": model.predict_proba(rows), "predict": model.predict(rows)},
    )  # fmt: skip


def density() -> Case:
    x = np.exp(np.random.default_rng(0).normal(size=(80, 2)))
    flow = tk.flows.RealNVP(layers=2, width=6)
    model = tk.FlowDensity(flow, members=1, steps=5, compare=False).fit(x)
    return _density_case(model, x[:9], {})


def solved_density() -> Case:
    """Flows that are equations: the estimator solves adaptively, the export on a fine grid."""
    x = np.exp(np.random.default_rng(0).normal(size=(80, 2)))
    flow = tk.flows.FFJORD(width=6)
    model = tk.FlowDensity(flow, members=2, matching=10, steps=3, compare=False).fit(x)
    close = dict.fromkeys(("score_samples", "transform", "inverse_transform", "sample"), 1e-5)
    return _density_case(model.with_tolerance(1e-9), x[:9], close)


def _density_case(model: Any, x: np.ndarray, close: dict[str, float]) -> Case:
    shares = model.density_.mixture.shares
    drawn = ((k, np.random.default_rng(k).random(2)) for k in range(10_000))
    # Rows of the tail, in Python, have normal draws of their own: a seed without any.
    seed, choice = next((k, c) for k, c in drawn if (c < shares[:-1].sum()).all())
    random = np.random.default_rng(seed)
    random.choice(len(shares), 2, p=shares)  # takes the same uniform numbers
    z = random.standard_normal((2, 2))
    return made(
        model,
        {
            "score_samples": (x,), "transform": (x,), "inverse_transform": (z,),
            "sample": (z, choice, np.ones(2)),
        },
        {
            "score_samples": model.score_samples(x), "transform": model.transform(x),
            "inverse_transform": model.inverse_transform(z), "sample": model.sample(2, seed=seed),
        },
        close=close,
    )  # fmt: skip


def algorithm() -> Case:
    A = np.random.default_rng(0).normal(size=(6, 9))
    model, y = tk.algorithms.tista(A, 0.1, 0.1, layers=4), np.ones((3, 6))
    return made(model, {"solve": (y,)}, {"solve": model(y)}, {"example": y})


def control() -> Case:
    found = tk.OptimalControl(
        lambda t, x, u: u, lambda t, x, u: x @ x + u @ u, x0=[1.0], horizon=1.0, intervals=20,
        control=tk.problems.LinearGain(),
    ).solve()  # fmt: skip
    t, x = np.float64(found.time[7]), np.array([0.7])
    return made(
        found, {"control": (t, x), "trajectory": (t,)},
        {"control": found.control(t, x), "trajectory": found.states[7]},
    )  # fmt: skip


def plan() -> Case:
    found = tk.OptimalControl(
        lambda t, x, u: u, lambda t, x, u: x @ x + u @ u, x0=[1.0], horizon=1.0, intervals=20,
        control=tk.problems.Polynomial(4),
    ).solve()  # fmt: skip
    return made(found, {"control": (np.float64(0.3),)}, {"control": found.control(0.3)})


def least_action() -> Case:
    found = tk.VariationalProblem(
        lambda t, y, dy: dy**2 - y**2 - t * y, (0, 1), (0, 0), trial=tk.problems.Polynomial(6)
    ).solve()
    t = np.linspace(0, 1, 5)
    return made(
        found, {"path": (t,), "derivative": (t,)},
        {"path": found(t), "derivative": found.derivative(t)},
    )  # fmt: skip


def regressor() -> Case:
    x = np.random.default_rng(0).normal(size=(60, 3))
    model = tk.FunctionRegressor(hidden=(6,), members=2, steps=5).fit(x, np.sin(x[:, 0]) + x[:, 1])
    said = model.predict(x[:9], coverage=0.9)
    return made(
        model, {"predict": (x[:9],), "predict_interval": (x[:9],)},
        {"predict": model.predict(x[:9]), "predict_interval": (said.mean, said.lower, said.upper)},
    )  # fmt: skip


def ukr() -> Case:
    x = np.random.default_rng(0).normal(size=(40, 3))
    model = tk.UKR(steps=3).fit(x)
    z = model.embedding_[:5] + 0.1
    missing = np.where(np.eye(3, dtype=bool), np.nan, x[:3])
    return made(
        model, {"transform": (missing,), "inverse_transform": (z,)},
        {"inverse_transform": model.inverse_transform(z)},
    )  # fmt: skip


CASES: dict[str, Callable[[], Case]] = {
    "ode": ode, "driven_ode": driven_ode, "sde": sde, "latent": latent, "rnn": rnn,
    "rnn_both": functools.partial(rnn, "both"), "classifier": classifier, "density": density,
    "solved_density": solved_density, "algorithm": algorithm, "control": control, "plan": plan,
    "least_action": least_action, "regressor": regressor, "ukr": ukr,
}  # fmt: skip


OF = {
    "ode": "NeuralODE", "driven_ode": "NeuralODE", "sde": "NeuralSDE", "latent": "LatentODE",
    "rnn": "ODERNN", "rnn_both": "ODERNN", "classifier": "ODEClassifier",
    "density": "FlowDensity", "solved_density": "FlowDensity", "algorithm": "Unfolded",
    "control": "ControlSolution", "plan": "ControlSolution", "least_action": "Solution",
    "regressor": "FunctionRegressor", "ukr": "UKR",
}  # fmt: skip
"""The class of every case, without fitting it."""


@functools.cache
def case(name: str) -> Case:
    """Fitted once per process."""
    return CASES[name]()
