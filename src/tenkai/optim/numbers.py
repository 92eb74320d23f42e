"""Numbers and flags of a state, changed while training goes on: data, so nothing compiles anew."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import PyTree

from ..errors import InputError
from .layout import Where
from .state import State

RATE = "rate"


def adjust(state: State, where: Where = None, **numbers: Any) -> State:
    """The state with other numbers, for all arrays or for a part of the model.

    Every state has the number `rate`, a factor of the update that is 1 at first; it serves any
    rule. The rule's own numbers (`learning_rate`, `b1`, ...) are adjustable where it was made with
    `optax.inject_hyperparams`: otherwise they are constants of its code.

    where: a path (``"layers.0"``, see `tenkai.optim.trainables`) or a function that selects a
        part (``lambda model: model.layers[0]``); None is the whole model.
    numbers: new values, constants or traced scalars.

    Raises `InputError` for unknown names (it lists the known ones), numbers that follow a schedule,
    unknown parts, and a rule's own number for a part where one state serves all arrays.

    >>> import jax.numpy as jnp, optax
    >>> from tenkai import optim
    >>> model = {"W": jnp.ones(1), "b": jnp.ones(1)}
    >>> state = optim.setup(optax.inject_hyperparams(optax.sgd)(learning_rate=0.1), model)
    >>> state = optim.adjust(state, "b", learning_rate=0.5)
    >>> _, model = optim.update(state, model, {"W": jnp.ones(1), "b": jnp.ones(1)})
    >>> float(model["W"][0]), float(model["b"][0])
    (0.8999999761581421, 0.5)
    """
    chosen = state.layout.where(where)
    own = {name: value for name, value in numbers.items() if name != RATE}
    known = {name for s in state.states for h in _injected(s) for name in h.hyperparams}
    _check_known(own, known)
    if own and state.shared and len(chosen) < len(state.layout.variables):
        raise InputError(
            f"adjust of a part, {sorted(own)}",
            expected="a rule that treats arrays one by one",
            got="a rule that couples arrays, with one state for all of them",
            do="adjust the rate of this part instead, or the number for the whole model",
        )
    if RATE in numbers:
        value = numbers[RATE]
        state = replace(state, rates=_chosen(state.rates, chosen, lambda x: _like(x, value, RATE)))
    if own:
        parts = [0] if state.shared else chosen
        states = _chosen(state.states, parts, lambda s: _with_numbers(s, own))
        state = replace(state, states=states)
    return state


def freeze(state: State, where: Where = None) -> State:
    """The state in which all arrays, or those of a part (as for `adjust`), rest.

    Updates leave them and their state as they are, whatever their gradients, until `thaw`. A tied
    array rests wherever it stands.

    >>> import jax.numpy as jnp, optax
    >>> from tenkai import optim
    >>> model = {"W": jnp.ones(1), "b": jnp.ones(1)}
    >>> state = optim.freeze(optim.setup(optax.sgd(0.5), model), "W")
    >>> _, model = optim.update(state, model, {"W": jnp.ones(1), "b": jnp.ones(1)})
    >>> float(model["W"][0]), float(model["b"][0])
    (1.0, 0.5)
    """
    return _flagged(state, where, True)


def thaw(state: State, where: Where = None) -> State:
    """The state in which all arrays, or those of a part, train again: the opposite of `freeze`.

    >>> import jax.numpy as jnp, optax
    >>> from tenkai import optim
    >>> state = optim.freeze(optim.setup(optax.sgd(0.5), jnp.ones(1)))
    >>> _, model = optim.update(optim.thaw(state), jnp.ones(1), jnp.ones(1))
    >>> float(model[0])
    0.5
    """
    return _flagged(state, where, False)


def _flagged(state: State, where: Where, flag: bool) -> State:
    chosen = state.layout.where(where)
    return replace(state, frozen=_chosen(state.frozen, chosen, lambda x: _full(x, flag)))


def _chosen(values: Any, chosen: list[int], change: Any) -> tuple:
    if values is None:
        raise InputError(
            "state",
            expected="one made by optim.setup",
            got="a state without flags and rates",
            do="set the rule up with optim.setup",
        )
    return tuple(change(x) if i in chosen else x for i, x in enumerate(values))


def _full(old: Any, value: Any) -> jax.Array:
    return jax.device_put(np.full(np.shape(old), value))


def _like(old: Any, value: Any, name: str) -> jax.Array:
    """A number in the type and shape of the old one, so that nothing compiles anew."""
    traced = isinstance(value, Tracer)
    value = value if traced else np.asarray(value)
    fits = np.broadcast_shapes(value.shape, np.shape(old)) == np.shape(old)
    plain = traced or value.dtype.kind in "biufV"  # V: bfloat16 and its like
    if not (fits and plain) or (not traced and not np.isfinite(value.astype(float)).all()):
        raise InputError(
            name,
            expected=f"a finite number, or numbers of shape {np.shape(old)}",
            got=repr(value),
            do="pass a number",
        )
    if traced:
        return jnp.broadcast_to(value, np.shape(old)).astype(old.dtype)
    return jax.device_put(np.broadcast_to(value, np.shape(old)).astype(old.dtype))


def _is_injected(x: Any) -> bool:
    return isinstance(x, tuple) and isinstance(getattr(x, "hyperparams", None), dict)


def _injected(state: PyTree) -> list[Any]:
    """The states of `optax.inject_hyperparams`, also inside of one another."""
    found = [x for x in jax.tree.leaves(state, is_leaf=_is_injected) if _is_injected(x)]
    return found + [inner for x in found for inner in _injected(x.inner_state)]


def _check_known(numbers: dict[str, Any], known: set[str]) -> None:
    if unknown := sorted(numbers.keys() - known):
        names = ", ".join([RATE, *sorted(known)])
        hint = (
            "pick one of these"
            if known
            else "adjust the rate, or make the rule as optax.inject_hyperparams(optax.adam)(1e-3)"
        )
        raise InputError(
            f"adjust {', '.join(unknown)}", expected=f"numbers among {names}",
            got=", ".join(unknown), do=hint,
        )  # fmt: skip


def _with_numbers(state: PyTree, numbers: dict[str, Any]) -> PyTree:
    def change(x: Any) -> Any:
        if not _is_injected(x):
            return x
        mine = {name: value for name, value in numbers.items() if name in x.hyperparams}
        if scheduled := sorted(mine.keys() & getattr(x, "hyperparams_states", {}).keys()):
            raise InputError(
                f"adjust {', '.join(scheduled)}",
                expected="a number that the rule was made with",
                got="one that follows a schedule, which the next step would restore",
                do="adjust the rate, or make the rule with a number",
            )
        new = {name: _like(x.hyperparams[name], value, name) for name, value in mine.items()}
        inner = _with_numbers(x.inner_state, numbers)
        return x._replace(hyperparams=x.hyperparams | new, inner_state=inner)

    return jax.tree.map(change, state, is_leaf=_is_injected)
