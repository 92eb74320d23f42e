"""The user's rows, checked, as a VAE takes them: bits, levels or real numbers; images flattened."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float

from ...errors import InputError

Kind = Literal["bernoulli", "gaussian", "logistic", "categorical"]
KINDS: tuple[str, ...] = get_args(Kind)
_LEVELS = 256
_FEWEST = 8


@dataclass(frozen=True)
class Columns:
    """What the columns are, and how rows go in and come out.

    `shape` is that of one row as the user gave it, ``(28, 20)`` for images; `offset` and `scale`
    (dim,) standardise real numbers, and are 0 and 1 elsewhere.
    """

    kind: Kind
    shape: tuple[int, ...]
    names: tuple[str, ...]
    levels: int
    offset: Float[np.ndarray, " dim"]
    scale: Float[np.ndarray, " dim"]

    @property
    def dim(self) -> int:
        """Numbers per row."""
        return len(self.offset)

    @property
    def discrete(self) -> bool:
        """Whether rows have probabilities rather than densities."""
        return self.kind != "gaussian"

    @property
    def in_bits(self) -> bool:
        """Whether bits per dimension is the usual unit: levels of light, labels."""
        return self.kind in ("logistic", "categorical")

    @property
    def log_units(self) -> float:
        """What a log density in standardised units exceeds that in the units of the table by."""
        return float(np.sum(np.log(self.scale)))

    @classmethod
    def of(cls, X: Any, kind: str = "auto") -> tuple[Columns, np.ndarray]:
        """Columns and rows (n, dim) of a table, an array (n, dim) or images (n, height, width).

        Raises `InputError` for gaps, words, too few rows, values that `kind` does not take.
        """
        x, names, shape = _array(X)
        if len(x) < _FEWEST:
            raise InputError(
                "X", expected=f"at least {_FEWEST} rows", got=f"{len(x)}", do="give more rows"
            )
        chosen = _kind(x, shape) if kind == "auto" else kind
        zero, one = np.zeros(x.shape[1]), np.ones(x.shape[1])
        levels = 2
        if chosen == "gaussian":
            zero, one = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
            _varying(x, zero, one, names)
        elif chosen == "logistic":
            levels = _LEVELS
        elif chosen == "categorical":
            levels = max(2, int(np.max(x)) + 1)
        made = cls(chosen, shape, names, levels, zero, one)  # type: ignore[arg-type]
        return made, made.rows(X)

    def rows(self, X: Any) -> np.ndarray:
        """Rows (n, dim) as the model takes them: uint8 for bits and up to 256 levels."""
        x, names, shape = _array(X)
        if x.shape[1] != self.dim or shape not in (self.shape, (self.dim,)):
            raise InputError(
                "X", expected=f"rows of shape {self.shape}, as in the fit", got=f"{shape}",
                do="pass the same columns",
            )  # fmt: skip
        if self.kind == "gaussian":
            return (x.astype(np.float64) - self.offset) / self.scale
        top = 1 if self.kind == "bernoulli" else self.levels - 1
        whole = self.kind != "bernoulli"
        bad = (x < 0) | (x > top) | (whole and (x != np.round(x)))
        if bad.any():
            row, column = np.argwhere(bad)[0]
            what = f"whole numbers from 0 to {top}" if whole else "numbers from 0 to 1"
            raise InputError(
                f"column {_named(names, column)}", expected=what,
                got=f"{x[row, column]!r} in row {row}",
                do='divide by the largest value for "bernoulli"' if not whole
                else 'pass likelihood="gaussian" for real numbers',
            )  # fmt: skip
        grey = not whole and not _bits(x)
        return x.astype(np.float64 if grey or self.levels > _LEVELS else np.uint8)

    def back(self, rows: np.ndarray) -> np.ndarray:
        """Rows (n, dim) of the model in the user's units and shape."""
        out = np.asarray(rows, np.float64) * self.scale + self.offset
        return out.reshape(len(out), *self.shape)

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        words = asdict(self)
        return words | {"offset": self.offset.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_dict(cls, words: dict[str, Any]) -> Columns:
        """Out of what `to_dict` made."""
        return cls(
            kind=words["kind"], shape=tuple(words["shape"]), names=tuple(words["names"]),
            levels=words["levels"], offset=np.asarray(words["offset"], np.float64),
            scale=np.asarray(words["scale"], np.float64),
        )  # fmt: skip


def independent(x: np.ndarray, held: np.ndarray, columns: Columns) -> float:
    """Mean log-likelihood of rows `held` under independent columns learned from `x`, in nats."""
    if columns.kind == "gaussian":
        mean, sd = x.mean(0), np.maximum(x.std(0), 1e-3)
        z = (held - mean) / sd
        return float(np.mean(np.sum(-0.5 * z**2 - np.log(sd) - 0.5 * np.log(2 * np.pi), 1)))
    if columns.kind == "bernoulli":
        rate = (x.sum(0, dtype=np.float64) + 0.5) / (len(x) + 1)
        return float(np.mean(held @ np.log(rate) + (1 - held) @ np.log1p(-rate)))
    total, size = 0.0, columns.levels
    for own, seen in zip(x.T.astype(np.int64), held.T.astype(np.int64), strict=True):
        share = (np.bincount(own, minlength=size) + 0.5) / (len(own) + 0.5 * size)
        total += float(np.mean(np.log(share[seen])))
    return total


def _array(X: Any) -> tuple[np.ndarray, tuple[str, ...], tuple[int, ...]]:
    """Numbers (n, dim), names of the columns where there are any, the shape of one row."""
    names = tuple(str(c) for c in X.columns) if hasattr(X, "columns") else ()
    try:
        x = np.asarray(X)
        x = x.astype(np.float64) if x.dtype.kind == "O" else x
    except (TypeError, ValueError) as error:
        raise InputError("X", expected="numbers", got=str(error), do="encode words") from error
    if x.ndim < 2 or x.dtype.kind not in "buif" or x[:1].size == 0:
        raise InputError(
            "X", expected="rows of numbers, or images: at least two axes",
            got=f"shape {x.shape} of {x.dtype}", do="reshape it, one row per example",
        )  # fmt: skip
    flat = x.reshape(len(x), -1)
    bad = ~np.isfinite(flat)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise InputError(
            f"column {_named(names, column)}", expected="finite numbers",
            got=f"{flat[row, column]} in row {row}", do="fill or drop the gap",
        )  # fmt: skip
    return flat, names, x.shape[1:]


def _bits(x: np.ndarray) -> bool:
    return bool(np.isin(x, (0, 1)).all())


def _kind(x: np.ndarray, shape: tuple[int, ...]) -> Kind:
    """By the type of the numbers: bytes are light, bits are bits, images in [0, 1] are grey."""
    if _bits(x):
        return "bernoulli"
    if x.dtype == np.uint8:
        return "logistic"
    if len(shape) > 1 and x.min() >= 0 and x.max() <= 1:
        return "bernoulli"
    return "gaussian"


def _varying(x: np.ndarray, mean: np.ndarray, sd: np.ndarray, names: tuple[str, ...]) -> None:
    constant = np.flatnonzero(sd <= 1e-12 * np.maximum(np.abs(mean), 1e-300))
    if len(constant):
        raise InputError(
            f"column {_named(names, constant[0])}", expected="values that vary: a density",
            got=f"{x[0, constant[0]]} in every row", do="drop the column",
        )  # fmt: skip


def _named(names: tuple[str, ...], column: Any) -> str:
    return repr(names[column]) if names else str(int(column))
