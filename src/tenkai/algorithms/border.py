"""What a user passes to `Unfolded`, checked before any training depends on it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..errors import InputError
from ..problems.border import check_indices
from .iteration import Iteration, Layer
from .learning import Rows


def spread(
    parameters: dict[str, Any], layers: int, tied: bool | int, dtype: np.dtype
) -> dict[str, np.ndarray]:
    """First values with a leading axis of the period: one row per layer, or fewer where tied."""
    count("layers", layers)
    if not isinstance(parameters, Mapping) or not parameters:
        raise InputError(
            "parameters", expected='what the layers learn, as {"eta": 0.1}',
            got=repr(parameters) if parameters else "nothing",
            do="name the step sizes and thresholds that step reads from layer.p",
        )  # fmt: skip
    period = layers if tied is False else 1 if tied is True else tied
    if not isinstance(period, int | np.integer) or not 1 <= period <= layers:
        raise InputError(
            "tied", expected=f"True, False or a period of 1 to {layers} layers", got=repr(tied),
            do="pass a smaller period, or more layers",
        )  # fmt: skip
    rows = {}
    for name, value in parameters.items():
        value = _numbers(f"parameter {name!r}", value)
        kind = np.result_type(dtype, np.complex64) if value.dtype.kind == "c" else dtype
        rows[name] = np.broadcast_to(value, (period, *value.shape)).astype(kind)
    return rows


def count(name: str, value: Any, least: int = 1) -> None:
    """`InputError` unless a whole number, at least `least`."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:
        raise InputError(
            name, expected="a positive number" if least else "a number, not negative",
            got=repr(value), do=f"pass {name}=20",
        )  # fmt: skip


def start(init: Any) -> Callable[[PyTree], Any]:
    """``y -> state``: `init` itself, or the same arrays for every problem."""
    return init if callable(init) else Constant(arrays("init", init))


def arrays(name: str, tree: PyTree) -> PyTree:
    """Arrays of numbers in place of nested lists of them; `InputError` for anything else."""

    def numbers(a: Any) -> bool:
        return isinstance(a, list) and all(np.isscalar(v) for v in jax.tree.leaves(a))

    def leaf(a: Any) -> Any:
        return a if isinstance(a, jax.Array) else _numbers(name, a, "biufc")

    return jax.tree.map(leaf, tree, is_leaf=numbers)


def _numbers(name: str, value: Any, kinds: str = "fciu") -> np.ndarray:
    try:
        made = np.asarray(value)
    except ValueError:
        made = np.asarray(None)
    if made.dtype.kind not in kinds:
        what = "no array" if made.dtype.kind == "O" else str(made.dtype)
        raise InputError(name, expected="numbers", got=what, do="pass numbers")
    return made


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
    return Rows(*batch(*data))


def batch(inputs: PyTree, targets: PyTree) -> tuple[PyTree, PyTree]:
    """Both as arrays; `InputError` unless all have the same number of rows, at least one."""
    made = arrays("inputs", inputs), arrays("targets", targets)
    counts = {np.shape(a)[:1] for a in jax.tree.leaves(made)}
    if len(counts) != 1 or counts & {(), (0,)}:
        raise InputError(
            "data", expected="inputs and targets with the same number of rows",
            got=f"{sorted(c[0] if c else 0 for c in counts)} rows", do="give one row per problem",
        )  # fmt: skip
    return made


def checked(
    iteration: Iteration, parameters: PyTree, sampler: Callable, loss: Callable, layers: int,
    on: str, steps: int, batch: int,
) -> None:  # fmt: skip
    """`InputError` unless one problem goes through init, step, read and loss."""
    count("steps", steps)
    count("batch", batch)
    if on not in ("last", "all"):
        raise InputError("on", expected='"last" or "all"', got=repr(on), do="pass one of the two")
    checked_item(iteration, parameters, *checked_pair(sampler), loss)


def checked_pair(sampler: Any) -> tuple[PyTree, PyTree]:
    """Shapes of one problem and its solution; `InputError` unless the sampler draws both."""
    drawn = _traced("sampler", "sampler(key) -> (inputs, target)", sampler, jax.random.key(0))
    if not isinstance(drawn, tuple) or len(drawn) != 2:
        raise InputError(
            "sampler", expected="a pair (inputs, target)", got=type(drawn).__name__,
            do="return one problem and what its solution should be",
        )  # fmt: skip
    return drawn


def checked_item(
    iteration: Iteration, parameters: PyTree, y: PyTree, target: PyTree = None,
    loss: Callable | None = None,
) -> None:  # fmt: skip
    """`InputError` unless one problem goes through init, step and read, and through the loss."""
    state = _traced("init", "init(inputs) -> state", iteration.init, y)
    p = jax.tree.map(lambda v: jax.ShapeDtypeStruct(v.shape[1:], v.dtype), parameters)
    layer = Layer(p, y, jax.ShapeDtypeStruct((), jnp.zeros((), int).dtype))
    new = _traced("step", "step(state, layer) -> state", iteration.step, state, layer)
    if _told(new) != _told(state):
        raise InputError(
            "step", expected=f"a state like init's, {_told(state)}", got=_told(new),
            do="return the same shapes and types that init returns",
        )  # fmt: skip
    check_indices("step", iteration.step, (state, layer))
    estimate = _traced("read", "read(state) -> estimate", iteration.read, state)
    if loss is None:
        return
    value = _traced("loss", "loss(estimate, target) -> scalar", loss, estimate, target)
    kind = getattr(value, "dtype", np.dtype(object))
    if getattr(value, "shape", None) != () or not jnp.issubdtype(kind, jnp.floating):
        raise InputError(
            "loss", expected="one real number", got=_told(value),
            do="sum over the entries of the estimate, of moduli where it is complex",
        )  # fmt: skip


@contextlib.contextmanager
def explaining(
    iteration: Iteration, parameters: PyTree, y: PyTree, x: PyTree = None,
    loss: Callable | None = None,
) -> Iterator[None]:  # fmt: skip
    """What JAX cannot trace, told in terms of one problem: looked for only where it failed."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise _explained(error, iteration, parameters, y, x, loss) from error


def _explained(
    error: Exception, iteration: Iteration, parameters: PyTree, inputs: PyTree,
    targets: PyTree = None, loss: Callable | None = None,
) -> InputError:  # fmt: skip
    """What one problem of a batch, on which JAX gave up, has that does not fit."""

    def item(a: Any) -> Any:
        if not np.ndim(a):
            raise InputError(
                "inputs", expected="a batch: arrays with one row per problem", got="one number",
                do="add a leading axis",
            )  # fmt: skip
        return jax.ShapeDtypeStruct(a.shape[1:], a.dtype)

    try:
        y, target = jax.tree.map(item, (inputs, targets))
        checked_item(iteration, parameters, y, target, loss)
    except InputError as told:
        return told
    said = str(error).partition("\n")[0]
    return InputError(
        "inputs", expected="a batch of problems that step, init and read understand",
        got=f"{type(error).__name__}: {said}", do="give one row per problem",
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
    """Shapes and types in words, in their containers: float64[3], {v: float64[3]}."""

    def leaf(x: Any) -> str:
        return f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else type(x).__name__

    return repr(jax.tree.map(leaf, tree)).replace("'", "") if jax.tree.leaves(tree) else "nothing"


class Constant(eqx.Module):
    """A start that is the same for every problem."""

    state: Any

    def __call__(self, y: PyTree) -> Any:
        return jax.tree.map(jnp.asarray, self.state)


def host(a: Any) -> Any:
    """NumPy, except for random keys, which have no form there."""
    return a if jnp.issubdtype(a.dtype, jax.dtypes.prng_key) else np.asarray(a)


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
