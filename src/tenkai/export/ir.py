"""What stands between JAX and a file: values, operations, blocks.

A block is a list of operations in order. The body of a loop is a block of its own that may read
the values of the blocks around it, so that what does not change in a loop is written once.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Size = Any
"""A number, or an expression of named sizes (JAX's symbolic dimension)."""


@dataclass(eq=False)
class Value:
    """An array that an operation makes, an argument, or (with `constant`) a known array."""

    shape: tuple[Size, ...]
    dtype: np.dtype
    constant: np.ndarray | None = None
    hint: str = ""
    level: int = 0  # how many loops and branches it stands in

    @property
    def known(self) -> bool:
        return self.constant is not None

    @property
    def fixed(self) -> bool:
        """Whether every size is a number."""
        return all(isinstance(n, int) for n in self.shape)

    @property
    def count(self) -> int:
        """Number of elements of a fixed shape."""
        return int(np.prod(self.shape, dtype=int))

    def known_number(self) -> Any:
        """The first element of a known array."""
        assert self.constant is not None
        return self.constant.flat[0]

    @property
    def uniform(self) -> bool:
        """Whether it is a known array with one element, or many equal ones."""
        if self.constant is None or self.constant.size == 0:
            return False
        first = self.constant.flat[0]
        return self.constant.size == 1 or bool((self.constant == first).all())


@dataclass(eq=False)
class Operation:
    """``outputs = kind(inputs; params)``; `source` is the user's line that it comes from."""

    kind: str
    inputs: list[Value]
    outputs: list[Value]
    params: dict[str, Any] = field(default_factory=dict)
    blocks: tuple[Block, ...] = ()
    source: str = ""


@dataclass(eq=False)
class Block:
    inputs: list[Value]
    operations: list[Operation]
    outputs: list[Value]

    def reads(self) -> Iterator[Value]:
        """Every value that is read in here, also in blocks inside, once per reading."""
        for op in self.operations:
            yield from op.inputs
            for block in op.blocks:
                yield from block.reads()
        yield from self.outputs


def constant(array: Any, hint: str = "") -> Value:
    array = np.asarray(array)
    return Value(array.shape, array.dtype, array, hint)


def same_shape(a: tuple[Size, ...], b: tuple[Size, ...]) -> bool:
    """Equal for certain; symbolic sizes are compared as expressions."""
    return len(a) == len(b) and all(same_size(m, n) for m, n in zip(a, b, strict=True))


def same_size(a: Size, b: Size) -> bool:
    return str(a) == str(b)


def size_text(size: Size, *, c: bool = False, names: dict[str, str] | None = None) -> str:
    """An expression of named sizes as source text; `names` renames the sizes."""
    if isinstance(size, int | np.integer):
        return str(int(size))
    text = re.sub(r"\^", "**", str(size))
    return _Sizes(names or {}, c).visit(ast.parse(text, mode="eval").body)


class UnknownSize(ValueError):
    """A size that has no form."""


class _Sizes(ast.NodeVisitor):
    def __init__(self, names: dict[str, str], c: bool):
        self.names, self.c = names, c

    def visit_Name(self, node: ast.Name) -> str:
        return self.names.get(node.id, node.id)

    def visit_Constant(self, node: ast.Constant) -> str:
        return str(node.value)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> str:
        return f"-{self.visit(node.operand)}"

    def visit_BinOp(self, node: ast.BinOp) -> str:
        left, right = self.visit(node.left), self.visit(node.right)
        if isinstance(node.op, ast.Pow) and self.c:
            return "*".join([left] * int(right))
        signs = {ast.Add: " + ", ast.Sub: " - ", ast.Mult: "*", ast.Pow: "**"}
        return f"{left}{signs[type(node.op)]}{right}"

    def visit_Call(self, node: ast.Call) -> str:
        assert isinstance(node.func, ast.Name)
        name, arguments = node.func.id, [self.visit(a) for a in node.args]
        if self.c and name not in ("floordiv", "mod"):
            raise UnknownSize(ast.unparse(node))
        if name == "non_negative":
            return f"max(0, {arguments[0]})"
        sign = {"floordiv": "/" if self.c else "//", "mod": "%"}.get(name)
        if sign is None:
            return f"{name}({', '.join(arguments)})"
        return f"(({arguments[0]}) {sign} ({arguments[1]}))"

    def generic_visit(self, node: ast.AST) -> str:
        raise UnknownSize(ast.unparse(node))
