"""Names and texts that come from users, made safe for a file."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def one_line(text: str) -> str:
    """Text for a comment: one line, nothing that a compiler or a reader could take for an end."""
    clean = "".join(c if c.isprintable() else " " for c in text)
    return clean.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").rstrip("\\ ")


class Namespace:
    """Identifiers that are in use; `new` makes another one out of any text."""

    def __init__(self, used: Iterable[str] = (), *, ascii_only: bool = False):
        self.used, self.ascii_only = set(used), ascii_only

    def new(self, wish: str, *, upper: bool = False) -> str:
        """`wish` as an identifier that is not in use yet."""
        text = unicodedata.normalize("NFKC", wish)
        if self.ascii_only:
            text = text.encode("ascii", "replace").decode()
        text = re.sub(r"\W+", "_", text).strip("_") or "value"
        if text[0].isdigit():
            text = f"v_{text}"
        if not text.isidentifier():
            text = "value"
        text = (text.upper() if upper else text)[:60]
        name, count = text, 1
        while name in self.used:
            count += 1
            name = f"{text}_{count}"
        self.used.add(name)
        return name


def constant_names(tree: Any, dtype: str) -> Callable[[np.ndarray], str]:
    """What the arrays of a PyTree are called in it, for arrays that equal them."""
    known: dict[Any, str] = {}
    if tree is not None:
        from tenkai.storage import flatten

        for path, array in flatten(tree).items():
            if array.size > 1 and array.dtype.kind == "f":
                known.setdefault(_content(array), path)

    def name(array: np.ndarray) -> str:
        if array.size < 2 or array.dtype.kind != "f" or not known:
            return ""
        return known.get(_content(array), "")

    return name


def _content(array: np.ndarray) -> Any:
    """The same for an array in float32 and in float64."""
    return array.shape, hashlib.sha256(np.asarray(array, np.float32).tobytes()).digest()
