"""Solutions as programs: a control or a feedback policy, the path of least action."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..models.policies import Bounded
from ..records import ControlSolution, Solution
from .program import Argument, Function, Program
from .programs import Wanted, build, unsupported, wide


@build.register
def _(model: ControlSolution, wanted: Wanted) -> Program:
    policy: Any = wide(model.model)
    dim, inputs = model.states.shape[-1], model.controls.shape[-1]
    if model.bounds is not None:
        policy = Bounded(policy, *(tuple(np.asarray(b).tolist()) for b in model.bounds))
    end = float(model.time[-1])
    time = Argument("t", (), f"time, from 0 to {end:.10g}")
    if model.feedback:

        def control(t: Array, x: Array) -> Array:
            return policy(t, x)

        functions = [Function("control", control, (time, Argument("x", (dim,), "state")), ("u",),
                              f"The feedback policy u(t, x), {inputs} controls.")]  # fmt: skip
    else:

        def planned(t: Array) -> Array:
            return policy(t)

        functions = [Function("control", planned, (time,), ("u",),
                              f"The planned control u(t), {inputs} controls.")]  # fmt: skip
    if model.states.ndim == 2:
        functions.append(_trajectory(model, time))
    kind = "feedback policy" if model.feedback else "control"
    notes = (f"cost {model.cost:.10g} over a horizon of {end:.10g}",)
    return Program(f"Optimal {kind}", tuple(functions), notes, policy)


def _trajectory(model: ControlSolution, time: Argument) -> Function:
    states, count = np.asarray(model.states, float), len(model.time) - 1
    step = float(model.time[-1]) / count

    def trajectory(t: Array) -> Array:
        at = jnp.clip(jnp.floor(t / step), 0, count - 1)
        below, known = at.astype(jnp.int32), jnp.asarray(states, t.dtype)
        part = t / step - at
        return (1 - part) * known[below] + part * known[below + 1]

    return Function(
        "trajectory", trajectory, (time,), ("x",),
        "The planned state at a time, straight between the nodes of the grid.",
    )  # fmt: skip


@build.register
def _(model: Solution, wanted: Wanted) -> Program:
    inner: Any = getattr(model.path, "args", (None,))[0]
    if not isinstance(inner, eqx.Module):
        raise unsupported(
            "Solution", "one that VariationalProblem.solve found", "a path of other code",
            "export the Solution of solve()",
        )  # fmt: skip
    curve: Any = wide(inner)

    def shown(y: Array) -> Array:
        return y[0] if model.scalar else y

    def path(t: Array) -> Array:
        return jax.vmap(lambda t: shown(curve(t)))(t)

    def derivative(t: Array) -> Array:
        return jax.vmap(lambda t: shown(jax.jvp(curve, (t,), (jnp.ones_like(t),))[1]))(t)

    low, high = (float(model.time[i]) for i in (0, -1))
    arguments = (Argument("t", ("times",), f"times from {low:.10g} to {high:.10g}"),)
    functions = (
        Function("path", path, arguments, ("y",), "The path y(t)."),
        Function("derivative", derivative, arguments, ("dy",), "Its derivative y'(t)."),
    )
    notes = (f"action {model.action:.10g}; {model.trial}",)
    return Program("Path of least action", functions, notes, curve)
