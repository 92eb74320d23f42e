"""`NeuralSDE` as a program: its drift, its diffusion, its paths out of given noise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from ..diffusions.simulation import FINER, gaussian_step
from ..estimators.border import with_covariates
from ..estimators.neural_sde import NeuralSDE
from ..unfold import Interval
from .program import Argument, Function, Program
from .programs import Wanted, build, chosen, over_members


@build.register
def _(model: NeuralSDE, wanted: Wanted) -> Program:
    model._fitted()
    members = len(np.asarray(model.model_.units.state.scale))
    drift, diffusion = (_field(model, members, which) for which in (0, 1))
    steps = FINER * model.diffusion_.finer
    usual = float(model.diffusion_.units.time.scale)
    notes = (
        f"mean of {members} members; each path follows one" if members > 1 else "one member",
        f"simulate as the estimator does with {steps} substeps per {usual:.6g} units of time",
    )  # fmt: skip
    title = f"NeuralSDE of {', '.join(model.names_)}"
    return Program(title, (drift, diffusion, _simulate(model, members)), notes, model.model_)


def _field(model: NeuralSDE, members: int, which: int) -> Function:
    units, data = model.diffusion_.units, model.data_
    over, _ = over_members(model.model_, np.arange(members))
    timed = model.time_dependent or model._drift is not None or model._diffusion is not None
    driven, rest = bool(data.n_inputs), len(data.static_names)

    def field(*given: Array) -> Array:
        parts = list(given)
        t = parts.pop(0) if timed else 0.0
        y = parts[0]
        u = None
        if units.inputs is not None:
            inputs = parts[1] if driven else jnp.zeros(0, y.dtype)
            held = jnp.asarray(units.inputs.offset, y.dtype)[data.n_inputs :]
            u = units.inputs.forward(jnp.concatenate([inputs, held]), xp=jnp)
        z, tau = units.state.forward(y, xp=jnp), units.time.forward(t)
        found = over(lambda sde: sde.raw(tau, z, u)[which])()
        return found if members == 1 else found.mean(0)

    dim = data.dim
    arguments = [Argument("y", (dim,), f"state: {', '.join(data.names)}")]
    if timed:
        arguments.insert(0, Argument("t", (), "time"))
    if driven:
        arguments.append(Argument("u", (data.n_inputs,), f"inputs: {', '.join(data.input_names)}"))
    name, doc = (
        ("drift", "The learned drift a(y) of dy = a dt + b dW (Ito).")
        if which == 0
        else ("diffusion", "The learned diffusion b(y) of dy = a dt + b dW (Ito).")
    )
    if rest:
        doc += " Covariates are at their training mean."
    return Function(name, field, tuple(arguments), (name,), doc)


def _simulate(model: NeuralSDE, members: int) -> Function:
    units, data = model.diffusion_.units, model.data_
    static = with_covariates(None, None, 1, data) if data.static_names else None

    def path(y0: Array, times: Array, noise: Array, inputs: Any, member: Any) -> Array:
        step = gaussian_step(chosen(model.model_, member))
        each = jnp.ones(noise.shape[1], y0.dtype)
        part = jnp.cumsum(each)  # 1, 2, ... substeps
        count = part[-1]

        def scaled(inputs: Any) -> Any:
            return None if units.inputs is None else units.inputs.forward(inputs, xp=jnp)

        def gap(state: tuple, x: tuple) -> tuple[tuple, Array]:
            z, begin, low = state
            time, eps, u = x
            end, high = units.time.forward(time), scaled(u)
            h = jnp.where(end > begin, end - begin, 1.0) / count
            change = None if low is None else (high - low) / count

            def substep(z: Array, x: tuple) -> tuple[Array, None]:
                k, noise = x
                known = (None, None) if low is None else (low + (k - 1) * change, low + k * change)
                return step(z, Interval(begin + (k - 1) * h, h, *known), noise), None

            # To the start itself no step leads; one of length zero would divide by its covariance.
            reached, _ = lax.scan(substep, z, (part, eps))
            z = jnp.where(end > begin, reached, z)
            return (z, end, high), units.state.inverse(z, xp=jnp)

        first = None if inputs is None else inputs[0]
        start = (units.state.forward(y0, xp=jnp), units.time.forward(times[0]), scaled(first))
        return lax.scan(gap, start, (times, noise, inputs))[1]

    def simulate(y0: Array, times: Array, noise: Array, *given: Array) -> Array:
        rest = list(given)
        member = rest.pop() if members > 1 else jnp.zeros(y0.shape[0], jnp.int32)
        parts = rest
        if static is not None:
            row = jnp.asarray(static, times.dtype)
            parts = [*rest, jnp.broadcast_to(row, (times.shape[0], row.shape[1]))]
        inputs = jnp.concatenate(parts, axis=1) if parts else None
        if members == 1:
            return jax.vmap(lambda y, eps: path(y, times, eps, inputs, 0))(y0, noise)
        return jax.vmap(lambda y, eps, m: path(y, times, eps, inputs, m))(y0, noise, member)

    dim = data.dim
    arguments = [
        Argument("y0", ("paths", dim), f"states at times[0]: {', '.join(data.names)}"),
        Argument("times", ("times",), "increasing times"),
        Argument(
            "noise", ("paths", "times", "substeps", dim),
            "standard normal numbers; those of times[k] lead there from times[k - 1], the first "
            "are not read",
        ),
    ]  # fmt: skip
    if data.n_inputs:
        words = f"inputs at the times: {', '.join(data.input_names)}"
        arguments.append(Argument("inputs", ("times", data.n_inputs), words))
    if members > 1:
        words = f"which of the {members} members each path follows, from 0"
        arguments.append(Argument("member", ("paths",), words, "integer"))
    return Function(
        "simulate", simulate, tuple(arguments), ("path",),
        "Paths from given states and given noise: Gaussian steps with the transition's moments.",
    )  # fmt: skip
