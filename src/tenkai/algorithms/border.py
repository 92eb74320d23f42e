"""What a user passes to `Unfolded`, checked before any training depends on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..errors import InputError
from .iteration import Iteration, Layer
from .learning import Rows


def spread(
    parameters: dict[str, Any], layers: int, tied: bool | int, dtype: np.dtype
) -> dict[str, np.ndarray]:
    """First values with a leading axis of the period: one row per layer, or fewer where tied."""
    if not isinstance(layers, int | np.integer) or layers < 1:
        raise InputError(
            "layers", expected="a positive number", got=repr(layers), do="pass layers=20"
        )
    if not parameters:
        raise InputError(
            "parameters", expected='what the layers learn, as {"eta": 0.1}', got="nothing",
            do="name the step sizes and thresholds that step reads from layer.p",
        )  # fmt: skip
    period = layers if tied is False else 1 if tied is True else tied
    if not 1 <= period <= layers:
        raise InputError(
            "tied", expected=f"True, False or a period of 1 to {layers} layers", got=repr(tied),
            do="pass a smaller period, or more layers",
        )  # fmt: skip
    rows = {}
    for name, value in parameters.items():
        value = np.asarray(value)
        if value.dtype.kind not in "fciu":
            raise InputError(
                f"parameter {name!r}", expected="numbers", got=str(value.dtype), do="pass numbers"
            )
        kind = np.result_type(dtype, np.complex64) if value.dtype.kind == "c" else dtype
        rows[name] = np.broadcast_to(value, (period, *value.shape)).astype(kind)
    return rows


def replaced(
    parameters: dict[str, np.ndarray], values: Mapping[str, Any], layers: int
) -> dict[str, np.ndarray]:
    """Values like those of `parameters`: one for all layers, or with a leading axis of a period."""
    made = {}
    for name, value in values.items():
        old = _known(name, parameters)
        new = np.asarray(value)
        item = old.shape[1:]
        if new.dtype.kind not in "fciu" or new.shape[max(0, new.ndim - len(item)) :] != item:
            raise InputError(
                f"parameter {name!r}", expected=f"numbers of shape {item}, or one per layer",
                got=f"{new.dtype} of shape {new.shape}", do="pass one value, or one per layer",
            )  # fmt: skip
        rows = old.shape[0] if new.ndim == len(item) else new.shape[0]
        if new.ndim > len(item) + 1 or not 1 <= rows <= layers:
            raise InputError(
                f"parameter {name!r}", expected=f"a leading axis of at most {layers} layers",
                got=f"shape {new.shape}", do="pass one value, or one per layer",
            )  # fmt: skip
        made[name] = np.broadcast_to(new, (rows, *item)).astype(old.dtype)
    return made


def rules(rules: Mapping[str, Any], parameters: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    """An optax rule for each named parameter, in their order; None where there is none."""
    for name in rules:
        _known(name, parameters)
    return tuple((name, rules.get(name)) for name in parameters)


def _known(name: str, parameters: dict[str, Any]) -> Any:
    if name not in parameters:
        raise InputError(
            "parameter", expected=f"one of {', '.join(parameters)}", got=repr(name),
            do="use the names of the algorithm's parameters",
        )  # fmt: skip
    return parameters[name]


def as_sampler(data: Any) -> Callable[[Any], Any]:
    """A sampler as it is, a pair of arrays as one that draws their rows."""
    if callable(data):
        return data
    if not isinstance(data, tuple) or len(data) != 2:
        raise InputError(
            "data", expected="a function sampler(key) -> (inputs, target), or (inputs, targets)",
            got=type(data).__name__, do="pass one of the two",
        )  # fmt: skip
    inputs, targets = (jax.tree.map(np.asarray, part) for part in data)
    counts = {np.shape(a)[:1] for a in jax.tree.leaves((inputs, targets))}
    if len(counts) != 1 or counts == {()}:
        raise InputError(
            "data", expected="inputs and targets with the same number of rows",
            got=f"{sorted(c[0] if c else 0 for c in counts)} rows", do="give one row per problem",
        )  # fmt: skip
    return Rows(inputs, targets)


def checked(
    iteration: Iteration, parameters: PyTree, sampler: Callable, loss: Callable, layers: int,
    on: str, steps: int, batch: int,
) -> None:  # fmt: skip
    """`InputError` unless one problem goes through init, step, read and loss."""
    for name, value in (("steps", steps), ("batch", batch)):
        if not isinstance(value, int | np.integer) or value < 1:
            raise InputError(
                name, expected="a positive number", got=repr(value), do=f"raise {name}"
            )
    if on not in ("last", "all"):
        raise InputError("on", expected='"last" or "all"', got=repr(on), do="pass one of the two")
    drawn = _traced("sampler", "sampler(key) -> (inputs, target)", sampler, jax.random.key(0))
    if not isinstance(drawn, tuple) or len(drawn) != 2:
        raise InputError(
            "sampler", expected="a pair (inputs, target)", got=type(drawn).__name__,
            do="return one problem and what its solution should be",
        )  # fmt: skip
    y, target = drawn
    state = _traced("init", "init(inputs) -> state", iteration.init, y)
    p = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), parameters)
    layer = Layer(p, y, jax.ShapeDtypeStruct((), jnp.zeros((), int).dtype))
    new = _traced("step", "step(state, layer) -> state", iteration.step, state, layer)
    if _told(new) != _told(state):
        raise InputError(
            "step", expected=f"a state like init's, {_told(state)}", got=_told(new),
            do="return the same shapes and types that init returns",
        )  # fmt: skip
    estimate = _traced("read", "read(state) -> estimate", iteration.read, state)
    value = _traced("loss", "loss(estimate, target) -> scalar", loss, estimate, target)
    if getattr(value, "shape", None) != ():
        raise InputError(
            "loss", expected="one real number", got=_told(value),
            do="sum over the entries of the estimate",
        )  # fmt: skip


def _traced(name: str, expected: str, function: Callable, *arguments: Any) -> Any:
    try:  # traced as in training: nothing is computed, nothing compiled
        return eqx.filter_eval_shape(function, *arguments)
    except InputError:
        raise
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise InputError(
            name, expected=expected, got=f"{type(error).__name__}: {said}", do=f"mend {name}"
        ) from error


def _told(tree: PyTree) -> str:
    """Shapes and types in words: float64[3]."""
    leaves = (f"{x.dtype}{list(x.shape)}" for x in jax.tree.leaves(tree))
    return ", ".join(leaves) or "nothing"


class Constant(eqx.Module):
    """A start that is the same for every problem."""

    state: Any

    def __call__(self, y: PyTree) -> Any:
        return jnp.asarray(self.state)


def cast(tree: PyTree, dtype: np.dtype) -> PyTree:
    """Floating-point arrays in `dtype`, complex ones in the complex type of its width."""
    wide = np.result_type(dtype, np.complex64)

    def leaf(a: Any) -> Any:
        if not eqx.is_array_like(a) or isinstance(a, bool | int):
            return a
        kind = np.asarray(a).dtype if isinstance(a, float | complex) else a.dtype
        if jnp.issubdtype(kind, jnp.floating):
            return np.asarray(a, dtype)
        return np.asarray(a, wide) if jnp.issubdtype(kind, jnp.complexfloating) else a

    return jax.tree.map(leaf, tree)
