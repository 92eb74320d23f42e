"""A model as one vector, and as the list of its arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, overload

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Num, PyTree

from ..errors import InputError
from .layout import Layout


def destructure(
    model: PyTree, *, trainable: PyTree = None
) -> tuple[Num[Array, " n"], Callable[[Num[Array, " n"]], PyTree]]:
    """The trained numbers of a model as one vector, and the way back.

    Every array is in the vector once, however often it is tied; the vector has the type that holds
    all of theirs. ``rebuild(flat)`` gives every array its shape and type back, ties what was tied,
    and keeps all else of the model. It may be differentiated, jitted and mapped.

    trainable: as for `tenkai.optim.setup`.

    Raises `InputError` where nothing is trained, and `rebuild` for a vector of another shape.

    >>> import jax.numpy as jnp
    >>> from tenkai import optim
    >>> flat, rebuild = optim.destructure({"W": jnp.ones((1, 2)), "b": jnp.zeros(1), "n": 3})
    >>> flat.tolist()
    [1.0, 1.0, 0.0]
    >>> rebuild(2 * flat)["W"].tolist(), rebuild(flat)["n"]
    ([[2.0, 2.0]], 3)
    """
    layout = Layout.of(model, trainable)
    arrays = layout.take(model)
    ends = np.cumsum([np.size(x) for x in arrays])
    common = jnp.result_type(*arrays)
    flat = _joined(arrays, common)

    def rebuild(flat: Array) -> PyTree:
        if jnp.shape(flat) != (ends[-1],):
            raise InputError(
                "flat",
                expected=f"a vector of {ends[-1]} numbers",
                got=f"shape {jnp.shape(flat)}",
                do="pass a vector as destructure gave it; use jax.vmap for many",
            )
        parts = jnp.split(jnp.asarray(flat), ends[:-1])
        return layout.put(model, [_as(x, part) for x, part in zip(arrays, parts, strict=True)])

    return flat, rebuild


def _joined(arrays: list[Any], dtype: Any) -> Array:
    return jnp.concatenate([jnp.ravel(x).astype(dtype) for x in arrays])


def _as(like: Any, part: Array) -> Array:
    if jnp.iscomplexobj(part) and not jnp.iscomplexobj(like):
        part = part.real
    return part.reshape(np.shape(like)).astype(like.dtype)


@overload
def trainables(
    model: PyTree, *, path: Literal[False] = False, trainable: PyTree = None
) -> list[Any]: ...
@overload
def trainables(
    model: PyTree, *, path: Literal[True], trainable: PyTree = None
) -> list[tuple[str, Any]]: ...


def trainables(model: PyTree, *, path: bool = False, trainable: PyTree = None) -> list[Any]:
    """The trained arrays of a model, each once; with ``path=True`` as pairs with its path.

    The path is the name that `adjust`, `freeze` and `thaw` take; of a tied array the first one.

    Raises `InputError` where nothing is trained.

    >>> import jax.numpy as jnp
    >>> from tenkai import optim
    >>> shared = jnp.ones(2)
    >>> model = {"layers": [{"W": shared}, {"W": shared}], "b": jnp.zeros(1)}
    >>> [(name, x.shape) for name, x in optim.trainables(model, path=True)]
    [('b', (1,)), ('layers.0.W', (2,))]
    """
    layout = Layout.of(model, trainable)
    arrays = layout.take(model)
    return list(zip(layout.names, arrays, strict=True)) if path else arrays
