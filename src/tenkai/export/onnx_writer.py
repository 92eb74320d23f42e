"""One graph of ONNX, written operation by operation; loops become graphs inside it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

import numpy as np

from .ir import Block, Operation, Size, Value, size_text
from .names import Namespace
from .onnx_forms import FORMS
from .program import Argument, Function
from .shapes import named
from .trace import Traced

_INTEGER, _BOOLEAN = 6, 9  # of ONNX's TensorProto


class Writer:
    """Nodes of the graph that is being written; graphs inside loops read those around them."""

    def __init__(self, onnx: Any, traced: Traced, dtype: str):
        self.onnx, self.real = onnx, np.dtype(dtype)
        self.names, self.env = Namespace(set()), dict[int, str]()
        self.nodes: list[Any] = []
        self.first: list[Any] = []  # of the sizes, which everything may read
        self.initial: list[Any] = []
        self.known: dict[Any, str] = {}
        self.measured = self._sizes(traced)

    def main(self, traced: Traced, function: Function) -> Any:
        """The whole graph of a function."""
        block = traced.block
        outputs = [self.names.new(o) for o in function.outputs]
        found = self.block(block, [v.hint for v in block.inputs])
        for name, output in zip(found, outputs, strict=True):
            self.node("Identity", [name], [output])
        given = zip(block.inputs, traced.arguments, strict=True)
        return self.onnx.helper.make_graph(
            [*self.first, *self.nodes], function.name,
            [self._info(v.hint, v, a) for v, a in given],
            [self._info(o, v) for o, v in zip(outputs, block.outputs, strict=True)],
            self.initial, doc_string=function.doc,
        )  # fmt: skip

    def block(self, block: Block, inputs: Sequence[str]) -> list[str]:
        """Write a block's operations; the names of its outputs."""
        self.env.update({id(v): n for v, n in zip(block.inputs, inputs, strict=True)})
        for op in block.operations:
            if op.kind in ("scan", "while", "cond"):
                made = getattr(self, f"_{op.kind}")(op)
            else:
                made = FORMS[op.kind](self, op, [self.name(v) for v in op.inputs])
            made = [made] if isinstance(made, str) else made
            self.env.update({id(v): n for v, n in zip(op.outputs, made, strict=True)})
        return [self.name(v) for v in block.outputs]

    def name(self, value: Value) -> str:
        """What a value is called; known arrays become initialisers."""
        if value.constant is None:
            return self.env[id(value)]
        return self.constant(value.constant.astype(self.type(value.dtype)), value.hint)

    def type(self, dtype: Any) -> np.dtype:
        """A type in the program's precision: constants of JAX may come in a wider one."""
        dtype = np.dtype(dtype)
        if dtype.kind == "f":
            return self.real
        wide = dtype == np.int64 and self.real == np.float32
        return np.dtype(np.int32) if wide else dtype

    def node(
        self, kind: str, inputs: Sequence[str], outputs: Sequence[str] | None = None, *,
        count: int = 1, **attributes: Any,
    ) -> Any:  # fmt: skip
        """Append a node; its output's name, or names where there are several."""
        made = list(outputs) if outputs else [self.names.new(kind.lower()) for _ in range(count)]
        self.nodes.append(self.onnx.helper.make_node(kind, list(inputs), made, **attributes))
        return made[0] if count == 1 else made

    def constant(self, array: Any, hint: str = "constant") -> str:
        """A known array."""
        array = np.asarray(array)
        key = array.dtype.str, array.shape, array.tobytes()
        if key not in self.known:
            self.known[key] = self.names.new(hint or "constant")
            self.initial.append(
                self.onnx.numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape),
                                                  self.known[key])
            )  # fmt: skip
        return self.known[key]

    def integers(self, numbers: Sequence[int]) -> str:
        """A known list of whole numbers."""
        return self.constant(np.asarray(list(numbers), np.int64))

    def shape(self, sizes: Sequence[Size]) -> str:
        """Sizes as a list of whole numbers, some of them known only later."""
        if all(isinstance(n, int | np.integer) for n in sizes):
            return self.integers([int(n) for n in sizes])
        parts = [self.size(n) for n in sizes]
        return self._early("Concat", parts, axis=0) if len(parts) > 1 else parts[0]

    def size(self, size: Size) -> str:
        """One size, as a list of one."""
        if isinstance(size, int | np.integer):
            return self.integers([int(size)])
        text = size_text(size)
        if text not in self.measured:
            self.measured[text] = self._measured(ast.parse(text, mode="eval").body)
        return self.measured[text]

    def _measured(self, tree: ast.AST) -> str:
        if isinstance(tree, ast.Name):
            return self.measured[tree.id]
        if isinstance(tree, ast.Constant):
            return self.integers([int(str(tree.value))])
        if isinstance(tree, ast.UnaryOp):
            return self._early("Neg", [self._measured(tree.operand)])
        if isinstance(tree, ast.BinOp):
            kinds = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul", ast.FloorDiv: "Div",
                     ast.Mod: "Mod", ast.Pow: "Pow"}  # fmt: skip
            sides = [self._measured(tree.left), self._measured(tree.right)]
            return self._early(kinds[type(tree.op)], sides)
        assert isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name)
        kind = {"max": "Max", "min": "Min"}[tree.func.id]
        return self._early(kind, [self._measured(a) for a in tree.args])

    def _early(self, kind: str, inputs: Sequence[str], **attributes: Any) -> str:
        name = self.names.new("size")
        self.first.append(self.onnx.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def _sizes(self, traced: Traced) -> dict[str, str]:
        """The open sizes, measured on the arguments."""
        found: dict[str, str] = {}
        for value, argument in zip(traced.block.inputs, traced.arguments, strict=True):
            self.names.used.add(value.hint)
            for axis, size in enumerate(argument.shape):
                if isinstance(size, str) and named(size) == [size] and size not in found:
                    whole = self._early("Shape", [value.hint])
                    at = self.integers([axis])
                    found[size] = self._early("Gather", [whole, at], axis=0)
        return found

    def kind(self, dtype: Any) -> int:
        """ONNX's number of a type."""
        return self.onnx.helper.np_dtype_to_tensor_dtype(self.type(dtype))

    def _info(self, name: str, value: Value, argument: Argument | None = None) -> Any:
        sizes = [int(n) if isinstance(n, int | np.integer) else str(n) for n in value.shape]
        doc = "" if argument is None else argument.doc
        return self.onnx.helper.make_tensor_value_info(
            name, self.kind(value.dtype), sizes, doc_string=doc
        )

    def _inside(self, name: str, inputs: Sequence[Any], body: Any) -> Any:
        """A graph that ``body()`` writes; it returns pairs of names and value infos."""
        around, self.nodes = self.nodes, []
        outputs = []
        for found, info in body():  # outputs of a graph must be made inside it, each once
            self.node("Identity", [found], [info.name])
            outputs.append(info)
        graph = self.onnx.helper.make_graph(self.nodes, name, list(inputs), outputs)
        self.nodes = around
        return graph

    def _slot(self, value: Value, hint: str) -> Any:
        return self._info(self.names.new(hint), value)

    def _scan(self, op: Operation) -> list[str]:
        block, carried = op.blocks[0], op.params["carried"]
        scanned = len(op.inputs) - carried
        if not scanned:
            return self._counted(op)
        slots = [self._slot(v, "slot") for v in block.inputs]

        def body() -> list[tuple[str, Any]]:
            found = self.block(block, [s.name for s in slots])
            return [(f, self._slot(v, "next")) for f, v in zip(found, block.outputs, strict=True)]

        kept, ways = len(op.outputs) - carried, dict[str, Any]()
        if op.params["reverse"]:
            ways = {"scan_input_directions": [1] * scanned}
            ways |= {"scan_output_directions": [1] * kept} if kept else {}
        graph = self._inside("scan", slots, body)
        inputs = [self.name(v) for v in op.inputs]
        return self._several(
            "Scan", inputs, len(op.outputs), body=graph, num_scan_inputs=scanned, **ways
        )

    def _several(
        self, kind: str, inputs: Sequence[str], count: int, **attributes: Any
    ) -> list[str]:
        made = [self.names.new(kind.lower()) for _ in range(count)]
        self.node(kind, inputs, made, **attributes)
        return made

    def _counted(self, op: Operation) -> list[str]:
        """A loop over nothing but a number of steps."""
        block = op.blocks[0]
        helper = self.onnx.helper
        step = helper.make_tensor_value_info(self.names.new("step"), 7, [])
        going = helper.make_tensor_value_info(self.names.new("going"), _BOOLEAN, [])
        slots = [self._slot(v, "slot") for v in block.inputs]

        def body() -> list[tuple[str, Any]]:
            found = self.block(block, [s.name for s in slots])
            pairs = [(f, self._slot(v, "next")) for f, v in zip(found, block.outputs, strict=True)]
            return [(going.name, helper.make_tensor_value_info(self.names.new("on"), _BOOLEAN, [])),
                    *pairs]  # fmt: skip

        graph = self._inside("loop", [step, going, *slots], body)
        length = self.size(op.params["length"])
        inputs = [length, self.constant(np.True_), *(self.name(v) for v in op.inputs)]
        return self._several("Loop", inputs, len(op.outputs), body=graph)

    def _while(self, op: Operation) -> list[str]:
        test, block = op.blocks
        helper = self.onnx.helper
        step = helper.make_tensor_value_info(self.names.new("step"), 7, [])
        going = helper.make_tensor_value_info(self.names.new("going"), _BOOLEAN, [])
        start = [self.name(v) for v in op.inputs]
        first = self.block(test, start)[0]
        slots = [self._slot(v, "slot") for v in block.inputs]

        def body() -> list[tuple[str, Any]]:
            found = self.block(block, [s.name for s in slots])
            on = self.block(test, found)[0]
            pairs = [(f, self._slot(v, "next")) for f, v in zip(found, block.outputs, strict=True)]
            return [(on, helper.make_tensor_value_info(self.names.new("on"), _BOOLEAN, [])), *pairs]

        graph = self._inside("loop", [step, going, *slots], body)
        return self._several("Loop", ["", first, *start], len(op.outputs), body=graph)

    def _cond(self, op: Operation) -> list[str]:
        return self._branches(op, 0)

    def _branches(self, op: Operation, at: int) -> list[str]:
        """``if which <= at`` the branch of that number, else those behind it."""
        which = self.node("Cast", [self.name(op.inputs[0])], to=_INTEGER)
        test = self.node("LessOrEqual", [which, self.constant(np.int32(at))])

        def pairs(found: Sequence[str]) -> list[tuple[str, Any]]:
            return [(f, self._slot(v, "chosen")) for f, v in zip(found, op.outputs, strict=True)]

        def behind() -> list[tuple[str, Any]]:
            if at + 2 < len(op.blocks):
                return pairs(self._branches(op, at + 1))
            return pairs(self.block(op.blocks[at + 1], []))

        yes = self._inside("then", [], lambda: pairs(self.block(op.blocks[at], [])))
        no = self._inside("else", [], behind)
        return self._several("If", [test], len(op.outputs), then_branch=yes, else_branch=no)
