"""Rules that optax lacks; each is an optax transformation and stands anywhere in `optax.chain`."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import PyTree

from ..errors import InputError


def clip_by_array_norm(max_norm: float, ord: float = 2) -> optax.GradientTransformation:
    """Scale every array's gradient to a norm of at most `max_norm`, each array for itself.

    ``g <- g min(1, max_norm / |g|_ord)``; `optax.clip_by_global_norm` takes all arrays together.

    Raises `InputError` for a norm that is not positive.

    >>> import jax.numpy as jnp
    >>> from tenkai import optim
    >>> rule = optim.clip_by_array_norm(1.0)
    >>> gradients = {"a": jnp.array([3.0, 4.0]), "b": jnp.array([0.5])}
    >>> clipped, _ = rule.update(gradients, rule.init(gradients))
    >>> [round(x, 3) for x in clipped["a"].tolist()], clipped["b"].tolist()
    ([0.6, 0.8], [0.5])
    """
    _check(max_norm > 0, "max_norm", "a positive number", max_norm)
    _check(ord > 0, "ord", "a positive number, the order of the norm", ord)

    def clip(g: jax.Array) -> jax.Array:
        norm = jnp.linalg.norm(jnp.ravel(g), ord)
        scale = jnp.where(norm > max_norm, max_norm / norm, 1.0)
        return g * scale.astype(norm.dtype)

    return optax.stateless(lambda updates, params: jax.tree.map(clip, updates))


class _Accumulated(NamedTuple):
    """What `accumulate` remembers; `count` gradients are in `mean`, which grows to their mean."""

    count: jax.Array
    mean: PyTree
    inner: PyTree


def accumulate(
    n: int, *rest: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    """Take the rest of the chain once every n gradients, with their mean.

    On the steps between the update is zero and the rest does not see them: its momentum, counts
    and decay stand still. So what follows belongs inside,
    ``optax.chain(clip, accumulate(2, decay, descend))``; what stands before runs at every step.

    Raises `InputError` for n below 1, and where nothing follows.

    >>> import jax.numpy as jnp, optax
    >>> from tenkai import optim
    >>> rule = optax.chain(optax.clip(100.0), optim.accumulate(2, optax.sgd(0.1)))
    >>> model = jnp.array([1.0])
    >>> state = optim.setup(rule, model)
    >>> for gradient in (20.0, 40.0):
    ...     state, model = optim.update(state, model, jnp.array([gradient]))
    ...     print(float(model[0]))
    1.0
    -2.0
    """
    _check(n >= 1 and int(n) == n, "n", "a whole number of gradients, at least 1", n)
    if not rest:
        raise InputError(
            "accumulate",
            expected="the rules that follow it",
            got="none",
            do=f"pass them as accumulate({n}, optax.sgd(0.1)); in a chain they would not wait",
        )
    inner = optax.chain(*rest)

    def init(params: PyTree) -> _Accumulated:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return _Accumulated(jnp.zeros((), jnp.int32), zeros, inner.init(params))

    def update(
        updates: PyTree, state: Any, params: PyTree = None, **extra: Any
    ) -> tuple[PyTree, _Accumulated]:
        mean = jax.tree.map(lambda m, g: m + (g / n).astype(m.dtype), state.mean, updates)
        now, after = inner.update(mean, state.inner, params, **extra)
        full = state.count == n - 1

        def pick(new: PyTree, old: PyTree) -> PyTree:
            return jax.tree.map(lambda a, b: jnp.where(full, a, b).astype(a.dtype), new, old)

        zeros = jax.tree.map(jnp.zeros_like, now)
        kept = jax.tree.map(lambda m: jnp.where(full, 0, m).astype(m.dtype), mean)
        count = jnp.where(full, 0, state.count + 1)
        return pick(now, zeros), _Accumulated(count, kept, pick(after, state.inner))

    return optax.GradientTransformationExtraArgs(init, update)


class _Master(NamedTuple):
    """The wide copy of the parameters and the state of the rule that moves it."""

    master: PyTree
    inner: PyTree


def mixed_precision(
    rule: optax.GradientTransformation, dtype: Any = jnp.float32
) -> optax.GradientTransformationExtraArgs:
    """Move a wide copy of the parameters, and let the narrow ones be its rounding.

    Gradients, the rule's state and the copy are `dtype`; the model stays bfloat16 or float16. A
    step too small for the narrow type is not lost: the copy adds it up (Micikevicius et al. 2018).
    It stands last in a chain, and its numbers are those of `rule`: a `rate` of the state would
    only delay the narrow parameters behind the copy.

    Raises `InputError` for a type that is not of floating-point numbers.

    >>> import jax.numpy as jnp, optax
    >>> from tenkai import optim
    >>> model = jnp.ones(1, jnp.bfloat16)
    >>> state = optim.setup(optim.mixed_precision(optax.sgd(1e-3)), model)
    >>> for _ in range(10):
    ...     state, model = optim.update(state, model, jnp.ones(1, jnp.bfloat16))
    >>> float(model[0])  # without the copy it would still be 1
    0.98828125
    """
    wide = jnp.dtype(dtype)
    _check(jnp.issubdtype(wide, jnp.inexact), "dtype", "floating-point numbers", wide.name)
    inner = optax.with_extra_args_support(rule)

    def widen(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda x: x.astype(jnp.promote_types(x.dtype, wide)), tree)

    def init(params: PyTree) -> _Master:
        master = widen(params)
        return _Master(master, inner.init(master))

    def update(
        updates: PyTree, state: Any, params: PyTree = None, **extra: Any
    ) -> tuple[PyTree, _Master]:
        if params is None:
            raise ValueError("mixed_precision needs the parameters: update(grads, state, params)")
        moves, after = inner.update(widen(updates), state.inner, state.master, **extra)
        master = jax.tree.map(lambda m, u: (m + u).astype(m.dtype), state.master, moves)
        # The difference of the narrow numbers in the wide type: adding it gives the rounding.
        shift = jax.tree.map(lambda m, p: m.astype(p.dtype).astype(m.dtype) - p, master, params)
        return shift, _Master(master, after)

    return optax.GradientTransformationExtraArgs(init, update)


def sign_decay(weight: float = 1e-3) -> optax.GradientTransformation:
    """Add ``weight sign(x)`` to the gradient: the gradient of an L1 penalty, which pulls to zero.

    Raises `InputError` for a negative weight.

    >>> import jax.numpy as jnp
    >>> from tenkai import optim
    >>> rule, x = optim.sign_decay(0.5), jnp.array([-2.0, 0.0, 3.0])
    >>> rule.update(jnp.zeros(3), rule.init(x), x)[0].tolist()
    [-0.5, 0.0, 0.5]
    """
    _check(weight >= 0, "weight", "a number, at least 0", weight)

    def decay(updates: PyTree, params: PyTree) -> PyTree:
        if params is None:
            raise ValueError("sign_decay needs the parameters: update(grads, state, params)")
        return jax.tree.map(lambda g, p: g + weight * jnp.sign(p), updates, params)

    return optax.stateless(decay)


def _check(good: bool, name: str, expected: str, got: Any) -> None:
    if not good:
        raise InputError(name, expected=expected, got=repr(got), do=f"pass another {name}")
