"""From a function to operations: JAX's jaxpr, with every call inside it written out.

`jit`, custom derivatives, `checkpoint` and barriers vanish; loops keep their bodies as blocks.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import jax
import numpy as np
from jax.extend import source_info_util

from tenkai.errors import InputError

from .ir import Block, Size, Value, constant
from .pieces import PIECES
from .program import Argument, Function
from .shapes import named, shapes_of, with_sizes
from .simplify import Builder, without_dead_code

_CALLS = {  # primitive: the parameter that holds what it calls
    **dict.fromkeys(("jit", "pjit", "checkpoint", "remat", "remat2"), "jaxpr"),
    **dict.fromkeys(
        ("closed_call", "core_call", "custom_jvp_call", "custom_vjp_call"), "call_jaxpr"
    ),
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}
_SAME = {
    "name", "stop_gradient", "optimization_barrier", "copy", "copy_p", "pvary",
    "sharding_constraint",
}  # fmt: skip
_DTYPES = {"integer": np.dtype(np.int32), "boolean": np.dtype(bool)}


def _stacked(*arrays: Any, axis: int) -> Any:
    return jax.lax.concatenate([jax.lax.expand_dims(a, [axis]) for a in arrays], axis)


def _unstacked(array: Any, *, axis: int) -> list[Any]:
    parts = (jax.lax.slice_in_dim(array, i, i + 1, axis=axis) for i in range(array.shape[axis]))
    return [jax.lax.squeeze(part, [axis]) for part in parts]


def _tiled(array: Any, *, reps: Sequence[int]) -> Any:
    shape = [n for pair in zip(reps, array.shape, strict=True) for n in pair]
    kept = list(range(1, len(shape), 2))
    whole = jax.lax.broadcast_in_dim(array, shape, kept)
    return whole.reshape([r * n for r, n in zip(reps, array.shape, strict=True)])


_OLDER = {"stack": _stacked, "unstack": _unstacked, "tile": _tiled}
"""Operations of newer versions of JAX, written with those of older ones."""


@dataclass(frozen=True)
class Traced:
    """A function as operations: `block.inputs` are its arguments."""

    function: Function
    arguments: tuple[Argument, ...]
    block: Block
    sizes: tuple[str, ...]  # named sizes that are still open


def trace(
    function: Function,
    dtype: str,
    *,
    supported: Sequence[str],
    sizes: Mapping[str, int] | None = None,
    names: Callable[[np.ndarray], str] = lambda _: "",
) -> Traced:
    """The simplified operations of `function` in "float32" or "float64".

    `supported` are the kinds of operations that the language has forms for; `names` tells the
    name of a constant. Raises `InputError` for an operation without a form, and where JAX needs
    the value of a named size.
    """
    sizes = dict(sizes or {})
    arguments = tuple(with_sizes(a, sizes, function.name) for a in function.arguments)
    with jax.enable_x64(dtype == "float64"):
        specs = shapes_of(arguments, np.dtype(dtype), function.name)
        closed = _jaxpr(function, specs)
        builder = Builder(np.dtype(dtype))
        inputs = [
            Value(tuple(s.shape), np.dtype(s.dtype), hint=a.name)
            for s, a in zip(specs, arguments, strict=True)
        ]
        walk = _Walk(function.name, frozenset(supported), names)
        outputs = walk.inline(closed, inputs, builder)
    _count_outputs(function, outputs)
    block = without_dead_code(Block(inputs, builder.operations, outputs))
    open_sizes = dict.fromkeys(n for a in arguments for d in a.shape for n in named(d))
    return Traced(function, arguments, block, tuple(open_sizes))


def _jaxpr(function: Function, specs: list[Any]) -> Any:
    def call(*arrays: Any) -> Any:  # a module is not hashable, as `jit` wants its function
        return jax.tree.leaves(function.call(*arrays))

    try:
        return jax.jit(call).trace(*specs).jaxpr
    except Exception as error:
        if type(error).__name__ != "InconclusiveDimensionOperation" and "symbolic" not in str(
            error
        ):
            raise
        names = dict.fromkeys(n for a in function.arguments for d in a.shape for n in named(d))
        raise InputError(
            f"function {function.name!r} with open sizes {', '.join(names)}",
            expected="a computation that is the same for every size",
            got=str(error).strip().splitlines()[0],
            do="fix the size, for example " + f"sizes={{{next(iter(names), 'rows')!r}: 1}}",
        ) from error


def _count_outputs(function: Function, outputs: list[Value]) -> None:
    if len(outputs) != len(function.outputs):
        raise InputError(
            f"outputs of function {function.name!r}",
            expected=f"{len(function.outputs)} arrays ({', '.join(function.outputs)})",
            got=f"{len(outputs)}",
            do="name every array that the function returns",
        )


class _Walk:
    """Writes the equations of a jaxpr, and of all it calls, into a builder."""

    def __init__(self, where: str, supported: frozenset[str], names: Callable[[Any], str]):
        self.where, self.supported, self.names = where, supported, names
        self.source = ""  # the user's line that called what is being written

    def inline(self, closed: Any, arguments: Sequence[Value], builder: Builder) -> list[Value]:
        jaxpr, consts = getattr(closed, "jaxpr", closed), getattr(closed, "consts", ())
        known = [self.constant(c) for c in consts]
        env = dict(zip([*jaxpr.constvars, *jaxpr.invars], [*known, *arguments], strict=True))

        def read(atom: Any) -> Value:
            return self.constant(atom.val, atom.aval) if hasattr(atom, "val") else env[atom]

        for equation in jaxpr.eqns:
            outputs = self.equation(equation, [read(a) for a in equation.invars], builder)
            env.update(zip(equation.outvars, outputs, strict=True))
        return [read(a) for a in jaxpr.outvars]

    def constant(self, value: Any, aval: Any = None) -> Value:
        array = np.asarray(value, None if aval is None else aval.dtype)
        return constant(array, self.names(array))

    def equation(self, equation: Any, inputs: list[Value], builder: Builder) -> list[Value]:
        kind, params = equation.primitive.name, equation.params
        if kind in _SAME:
            return inputs
        source = _source(equation) or self.source
        if kind in _CALLS:
            outer, self.source = self.source, source
            outputs = self.inline(params[_CALLS[kind]], inputs, builder)
            self.source = outer
            return outputs
        if kind == "custom_linear_solve":
            lengths, jaxprs = params["const_lengths"], params["jaxprs"]
            before = lengths.matvec + lengths.vecmat
            rest = inputs[before : before + lengths.solve] + inputs[sum(lengths) :]
            return self.inline(jaxprs.solve, rest, builder)
        if kind in _OLDER:
            specs = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in equation.invars]
            older = jax.make_jaxpr(functools.partial(_OLDER[kind], **params))(*specs)
            return self.inline(older, inputs, builder)
        avals = [(_sizes(v.aval.shape), np.dtype(v.aval.dtype)) for v in equation.outvars]
        if kind in PIECES:
            return PIECES[kind](builder, inputs, params, avals, source)
        if kind in ("scan", "while", "cond"):
            return getattr(self, f"_{kind}")(params, inputs, avals, builder, source)
        if kind == "tenkai_convolution":
            kind, params = "conv_general_dilated", _plain_convolution(params["pad"])
        if kind not in self.supported:
            raise self._unsupported(kind, source)

        def run(*arrays: Any) -> Any:
            return equation.primitive.bind(*arrays, **equation.params)

        return builder.emit(kind, inputs, params, avals, source=source, run=run)

    def _unsupported(self, kind: str, source: str) -> InputError:
        return InputError(
            f"operation {kind!r} in {self.where!r} ({source})",
            expected="operations that can be exported: " + ", ".join(sorted(self.supported)),
            got=kind,
            do="write the function with these, or export it as StableHLO",
        )

    def _scan(
        self, params: Any, inputs: list[Value], avals: list, builder: Builder, source: str
    ) -> list[Value]:
        fixed, carried = params["num_consts"], params["num_carry"]
        body = params["jaxpr"]
        inner = builder.inside(hoists=True)
        slots = _slots(body.jaxpr.invars[fixed:], inner)
        outputs = self.inline(body, inputs[:fixed] + slots, inner)
        plain = {"length": params["length"], "reverse": params["reverse"], "carried": carried}
        block = Block(slots, inner.operations, outputs)
        return builder.append("scan", inputs[fixed:], plain, avals, (block,), source)

    def _while(
        self, params: Any, inputs: list[Value], avals: list, builder: Builder, source: str
    ) -> list[Value]:
        a, b = params["cond_nconsts"], params["body_nconsts"]
        state = inputs[a + b :]
        test, body = params["cond_jaxpr"], params["body_jaxpr"]
        inner = builder.inside(hoists=True)
        slots = _slots(test.jaxpr.invars[a:], inner)
        (again,) = self.inline(test, inputs[:a] + slots, inner)
        if again.shape:  # one test a row: while any goes on
            axes = {"axes": tuple(range(len(again.shape)))}
            (again,) = inner.emit("reduce_or", [again], axes, [((), again.dtype)], source=source)
        first = Block(slots, inner.operations, [again])
        inner = builder.inside(hoists=True)
        slots = _slots(body.jaxpr.invars[b:], inner)
        outputs = self.inline(body, inputs[a : a + b] + slots, inner)
        (goes_on,) = self.inline(test, inputs[:a] + slots, inner)
        if goes_on.shape:  # a row that has ended stays as it is
            pairs = zip(slots, outputs, strict=True)
            outputs = [_chosen(inner, goes_on, old, new, source) for old, new in pairs]
        second = Block(slots, inner.operations, outputs)
        return builder.append("while", state, {}, avals, (first, second), source)

    def _cond(
        self, params: Any, inputs: list[Value], avals: list, builder: Builder, source: str
    ) -> list[Value]:
        index, *operands = inputs
        blocks = []
        for branch in params["branches"]:
            inner = builder.inside(hoists=False)
            outputs = self.inline(branch, operands, inner)
            blocks.append(Block([], inner.operations, outputs))
        return builder.append("cond", [index], {}, avals, tuple(blocks), source)


def _chosen(builder: Builder, rows: Value, old: Value, new: Value, source: str) -> Value:
    """`new` in the rows that are true, `old` in the others."""
    spread = {"shape": new.shape, "broadcast_dimensions": tuple(range(len(rows.shape)))}
    avals = [(new.shape, rows.dtype)]
    (which,) = builder.emit("broadcast_in_dim", [rows], spread, avals, source=source)
    avals = [(new.shape, new.dtype)]
    return builder.emit("select_n", [which, old, new], {}, avals, source=source)[0]


def _slots(variables: Sequence[Any], inner: Builder) -> list[Value]:
    return [
        Value(_sizes(v.aval.shape), np.dtype(v.aval.dtype), level=inner.level) for v in variables
    ]


def _sizes(shape: Sequence[Size]) -> tuple[Size, ...]:
    return tuple(int(n) if isinstance(n, int | np.integer) else n for n in shape)


def _plain_convolution(pad: Any) -> dict[str, Any]:
    numbers = jax.lax.conv_dimension_numbers((1,) * 4, (1,) * 4, ("NHWC", "HWIO", "NHWC"))
    return {
        "window_strides": (1, 1),
        "padding": pad,
        "lhs_dilation": (1, 1),
        "rhs_dilation": (1, 1),
        "dimension_numbers": numbers,
        "feature_group_count": 1,
        "batch_group_count": 1,
    }


def _source(equation: Any) -> str:
    """``fields.py:86 (MLP.__call__)``: the user's line, without its folder."""
    where = source_info_util.summarize(equation.source_info)
    found = re.match(r"(.*?):(\d+)(?::\d+)? \((.*)\)$", where)
    if not found:
        return ""
    return f"{PurePath(found[1]).name}:{found[2]} ({found[3]})"
