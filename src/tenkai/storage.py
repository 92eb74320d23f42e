"""Models and checkpoints: one safetensors file with JSON metadata and a checksum, never pickle.

The file is a plain safetensors file that any reader opens. ``__metadata__`` has two entries:
``tenkai``, JSON that begins with the format's number, and ``sha256`` of all bytes of the file with
the checksum itself written as zeros. Files are replaced atomically: a reader, or a process that
starts after a crash, sees the old file or the new one, never half of one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from jaxtyping import PyTree

FORMAT = 1
_MARK = b'"sha256":"'  # inside JSON strings quotes are escaped, so this cannot occur in one
_ZEROS = b"0" * 64
_DTYPES = {"BOOL": "bool", "C64": "complex64", "F16": "float16", "F32": "float32", "F64": "float64"}
_DTYPES |= {f"{k}{n}": f"{t}{n}" for k, t in (("I", "int"), ("U", "uint")) for n in (8, 16, 32, 64)}


def save(path: Path | str, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    """Write arrays and JSON metadata to one file, atomically and durably."""
    from safetensors.numpy import save as serialize

    text = json.dumps({"format": FORMAT, **meta}, ensure_ascii=False)
    # safetensors reads raw memory: strided arrays must be packed first, scalars stay scalars.
    packed = {name: np.array(x, order="C", copy=None) for name, x in arrays.items()}
    data = bytearray(serialize(packed, {"tenkai": text, "sha256": _ZEROS.decode()}))
    start = data.index(_MARK) + len(_MARK)
    data[start : start + 64] = hashlib.sha256(data).hexdigest().encode()
    write_atomic(path, data)


def load(path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `save` wrote; arrays are NumPy.

    Raises `InputError` for a missing file, any damage, a file of another program or a newer format.
    """
    from safetensors import SafetensorError, deserialize

    path = Path(path)
    try:
        data = bytearray(path.read_bytes())
    except OSError as error:
        _refuse(path, error.strerror or str(error), "check the path")
    meta = _metadata(path, data)
    start = data.find(_MARK) + len(_MARK)
    stored = bytes(data[start : start + 64])
    data[start : start + 64] = _ZEROS
    if start < len(_MARK) or hashlib.sha256(data).hexdigest().encode() != stored:
        _refuse(path, "a damaged file: its checksum does not match", "use another copy")
    try:
        return {name: _array(stored) for name, stored in deserialize(bytes(data))}, meta
    except (SafetensorError, KeyError, ValueError) as error:
        _refuse(path, f"arrays that cannot be read ({error})", "save it again")


def _array(stored: dict[str, Any]) -> np.ndarray:
    """safetensors' own NumPy reader knows no bfloat16."""
    if stored["dtype"] == "BF16":
        import ml_dtypes

        dtype = np.dtype(ml_dtypes.bfloat16)
    else:
        dtype = np.dtype(_DTYPES[stored["dtype"]])
    return np.frombuffer(stored["data"], dtype.newbyteorder("<")).reshape(stored["shape"])


def _metadata(path: Path, data: bytearray) -> dict[str, Any]:
    size = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + size]) if 8 <= size <= len(data) - 8 else None
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        _refuse(path, "no safetensors file, or a truncated one", "use another file")
    try:
        meta = json.loads(header["__metadata__"]["tenkai"])
        version = int(meta["format"])
    except (KeyError, TypeError, ValueError, RecursionError):
        _refuse(path, "a safetensors file that tenkai did not write", "use another file")
    if version > FORMAT:
        _refuse(path, f"format {version}, written by a newer tenkai", "upgrade tenkai")
    return meta


def _refuse(path: Path, got: str, do: str) -> NoReturn:
    raise InputError(f"file {path}", expected="a file saved by tenkai", got=got, do=do)


def write_atomic(path: Path | str, data: bytes | bytearray) -> None:
    """Write a whole file: temporary file beside it, fsync, rename, fsync of the folder."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with contextlib.suppress(OSError):  # a folder cannot be opened on every platform
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def flatten(tree: PyTree) -> dict[str, np.ndarray]:
    """The arrays of a PyTree by readable path, as ``layers.0.weight``; keys as their key data."""
    import jax

    arrays: dict[str, np.ndarray] = {}
    for name, leaf in _named(tree):
        if name in arrays:
            raise ValueError(f"two arrays have the path {name!r}. Rename a dictionary key.")
        arrays[name] = np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)
    return arrays


def unflatten(template: PyTree, arrays: dict[str, np.ndarray], what: str = "arrays") -> PyTree:
    """`template` with its arrays replaced by the named ones (NumPy, in their own dtype).

    Arrays in the template may be `jax.ShapeDtypeStruct`. Raises `InputError`, beginning with
    `what`, unless names and shapes agree.
    """
    import jax

    named = _named(template)
    missing = sorted({name for name, _ in named} ^ set(arrays))
    if missing:
        _disagree(what, f"{len(named)} arrays", f"{len(arrays)}, differing in {missing[0]!r}")
    filled = {}
    for name, leaf in named:
        array: Any = arrays[name]
        key = _is_key(leaf)
        shape = jax.eval_shape(jax.random.key_data, leaf).shape if key else leaf.shape
        if array.shape != shape:
            _disagree(what, f"{name} of shape {shape}", f"{array.shape}")
        impl = jax.random.key_impl(leaf) if key and isinstance(leaf, jax.Array) else None
        if key:
            array = jax.random.wrap_key_data(jax.numpy.asarray(array), impl=impl)
        filled[name] = array
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: filled[_name(path)] if _is_array(leaf) else leaf, template
    )


def _disagree(what: str, expected: str, got: str) -> NoReturn:
    raise InputError(what, expected=expected, got=got, do="use the model it was saved from")


def _named(tree: PyTree) -> list[tuple[str, Any]]:
    import jax

    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [(_name(path), leaf) for path, leaf in leaves if _is_array(leaf)]


def _name(path: Any) -> str:
    import jax

    return jax.tree_util.keystr(path, simple=True, separator=".") or "array"


def _is_array(leaf: Any) -> bool:
    import jax

    return isinstance(leaf, jax.Array | np.ndarray | np.generic | jax.ShapeDtypeStruct)


def _is_key(leaf: Any) -> bool:
    import jax

    return jax.numpy.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def save_model(
    path: Path | str,
    model: PyTree,
    *,
    class_name: str,
    arguments: dict[str, Any],
    scaling: dict[str, Any] | None = None,
    names: tuple[str, ...] = (),
    **more: Any,
) -> None:
    """A model file: the arrays of `model` and what it takes to build a template for `unflatten`.

    `arguments` and all else are JSON. `tree` is the model's structure in words, for readers.
    """
    import jax

    meta = {
        "class": class_name,
        "arguments": arguments,
        "tree": str(jax.tree.structure(model)),
        "scaling": scaling,
        "names": list(names),
    }
    save(path, flatten(model), meta | more)


def load_model(path: Path | str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and metadata of a model file; `InputError` also for a file that holds no model."""
    arrays, meta = load(path)
    if "class" not in meta:
        _refuse(Path(path), f"a {meta.get('kind', 'file')} without a model", "pass a model file")
    return arrays, meta
