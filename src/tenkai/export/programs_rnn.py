"""`ODERNN` as a program: densities of a series' values, draws of its future, classes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array
from scipy.special import ndtri

from ..estimators.ode_rnn import ODERNN
from ..sequences.cells import Slot
from ..sequences.recurrent import Ahead, Moment, Nearest, Normal, RecurrentModel, go_on
from .program import Argument, Function, Program
from .programs import Wanted, build, unsupported, wide
from .programs_latent import class_function, series_arguments


@build.register
def _(model: ODERNN, wanted: Wanted) -> Program:
    model._fitted()
    if model.cell == "imputed":
        raise unsupported(
            "ODERNN", 'cell="ode", "gaps" or "decay"',
            'cell="imputed", which first lays every series on a grid of its own',
            "fit another cell",
        )  # fmt: skip
    functions = [_reconstruct(model, wanted.coverage)]
    if model.sides == "past":
        functions.append(_forecast(model))
    if model.classes_ is not None:
        functions.append(_classes(model))
    notes = (
        "a series' time begins with itself: only differences to t[0] count",
        "to ask for a time without an observation, add a slot with a mask of False",
    )
    title = f"ODERNN of {', '.join(model.data_.names)}"
    return Program(title, tuple(functions), notes, model.model_)


def _slots(model: ODERNN, t: Array, x: Array, mask: Array) -> Slot:
    """A series as a cell reads it, none of whose slots forgets."""
    units = model.reader_.units
    z = jnp.where(mask, units.state.forward(jnp.where(mask, x, 1.0), xp=jnp), 0.0)
    return Slot((t - t[0]) / units.span, z, mask, jnp.zeros(t.shape, bool))


def _way(net: RecurrentModel, slots: Slot, backwards: bool) -> tuple[Any, Any]:
    """What one cell, and the value seen last, know before every slot; and all after the last."""
    cell = net.cells[int(backwards)]

    def step(state: tuple, slot: Slot) -> tuple[tuple, tuple]:
        memory, (x, since, known) = state
        visit = cell.visit(memory, slot)
        side = Nearest(x, jnp.where(known, jnp.abs(slot.t - since), 0.0), known)
        now = (
            jnp.where(slot.seen, slot.x, x), jnp.where(slot.seen, slot.t, since), known | slot.seen
        )  # fmt: skip
        return (visit.after, now), (visit.h, visit.gap, side)

    begin = slots.t[-1 if backwards else 0]
    nothing = jnp.zeros(net.dim, slots.x.dtype)
    start = (cell.begin()._replace(t=begin), (nothing, nothing, jnp.zeros(net.dim, bool)))
    return lax.scan(step, start, slots, reverse=backwards)


def _reconstruct(model: ODERNN, coverage: float) -> Function:
    net, state = wide(model.model_), model.reader_.units.state
    factor, both = float(ndtri(0.5 + coverage / 2)), model.sides == "both"

    def reconstruct(t: Array, x: Array, mask: Array) -> tuple[Array, Array, Array]:
        slots = _slots(model, t, x, mask)
        ways = [_way(net, slots, back)[1] for back in (False, True)[: len(net.cells)]]
        h, gap, sides = (tuple(way[i] for way in ways) for i in range(3))
        made = jax.vmap(net.read)(h, gap, sides)
        half = factor * jnp.exp(made.log_sd)
        low, middle, high = (
            state.inverse(v, xp=jnp) for v in (made.mean - half, made.mean, made.mean + half)
        )
        return middle, low, high

    given = "all other ones" if both else "the earlier ones"
    return Function(
        "reconstruct", reconstruct, series_arguments(model.names_), ("mean", "lower", "upper"),
        f"The density of every value of a series given {given}: mean and {coverage:.0%} interval.",
    )  # fmt: skip


def _forecast(model: ODERNN) -> Function:
    net, units = wide(model.model_), model.reader_.units

    def forecast(
        t: Array, x: Array, mask: Array, times: Array, noise: Array
    ) -> tuple[Array, Array]:
        (memory, (last, since, known)), _ = _way(net, _slots(model, t, x, mask), False)
        ahead, tau = Ahead(memory, last, since, known), (times - t[0]) / units.span
        every = jnp.ones(times.shape, bool)

        def draw(eps: Array) -> tuple[Array, Normal]:
            return go_on(net, ahead, Moment(tau, eps, every, every))

        drawn, density = jax.vmap(draw)(noise)
        back = units.state.inverse
        return back(drawn, xp=jnp), back(density.mean.mean(0), xp=jnp)

    dim = len(model.names_)
    arguments = (
        *series_arguments(model.names_),
        Argument("times", ("times",), "rising times after the series"),
        Argument("noise", ("draws", "times", dim), "standard normal numbers"),
    )
    return Function(
        "forecast", forecast, arguments, ("draws", "mean"),
        "How a series goes on: draws out of given noise, and the mean of their densities.",
    )  # fmt: skip


def _classes(model: ODERNN) -> Function:
    net, classes = wide(model.model_), model.classes_

    def predict_proba(t: Array, x: Array, mask: Array) -> Array:
        slots = _slots(model, t, x, mask)
        ways = [_way(net, slots, back)[0][0].h for back in (False, True)[: len(net.cells)]]
        return jax.nn.softmax(net.classes(jnp.concatenate(ways)))

    return class_function(predict_proba, series_arguments(model.names_), classes)
