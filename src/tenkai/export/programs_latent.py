"""`LatentODE` as a program: encoder, decoder, answers with intervals, classes; one series in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from ..estimators.latent_ode import LatentODE
from ..sequences.cells import Slot
from ..sequences.evaluation import normals
from ..sequences.held_out import DRAWS, KINDS, conformal, noise_of
from ..sequences.latent import LatentModel
from ..sequences.multistep import GROWING, ORDER, advanced, bent, weights
from ..unfold import unfold
from .program import Argument, Function, Program
from .programs import Wanted, build, wide


@build.register
def _(model: LatentODE, wanted: Wanted) -> Program:
    model._fitted()
    functions = [_encode(model), _decode(model), _forecast(model, wanted.coverage)]
    if model.classes_ is not None:
        functions.append(_classes(model))
    reach = model.predictor_.reach * model.predictor_.units.span
    notes = (
        "a series' time begins with itself: only differences to t[0] count",
        f"the longest series that was learned lasts {reach:.6g}; further away it extrapolates",
        "rows of a series where nothing was observed have a mask of False",
    )
    return Program(
        f"LatentODE of {', '.join(model.data_.names)}", tuple(functions), notes, model.model_
    )


class _Series(NamedTuple):
    """What a series has shown: times from its beginning, values, masks, when it was last seen."""

    tau: Array
    x: Array
    seen: Array
    last: Array


def series_arguments(names: tuple[str, ...]) -> tuple[Argument, ...]:
    """One series as programs take it."""
    dim = len(names)
    return (
        Argument("t", ("slots",), "increasing times of the series"),
        Argument("x", ("slots", dim), f"values: {', '.join(names)}"),
        Argument("mask", ("slots", dim), "whether a value was observed", "boolean"),
    )


def _read(model: LatentODE, t: Array, x: Array, mask: Array) -> _Series:
    units = model.predictor_.units
    tau = (t - t[0]) / units.span
    z = jnp.where(mask, units.state.forward(jnp.where(mask, x, 1.0), xp=jnp), 0.0)
    last = jnp.max(jnp.where(jnp.any(mask, axis=1), tau, 0.0))
    return _Series(tau, z, mask, last)


def _posterior(net: LatentModel, series: _Series) -> tuple[Array, Array]:
    """As `LatentModel.posterior` of a row that holds one series: read from its end backwards."""
    # What is asked after the last observation tells nothing.
    t = jnp.minimum(series.tau, series.last)
    slots = Slot(t[::-1], series.x[::-1], series.seen[::-1], jnp.zeros(t.shape, bool))
    begin = net.cell.begin()._replace(t=t[-1])
    memory, _ = unfold(net.cell, begin, slots, keep=lambda s: None)
    numbers = net.head(jnp.concatenate([memory.h, jnp.abs(memory.t - t[0])[None]]))
    mean, log_sd = jnp.split(numbers, 2)
    return mean, jnp.exp(log_sd)


class _Way(NamedTuple):
    """Where a solve stands: how many steps it took, the state, past slopes, and the step before."""

    steps: Array
    y: Array
    past: tuple[Array, ...]
    before: Array
    length: Array
    end: Array


def latent_path(net: LatentModel, longest: float) -> Callable[..., Any]:
    """``run(z0, tau, read)``: ``read(z, tau)`` at times tau from 0 on, rising; z0 (draws, latent).

    The steps of `sequences.multistep` over one series: each time is read inside the step in whose
    span it lies, so the grid does not hang on what is asked.
    """
    predict, correct = weights()
    rising = np.concatenate([[0.0, 0.5**GROWING], 0.5 ** np.arange(GROWING, 0, -1)]) * longest
    field = jax.vmap(lambda t, z: net.field(t, z), in_axes=(None, 0))

    def ahead(way: _Way) -> _Way:
        phase = jnp.minimum(way.steps, len(predict) - 1)
        full = way.steps >= len(rising)
        length = jnp.where(
            full, longest, jnp.asarray(rising, way.y.dtype)[jnp.minimum(phase, len(rising) - 1)]
        )
        whole = way.steps - len(rising) + 1
        end = jnp.where(full, (whole + 1).astype(way.y.dtype) * longest, way.end + length)
        b, c = (jnp.asarray(w, way.y.dtype)[phase] * length for w in (predict, correct))
        y, slopes = advanced(field, way.y, way.past, b, c, end)
        return _Way(way.steps + 1, y, slopes, way.y, length, end)

    def run(z0: Array, tau: Array, read: Callable[[Array, Array], Any]) -> Any:
        zero = jnp.zeros((), z0.dtype)
        nothing = (jnp.zeros_like(z0),) * ORDER
        # The first step has no length and only evaluates; the second one moves.
        way = ahead(ahead(_Way(jnp.int32(0), z0, nothing, z0, zero, zero)))

        def reach(way: _Way, at: Array) -> tuple[_Way, Any]:
            way = lax.while_loop(lambda w: w.end <= at, ahead, way)
            s, slope = 1 - (way.end - at) / way.length, way.past
            z = bent(way.before, way.y, slope[1], slope[0], way.length, s)
            return way, read(z, at)

        return lax.scan(reach, way, tau)[1]

    return run


def _encode(model: LatentODE) -> Function:
    net = wide(model.model_)

    def encode(t: Array, x: Array, mask: Array) -> tuple[Array, Array]:
        return _posterior(net, _read(model, t, x, mask))

    return Function(
        "encode",
        encode,
        series_arguments(model.data_.names),
        ("mean", "sd"),
        "What is known of the hidden state at t[0], where the series begins.",
    )


def _decode(model: LatentODE) -> Function:
    net, units = wide(model.model_), model.predictor_.units
    run = latent_path(net, model.predictor_.longest / 2)

    def decode(z0: Array, since: Array) -> Array:
        def read(z: Array, tau: Array) -> Array:
            return units.state.inverse(net.decoder(z[0]), xp=jnp)

        return run(z0[None], since / units.span, read)

    names = model.data_.names
    return Function(
        "decode", decode,
        (
            Argument("z0", (net.latent,), "hidden state at which a series begins"),
            Argument("since", ("times",), "rising times since the series began, from 0 on"),
        ),
        ("mean",), f"The path of {', '.join(names)} out of a hidden state.",
    )  # fmt: skip


def _forecast(model: LatentODE, coverage: float) -> Function:
    net, maker = wide(model.model_), model.predictor_
    units, state = maker.units, maker.units.state
    run = latent_path(net, maker.longest / 2)
    noise, draws = noise_of(net), normals(DRAWS, net.latent, maker.seed)
    empty = np.empty(0)
    factors = [
        conformal(empty, coverage) if maker.held is None else maker.held.factor(k, coverage)
        for k in KINDS
    ]

    def forecast(t: Array, x: Array, mask: Array, times: Array) -> tuple[Array, Array, Array]:
        series = _read(model, t, x, mask)
        mean, sd = _posterior(net, series)
        first = jnp.min(jnp.where(jnp.any(mask, axis=1), series.tau, jnp.inf))

        def read(z: Array, tau: Array) -> tuple[Array, Array, Array]:
            paths = jax.vmap(net.decoder)(z)
            middle = paths.mean(0)
            spread = ((paths - middle) ** 2).mean(0)
            factor = jnp.where(
                tau > series.last, factors[1], jnp.where(tau < first, factors[2], factors[0])
            )
            half = factor * jnp.sqrt(spread + noise**2)
            low, mid, high = (
                state.inverse(v, xp=jnp) for v in (middle - half, middle, middle + half)
            )
            return mid, low, high

        z0 = mean + sd * jnp.asarray(draws, x.dtype)
        return run(z0, (times - t[0]) / units.span, read)

    names = model.data_.names
    asked = Argument("times", ("times",), "rising times, none before t[0]")
    return Function(
        "forecast", forecast, (*series_arguments(names), asked),
        ("mean", "lower", "upper"),
        "The path of a series inside (as reconstruct) and after what was observed, with "
        f"{coverage:.0%} intervals for a new observation.",
    )  # fmt: skip


def _classes(model: LatentODE) -> Function:
    net, classes = wide(model.model_), model.classes_

    def predict_proba(t: Array, x: Array, mask: Array) -> Array:
        mean, _ = _posterior(net, _read(model, t, x, mask))
        return jax.nn.softmax(net.classes(mean))

    return class_function(predict_proba, series_arguments(model.data_.names), classes)


def class_function(call: Callable, arguments: tuple[Argument, ...], classes: Any) -> Function:
    """`predict_proba` of one series."""
    words = ", ".join(str(c) for c in classes.tolist())
    return Function(
        "predict_proba", call, arguments, ("probability",),
        f"The probability of every class of a series: {words}.",
    )  # fmt: skip
