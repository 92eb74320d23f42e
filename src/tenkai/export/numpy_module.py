"""A program as the text of a Python module that imports only NumPy."""

from __future__ import annotations

import builtins
import keyword
from typing import Any

import numpy as np

from tenkai.errors import InputError

from .ir import Block, Value
from .names import Namespace, constant_names, one_line
from .numpy_block import Writer
from .numpy_forms import FORMS, Words, dtype_text
from .numpy_passes import aligned_broadcasts
from .program import Function, Program
from .trace import Traced, named, trace

_RESERVED = {*keyword.kwlist, *dir(builtins), "np"}
_READABLE = 4096  # elements of an array that is written as numbers
_DTYPES = {"real": "", "integer": "int32", "boolean": "bool_"}


def module_text(program: Program, *, dtype: str, sizes: dict[str, int]) -> str:
    """The module: constants, functions taken along, then the program's functions."""
    if dtype not in ("float64", "float32"):
        raise InputError(
            "dtype", expected="'float64' or 'float32'", got=repr(dtype), do="pass one of these"
        )
    for function in program.functions:
        if function.name in _RESERVED:
            raise InputError(
                "name of a function",
                expected="a name that is not one of Python's own",
                got=repr(function.name),
                do="call it otherwise",
            )
    names = constant_names(program.constants, dtype)
    top = Namespace({*_RESERVED, *(f.name for f in program.functions)})
    constants = Constants(top)
    words = Words()
    functions = []
    for function in program.functions:
        traced = trace(function, dtype, supported=tuple(FORMS), sizes=sizes, names=names)
        functions.append(_function(traced, dtype, constants, words))
    support = [source.rstrip() for source in words.taken.values()]
    head = [f'"""{_docstring(_head(program, dtype))}"""', "import numpy as np"]
    if constants.lines:
        head.append("\n".join(constants.lines))
    return "\n\n".join(head) + "\n\n\n" + "\n\n\n".join([*support, *functions]) + "\n"


class Constants:
    """Known arrays as definitions at the head of the module, each once."""

    def __init__(self, names: Namespace):
        self.names, self.lines = names, list[str]()
        self.known: dict[Any, str] = {}

    def name(self, value: Value) -> str:
        array = value.constant
        assert array is not None
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self.known:
            name = self.names.new(value.hint or "constant", upper=True)
            self.known[key] = name
            comment = f"  # {array.shape}" + (f", {one_line(value.hint)}" if value.hint else "")
            self.lines.append(_definition(name, array, comment))
        return self.known[key]


def _definition(name: str, array: np.ndarray, comment: str) -> str:
    dtype = dtype_text(array.dtype)
    if array.size == 0 or (array == array.flat[0]).all():
        value = array.flat[0] if array.size else 0
        return f"{name} = np.full({array.shape}, {_number(value)}, {dtype}){comment}"
    if array.size <= _READABLE:
        text = np.array2string(
            array, separator=", ", threshold=array.size + 1, max_line_width=96, floatmode="unique"
        )
        text = text.replace("nan", "np.nan").replace("inf", "np.inf")
        return f"{name} = np.array({comment}\n    {_indented(text)},\n    {dtype},\n)"
    data = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    digits = data.tobytes().hex()
    rows = "\n".join(f'        "{digits[i : i + 88]}"' for i in range(0, len(digits), 88))
    kind = repr(data.dtype.str.replace("|", ""))
    return (
        f"{name} = np.frombuffer({comment}, the bytes of its numbers\n"
        f"    bytes.fromhex(\n{rows}\n    ),\n    {kind},\n).reshape({array.shape})"
    )


def _number(value: Any) -> str:
    text = str(value)
    return text.replace("nan", "np.nan").replace("inf", "np.inf")


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")


def _head(program: Program, dtype: str) -> str:
    from tenkai import __version__

    names = ", ".join(f.name for f in program.functions)
    lines = [program.title, "", *program.notes]
    lines += [""] if program.notes else []
    lines += [f"Functions: {names}. Numbers in {dtype}. Needs only NumPy.",
              f"Written by tenkai {__version__}."]  # fmt: skip
    return "\n".join(lines) + "\n"


def _docstring(text: str) -> str:
    """Text that cannot leave a docstring; it ends with a line of its own."""
    clean = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
    return clean.replace("\\", "\\\\").replace('"""', '\\"\\"\\"').rstrip("\n") + "\n"


def _function(traced: Traced, dtype: str, constants: Constants, words: Words) -> str:
    names = Namespace({*_RESERVED, *constants.names.used})
    sizes = {n: names.new(f"n_{n}") for n in traced.sizes}
    words.names = sizes
    arguments = {id(v): names.new(v.hint) for v in traced.block.inputs}
    block = aligned_broadcasts(traced.block)
    writer = Writer(names, constants, words, dict(arguments))
    body, results = writer.block(block)
    returned = ", ".join(_result(v, r) for v, r in zip(block.outputs, results, strict=True))
    lines = [f"def {traced.function.name}({', '.join(arguments.values())}):"]
    lines += [f'    """{_indented(_docstring(_doc(traced, list(arguments.values()))))}"""']
    lines += ["    " + line for line in _checks(traced, arguments, sizes, dtype, words)]
    lines += ['    with np.errstate(all="ignore"):']
    lines += ["        " + line for line in [*body, f"return {returned}"]]
    return "\n".join(line.rstrip() for line in lines)


def _result(value: Value, text: str) -> str:
    return f"np.asarray({text}, {dtype_text(value.dtype)})"


def _doc(traced: Traced, names: list[str]) -> str:
    function = traced.function
    lines = [function.doc.strip() or function.name, ""]
    for name, argument in zip(names, traced.arguments, strict=True):
        shape = ", ".join(map(str, argument.shape)) or "a number"
        called = "" if name == argument.name else f"{argument.name}: "
        kind = "" if argument.dtype == "real" else f", {argument.dtype}"
        lines.append(f"{name} ({shape}{kind}): {called}{argument.doc}".rstrip(": "))
    lines.append("Returns " + ", ".join(_outputs(function, traced.block)) + ".")
    return "\n".join(lines) + "\n"


def _outputs(function: Function, block: Block) -> list[str]:
    return [
        f"{name} ({', '.join(map(str, v.shape)) or 'a number'})"
        for name, v in zip(function.outputs, block.outputs, strict=True)
    ]


def _checks(
    traced: Traced, arguments: dict[int, str], sizes: dict[str, str], dtype: str, words: Words
) -> list[str]:
    """Arguments as arrays of the right shape; named sizes are taken from them."""
    lines, known, later = [], set[str](), []
    for value, argument in zip(traced.block.inputs, traced.arguments, strict=True):
        name, kind = arguments[id(value)], f"np.{_DTYPES[argument.dtype] or dtype}"
        text, found, whole = [], [], True
        for i, (size, declared) in enumerate(zip(value.shape, argument.shape, strict=True)):
            parts = named(declared)
            if set(parts) <= known:
                text.append(words.size(size))
            else:
                text.append("None")
                if parts == [declared]:
                    known.add(parts[0])
                    found.append(f"{sizes[parts[0]]} = {name}.shape[{i}]")
                else:
                    whole = False
        shape = f"({', '.join(text)}{',' if len(text) == 1 else ''})"
        take = words.take("_argument")
        lines += [f"{name} = {take}({argument.name!r}, {name}, {kind}, {shape})", *found]
        if not whole:
            full = words.shape(value.shape)
            later.append(f"{name} = {take}({argument.name!r}, {name}, {kind}, {full})")
    missing = [n for n in traced.sizes if n not in known]
    if missing:
        raise InputError(
            f"size {missing[0]!r} of function {traced.function.name!r}",
            expected="an argument that has it as one of its sizes",
            got="only expressions of it",
            do=f"pass sizes={{{missing[0]!r}: ...}}",
        )
    return lines + later
