"""The state of an optimiser, and its step."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax
from jaxtyping import PyTree

from ..errors import InputError
from .coupling import separable
from .layout import Layout


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=["states", "frozen", "rates"],
    meta_fields=["rule", "layout"],
)
@dataclass(frozen=True)
class State:
    """The state of a rule for a model: a PyTree of arrays, made by `setup`, replaced by `update`.

    `states` has the rule's own state per array, or a single one for all where the rule couples
    arrays (`shared`). `frozen` and `rates` hold a flag and a factor of the update per array; both
    are None in a state that neither freezes nor adjusts, as `tenkai.fit` makes for itself.
    """

    states: tuple[PyTree, ...]
    frozen: tuple[jax.Array, ...] | None
    rates: tuple[jax.Array, ...] | None
    rule: optax.GradientTransformation
    layout: Layout

    @property
    def shared(self) -> bool:
        """Whether one state of the rule stands for all arrays."""
        return len(self.states) < len(self.layout.variables)


def setup(rule: optax.GradientTransformation, model: PyTree, *, trainable: PyTree = None) -> State:
    """The state of an optax rule for a model: any PyTree, its arrays of real or complex numbers.

    An array that occurs twice in the tree (the same object) is tied: it has one state, its
    gradients are summed, and it is still one array after the update. Inside `jax.jit` arguments
    are never the same object, so set tied models up outside.

    A rule that treats arrays one by one keeps a state, with its own count of steps, for each. One
    that couples them (`optax.clip_by_global_norm`, `optax.lbfgs`) keeps one state for all.

    trainable: which leaves are trained, as a filter of equinox (a function of a leaf, or a tree of
        booleans that is a prefix of the model); default: what the classes say, see
        `tenkai.optim.trainable`.

    Raises `InputError` where nothing is trained.

    >>> import jax, jax.numpy as jnp, optax
    >>> from tenkai import optim
    >>> model = {"W": jnp.ones((2, 3)), "b": jnp.zeros(2)}
    >>> state = optim.setup(optax.sgd(0.1), model)
    >>> gradients = jax.grad(lambda m: jnp.sum(m["W"] @ jnp.ones(3) + m["b"]))(model)
    >>> state, model = optim.update(state, model, gradients)
    >>> model["b"].tolist()
    [-0.10000000149011612, -0.10000000149011612]
    """
    if not (hasattr(rule, "init") and hasattr(rule, "update")):
        raise InputError(
            "rule", expected="an optax rule", got=repr(rule), do="pass optax.adam(1e-3), say"
        )
    layout = Layout.of(model, trainable)
    arrays = layout.take(model)
    return _setup(rule, layout, separable(rule, layout, arrays), arrays)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _setup(
    rule: optax.GradientTransformation, layout: Layout, alone: bool, arrays: list[Any]
) -> State:
    """One program, because eager set-up compiles dozens of tiny ones."""
    parts = [_only(arrays, i) for i in range(len(arrays))] if alone else [arrays]
    states = tuple(_strong(rule.init(layout.tree(part))) for part in parts)
    frozen = tuple(jnp.array(False) for _ in arrays)
    wide = [jnp.promote_types(jnp.finfo(x.dtype).dtype, jnp.float32) for x in arrays]
    rates = tuple(jnp.ones((), dtype) for dtype in wide)
    return State(states, frozen, rates, rule, layout)


def plain(rule: optax.GradientTransformation, layout: Layout, model: PyTree) -> State:
    """One state for all arrays, without flags and factors: what the rule alone would have.

    For loops that know their `Layout` and neither freeze nor adjust, as `tenkai.fit`: the same
    steps as after `setup`, in fewer operations.

    >>> import jax.numpy as jnp, optax
    >>> from tenkai import optim
    >>> model = [jnp.ones(1), jnp.ones(1)]
    >>> state = optim.plain(optax.sgd(0.5), optim.Layout.of(model), model)
    >>> float(optim.update(state, model, model)[1][0][0])
    0.5
    """
    state = _strong(rule.init(layout.tree(layout.take(model))))
    return State((state,), None, None, rule, layout)


def update(
    state: State, model: PyTree, gradients: PyTree, *, rate: Any = None, **extra: Any
) -> tuple[State, PyTree]:
    """One step: ``model <- model + rate * rule(gradients)``, and the state after it.

    `gradients` as `jax.grad` returns them (of complex numbers too). Where they are None, for an
    array or a whole branch, that array and its state stay as they are, bit for bit; a gradient of
    zero, by contrast, moves momentum and counts. Frozen arrays stay as they are too.

    rate: a factor of all updates, which may be traced.
    extra: what the rule takes beside gradients: `value`, and ``value_fn(model)`` of a line search.

    Raises `InputError` for gradients that do not belong to the model.

    >>> import jax.numpy as jnp, optax
    >>> from tenkai import optim
    >>> model = (jnp.array([1.0]), jnp.array([2.0]))
    >>> state = optim.setup(optax.sgd(0.1), model)
    >>> state, (x, y) = optim.update(state, model, (None, jnp.array([10.0])))
    >>> float(x[0]), float(y[0])
    (1.0, 1.0)
    """
    arrays = state.layout.take(model)
    grads = state.layout.gradients(gradients, arrays)
    if "value_fn" in extra:
        of = extra["value_fn"]
        extra["value_fn"] = lambda tree: of(state.layout.put(model, jax.tree.leaves(tree)))
    # Functions cannot be arguments of a compiled program.
    run = step if extra else _compiled
    state, arrays = run(state, arrays, grads, rate, **extra)
    return state, state.layout.put(model, arrays)


def step(
    state: State, arrays: list[Any], grads: list[Any], rate: Any, **extra: Any
) -> tuple[State, list[Any]]:
    """`update` on the arrays of the variables."""
    arrays = [jnp.asarray(x) for x in arrays]
    # Of complex numbers JAX returns the conjugate of the steepest ascent.
    grads = [None if g is None else jnp.conj(jnp.asarray(g)) for g in grads]
    advance = _together if state.shared else _alone
    updates, states = advance(state, arrays, grads, extra)
    pairs = zip(arrays, updates, strict=True)
    moved = [_moved(state, i, rate, x, u) for i, (x, u) in enumerate(pairs)]
    return replace(state, states=states), moved


_compiled = jax.jit(step)


def _alone(state: State, arrays: list, grads: list, extra: dict) -> tuple[list, tuple]:
    rule = optax.with_extra_args_support(state.rule)
    updates: list[Any] = [None] * len(arrays)
    states = list(state.states)
    for i, gradient in enumerate(grads):
        if gradient is None:
            continue
        g, p = (state.layout.tree(_only(x, i)) for x in (grads, arrays))
        update, new = rule.update(g, states[i], p, **_with_gradient(extra, g))
        (updates[i],) = jax.tree.leaves(update)
        states[i] = _kept(_flag(state, i), states[i], new)
    return updates, tuple(states)


def _together(state: State, arrays: list, grads: list, extra: dict) -> tuple[list, tuple]:
    """Arrays at rest have a gradient of zero, and keep the parts of the state that are theirs."""
    rest = [True if g is None else _flag(state, i) for i, g in enumerate(grads)]
    if all(flag is True for flag in rest):
        return [None] * len(arrays), state.states
    filled = [
        jnp.zeros_like(x) if g is None else g if flag is None else jnp.where(flag, 0, g)
        for g, x, flag in zip(grads, arrays, rest, strict=True)
    ]
    rule = optax.with_extra_args_support(state.rule)
    g, p = state.layout.tree(filled), state.layout.tree(arrays)
    update, new = rule.update(g, state.states[0], p, **_with_gradient(extra, g))
    new = _owned(state, rest, arrays, new)
    moves = jax.tree.leaves(update)
    return [None if f is True else u for f, u in zip(rest, moves, strict=True)], (new,)


def _with_gradient(extra: dict, gradients: PyTree) -> dict:
    """Line searches take the value and the gradient that belongs to it."""
    return extra | {"grad": gradients} if "value" in extra else extra


def _owned(state: State, rest: list, arrays: list, new: PyTree) -> PyTree:
    """Leaves of the state that stand at the path of an array belong to it."""
    if all(flag is None for flag in rest):
        return new
    paths = [state.layout.paths[group[0]] for group in state.layout.variables]

    def keep(path: tuple, old: Any, new: Any) -> Any:
        for own, flag, array in zip(paths, rest, arrays, strict=True):
            fits = jnp.shape(old)[-array.ndim :] == array.shape if array.ndim else True
            if flag is not None and own and path[-len(own) :] == own and fits:
                return old if flag is True else jnp.where(flag, old, new).astype(old.dtype)
        return new

    return jax.tree_util.tree_map_with_path(keep, state.states[0], new)


def _moved(state: State, i: int, rate: Any, array: jax.Array, update: Any) -> jax.Array:
    if update is None:
        return array
    if state.rates is not None:
        update = state.rates[i].astype(update.dtype) * update
    if rate is not None:
        update = jnp.asarray(rate).astype(update.dtype) * update
    moved = (array + update).astype(array.dtype)
    flag = _flag(state, i)
    return moved if flag is None else jnp.where(flag, array, moved)


def _flag(state: State, i: int) -> Any:
    return None if state.frozen is None else state.frozen[i]


def _kept(flag: Any, old: PyTree, new: PyTree) -> PyTree:
    """The old state where the flag is set, in the types of the old one, so that loops carry it."""
    if flag is None:
        return new
    return jax.tree.map(lambda a, b: jnp.where(flag, a, b).astype(a.dtype), old, new)


def _only(arrays: list, i: int) -> list:
    return [x if j == i else None for j, x in enumerate(arrays)]


def _strong(state: PyTree) -> PyTree:
    """In strong types: a weakly typed leaf changes its type in a loop, which compiles twice."""

    def leaf(x: Any) -> jax.Array:
        x = jnp.asarray(x)
        key = jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
        return x if key else lax.convert_element_type(x, x.dtype)

    return jax.tree.map(leaf, state)
