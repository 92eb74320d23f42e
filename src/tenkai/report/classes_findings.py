"""What pictures and pages show of a classifier, computed once for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from .findings import About, gather
from .palette import SERIES

MISTAKES = 24  # images that are shown
_FOLLOWED = 400  # rows whose states are drawn
_SOLVED = 200  # rows that are solved at every tolerance
_RTOLS = (1e-1, 1e-2, 1e-3, 1e-4)  # each is a program: of images, which take long, all but one
DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
_MORE = ("#882255", "#117733", "#44aa99", "#332288", "#999933", "#661100")  # Tol's muted scheme


@runtime_checkable
class Classifying(Protocol):
    """A fitted classifier with depth: `ODEClassifier`.

    It also has `classes_`, `shape_`, `held_out_`, `fit_`, `model_`, `parameters_`, and `shown_` and
    `shown_classes_`: rows that did not train (where none were held out, some that did) and the
    numbers of their classes.
    """

    def predict_proba(self, X: Any) -> np.ndarray: ...

    def hidden(self, X: Any, depths: Any = 1.0) -> np.ndarray: ...

    def nfe(self, X: Any) -> np.ndarray: ...

    def with_tolerance(self, rtol: float) -> Any: ...


def shade(k: int) -> str:
    """The colour of a class: twelve that are told apart."""
    colours = SERIES + _MORE
    return colours[k % len(colours)]


@dataclass(frozen=True, eq=False)
class Confusion:
    """How often (true, said) rows of one class were taken for another."""

    names: tuple[str, ...]
    counts: np.ndarray

    @classmethod
    def of(cls, truth: np.ndarray, said: np.ndarray, classes: Any) -> Confusion | None:
        """From numbers of classes; None without rows."""
        if not len(truth):
            return None
        counts = np.zeros((len(classes), len(classes)), int)
        np.add.at(counts, (truth, said), 1)
        return cls(tuple(str(c) for c in classes), counts)

    @property
    def shares(self) -> np.ndarray:
        """Of every true class; NaN of those without rows."""
        rows = self.counts.sum(1, keepdims=True)
        return np.where(rows > 0, self.counts / np.maximum(rows, 1), np.nan)

    @property
    def right(self) -> int:
        """Rows whose class was recognised."""
        return int(np.trace(self.counts))

    def pairs(self, most: int) -> list[tuple[str, str, int, int]]:
        """What is mistaken most often: true, said, how often, of how many."""
        wrong = self.counts - np.diag(np.diag(self.counts))
        order = np.argsort(-wrong, axis=None, kind="stable")[:most]
        places = zip(*np.unravel_index(order, wrong.shape), strict=True)
        total = self.counts.sum(1)
        return [
            (self.names[i], self.names[j], int(wrong[i, j]), int(total[i]))
            for i, j in places
            if wrong[i, j]
        ]


@dataclass(frozen=True, eq=False)
class Mistake:
    """A row that was taken for another class: its image (h, w, c) from 0 to 1."""

    image: np.ndarray
    true: str
    said: str
    sure: float
    left: float  # the probability of the true class


@dataclass(frozen=True, eq=False)
class Depths:
    """States of rows in the plane of the two largest principal components, all depths together.

    `points` (depths, rows, 2), `share` of the variance in the plane, `codes` (rows,) of classes.
    """

    depths: tuple[float, ...]
    points: np.ndarray
    share: float
    codes: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class ClassFindings(About):
    """What the page shows of a classifier."""

    classes: tuple[str, ...]
    rows: str  # which rows the pictures are of
    held_out: Any
    judged: tuple[int, int] | None  # right, of how many: of rows that were passed
    confusion: Confusion | None
    mistakes: tuple[Mistake, ...]
    tolerances: tuple[dict[str, float], ...]
    hidden: Depths | None
    nfe: np.ndarray | None
    count: int  # of learned numbers
    of_images: bool


class Plane(NamedTuple):
    """Points (..., 2) in the plane of the two largest principal components.

    `axes` (dim, 2) are its directions, `share` the part of the variance that lies in it.
    """

    points: np.ndarray
    axes: np.ndarray
    share: float


def plane_of(states: np.ndarray) -> Plane:
    """The plane of states (..., dim)."""
    flat = states.reshape(-1, states.shape[-1]).astype(float)
    flat = flat - flat.mean(0)
    _, size, directions = np.linalg.svd(flat, full_matrices=False)
    axes = np.zeros((flat.shape[1], 2))
    found = directions[:2].T
    axes[:, : found.shape[1]] = found
    total = float((size**2).sum())
    share = float((size[:2] ** 2).sum() / total) if total > 0 else 1.0
    return Plane((flat @ axes).reshape(*states.shape[:-1], 2), axes, share)


@gather.register(Classifying)
def _(estimator: Classifying, forecasts: Any = None, coverage: float = 0.9) -> ClassFindings:
    """`forecasts` may be rows and their classes ``(X, y)`` to judge instead of held-out ones."""
    found: Any = estimator
    x, codes = _judged(found, forecasts)
    chance = np.asarray(found.predict_proba(x))
    passed = forecasts is not None
    return ClassFindings(
        heading=_heading(found), kind=type(found).__name__, names=_columns(found), units={},
        time_name="", span=(0, 0), total_series=1, observations=0, fit=found.fit_,
        seconds={"training": float(found.fit_.seconds)},
        settings=dict(found.get_params(deep=False)), notes=(), model=found.model_,
        classes=tuple(str(c) for c in found.classes_),
        rows="the rows that were passed" if passed else
        "rows that trained" if found.held_out_ is None else "held-out rows",
        held_out=found.held_out_,
        judged=(int((chance.argmax(1) == codes).sum()), len(codes)) if passed else None,
        confusion=Confusion.of(codes, chance.argmax(1), found.classes_),
        mistakes=_mistakes(found, x, codes, chance), tolerances=_tolerances(found, x, codes),
        hidden=_hidden(found, x, codes), nfe=np.asarray(found.nfe(x[:_SOLVED])),
        count=int(found.parameters_), of_images=len(found.shape_) == 3,
    )  # fmt: skip


def shown_of(found: Any) -> Any:
    """The rows that were kept for pictures, under their columns' names where they have any."""
    if not hasattr(found, "feature_names_in_"):
        return found.shown_
    import pandas as pd

    return pd.DataFrame(found.shown_, columns=found.feature_names_in_)


def _judged(found: Any, passed: Any) -> tuple[Any, np.ndarray]:
    """Rows and the numbers of their classes: those passed, else held-out ones that were kept."""
    if passed is None:
        return shown_of(found), np.asarray(found.shown_classes_)
    from ..errors import InputError

    x, y = passed
    at = {c: k for k, c in enumerate(np.asarray(found.classes_).tolist())}
    given = np.asarray(y).tolist()
    strange = [c for c in given if c not in at]
    if strange or len(given) != len(x):
        raise InputError(
            "forecasts", expected=f"rows and as many classes, out of {list(at)[:5]}",
            got=repr(strange[0]) if strange else f"{len(x)} rows, {len(given)} classes",
            do="pass forecasts=(X, y)",
        )  # fmt: skip
    return x, np.array([at[c] for c in given])


def _heading(found: Any) -> str:
    kind = "images" if len(found.shape_) == 3 else "rows"
    return f"A classifier of {kind} into {len(found.classes_)} classes"


def _columns(found: Any) -> tuple[str, ...]:
    names = getattr(found, "feature_names_in_", None)
    if names is not None:
        return tuple(map(str, names))
    return tuple(f"x{j}" for j in range(found.shape_[0])) if len(found.shape_) == 1 else ()


def _mistakes(
    found: Any, x: Any, codes: np.ndarray, chance: np.ndarray
) -> tuple[Mistake, ...]:  # fmt: skip
    """Images that were taken for another class, the surest first."""
    said = chance.argmax(1)
    wrong = np.flatnonzero(said != codes)
    if len(found.shape_) != 3 or not len(wrong):
        return ()
    sure = chance[wrong, said[wrong]]
    worst = wrong[np.argsort(-sure, kind="stable")][:MISTAKES]
    pixels = np.asarray(x)
    low, high = (0.0, 255.0) if pixels.dtype == np.uint8 else (pixels.min(), pixels.max())
    names = [str(c) for c in found.classes_]
    made = []
    for i in worst:
        image = (pixels[i].astype(float).reshape(found.shape_) - low) / max(high - low, 1e-12)
        own = int(codes[i])
        made.append(
            Mistake(image, names[own], names[said[i]], float(chance[i, said[i]]),
                    float(chance[i, own]))
        )  # fmt: skip
    return tuple(made)


def _tolerances(found: Any, x: Any, codes: np.ndarray) -> tuple[dict[str, float], ...]:
    """Accuracy and price at several tolerances; of residual blocks none."""
    from ..classifiers.evaluation import is_solved

    if not is_solved(found.model_) or not len(codes):
        return ()
    y = np.asarray(found.classes_)[codes[:_SOLVED]]
    rtols = _RTOLS[: 4 - (len(found.shape_) == 3)]
    return tuple(found.accuracy_by_tolerance(x[:_SOLVED], y, rtols))


def _hidden(found: Any, x: Any, codes: np.ndarray) -> Depths | None:
    """States in their plane; of images the means over the pixels, of which the head reads some."""
    few = codes[:_FOLLOWED]
    if not len(few):
        return None
    states = np.asarray(found.hidden(x[:_FOLLOWED], DEPTHS), float)
    if states.ndim == 5:
        states = states.mean((2, 3))
    plane = plane_of(states)
    return Depths(DEPTHS, plane.points, plane.share, few)
