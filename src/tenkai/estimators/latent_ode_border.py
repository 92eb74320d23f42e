"""What users pass to a `LatentODE`, checked."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Real
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..data import Series, Trajectories
from ..errors import InputError
from ..fields import activation as check_activation
from ..sequences.learning import Design
from . import border

if TYPE_CHECKING:
    from .latent_ode import LatentODE

_LEAST = dict(  # noqa: C408
    latent=1, hidden=1, width=1, depth=1, decoder=0, parts=0, warm_up=0, steps=1, batch=1
)
_BETWEEN = {"learning_rate": (0, 1), "decay": (0, np.inf), "label_weight": (0, np.inf),
            "held_out": (0, 0.9)}  # fmt: skip
_ALLOWED = {"encoder": ("rnn", "ode-rnn"), "precision": ("float32", "float64")}


class Marks(NamedTuple):
    """Classes of the series: their names, a code per series (-1: unknown), what to tell."""

    classes: np.ndarray
    codes: np.ndarray
    notes: tuple[str, ...]


def check(model: LatentODE) -> None:
    """Raise `InputError` for an argument that cannot work."""
    check_activation(model.activation)
    least = _LEAST if model.resolution == "auto" else _LEAST | {"resolution": 1}
    for name, low in least.items():
        value = getattr(model, name)
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < low:
            raise InputError(
                name, expected=f"a whole number of at least {low}", got=repr(value),
                do="change it",
            )  # fmt: skip
    for name, (low, high) in _BETWEEN.items():
        value = getattr(model, name)
        if not isinstance(value, Real) or not low <= float(value) < high:
            raise InputError(
                name, expected=f"a number from {low} to {high}", got=repr(value), do="change it"
            )
    for name, allowed in _ALLOWED.items():
        if getattr(model, name) not in allowed:
            raise InputError(
                name, expected=" or ".join(map(repr, allowed)), got=repr(getattr(model, name)),
                do="pick one of these",
            )  # fmt: skip


def observed(x: Any, t: Any) -> tuple[Trajectories, tuple[str, ...]]:
    """Series with something observed, and the ids of all that were given, in their order."""
    data = border.as_trajectories(x, t, learn=False)
    if data.n_inputs or data.static_names:
        raise InputError(
            "data", expected="series without known inputs or covariates",
            got=", ".join((*data.input_names, *data.static_names)),
            do="make them variables, or leave them out",
        )  # fmt: skip
    listed = isinstance(x, list | tuple) and len(data) < len(x)
    given = tuple(map(str, range(len(x)))) if listed else tuple(s.id for s in data)
    kept = tuple(s for s in data if s.observed.any())
    if not kept:
        raise InputError("data", expected="observations", got="none", do="pass some")
    notes = data.notes
    if len(kept) < len(data):
        ids = {s.id for s in kept}
        lost = [s.id for s in data if s.id not in ids]
        shown = ", ".join(map(repr, lost[:5])) + ", ..." * (len(lost) > 5)
        notes = (*notes, f"{len(lost)} series without observations left out: {shown}")
    made = Trajectories(
        kept, data.names, (), (), data.units, data.time_name, data.clock, data.hold, notes
    )
    return made, given


def marks_of(labels: Any, data: Trajectories, given: tuple[str, ...]) -> Marks | None:
    """Classes of the series that are learned."""
    if labels is None:
        return None
    by_id = _by_id(labels, given)
    found = [by_id.get(s.id) for s in data]
    known = np.array([not _missing(v) for v in found])
    values = [v for v, k in zip(found, known, strict=True) if k]
    classes = np.unique(np.array(values)) if values else np.empty(0)
    if len(classes) < 2:
        raise InputError(
            "labels", expected="two classes or more", got=f"{len(classes)}",
            do="leave labels out, or pass series of another class",
        )  # fmt: skip
    codes = np.full(len(data), -1)
    codes[known] = np.searchsorted(classes, np.array(values))
    count = np.bincount(codes[known], minlength=len(classes))
    notes = [f"class {c!r} is seen once: it cannot be judged"
             for c, n in zip(classes.tolist(), count, strict=True) if n == 1]  # fmt: skip
    if not known.all():
        notes.append(f"{int((~known).sum())} series have no label: they train without")
    return Marks(classes, codes, tuple(notes))


def _by_id(labels: Any, given: tuple[str, ...]) -> dict[str, Any]:
    if hasattr(labels, "to_dict") and hasattr(labels, "index"):  # of pandas
        named = {str(k): v for k, v in labels.to_dict().items()}
        if set(named) & set(given):
            labels = named
        else:
            labels = np.asarray(labels)
    if isinstance(labels, Mapping):
        by_id = {str(k): v for k, v in labels.items()}
        unknown = sorted(set(by_id) - set(given))
        if unknown or not set(by_id) & set(given):
            raise InputError(
                "labels", expected=f"ids of series, such as {given[0]!r}",
                got=repr(unknown[0]) if unknown else "none", do="use the ids of the series",
            )  # fmt: skip
        return by_id
    if np.ndim(labels) != 1 or len(labels) != len(given):
        raise InputError(
            "labels", expected=f"one per series ({len(given)})",
            got=f"shape {np.shape(labels)}", do="pass one label per series, None for unknown",
        )  # fmt: skip
    return dict(zip(given, list(labels), strict=True))


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, Real) and value != value)


def no_labels(t: Any, labels: Any) -> None:
    """Shards bring their times with them, and cannot have labels."""
    for name, value in (("t", t), ("labels", labels)):
        if value is not None:
            raise InputError(
                name, expected="none, where series are read from shards", got="some",
                do="leave it out, or pass the series as Trajectories",
            )  # fmt: skip


def noise_of(noise: Any, dim: int) -> np.ndarray | None:
    """Raw standard deviations (dim,); None where they are to be learned."""
    if noise is None:
        return None
    given = np.asarray(noise, float)
    if given.shape not in ((), (1,), (dim,)) or not (given > 0).all() or np.isinf(given).any():
        raise InputError(
            "noise", expected=f"a standard deviation above zero, or one for each of {dim} "
            "variables", got=repr(noise), do="pass None to learn it",
        )  # fmt: skip
    return np.broadcast_to(given, (dim,)).copy()


def design_of(model: LatentODE, noise: np.ndarray | None, classes: int) -> Design:
    """What is learned."""
    return Design(
        latent=model.latent, encoder=model.encoder, hidden=model.hidden, width=model.width,
        depth=model.depth, activation=model.activation, decoder=model.decoder, noise=noise,
        parts=model.parts, resolution=model.resolution, warm_up=model.warm_up, steps=model.steps,
        batch=model.batch, learning_rate=float(model.learning_rate), decay=float(model.decay),
        label_weight=float(model.label_weight), held_out=float(model.held_out), seed=model.seed,
        classes=classes,
    )  # fmt: skip


def times_of(times: Any, data: Trajectories) -> list[np.ndarray]:
    """Float times per series: the asked ones, by default its own."""
    return [one.t if times is None else _encoded(one, data, times) for one in data]


def asked(one: Series, data: Trajectories, horizon: Any, times: Any) -> np.ndarray:
    """Float times to forecast, before the series' first time where the horizon is negative."""
    if times is not None:
        return _encoded(one, data, times)
    if isinstance(horizon, Real) and float(horizon) < 0:
        turned = Series(one.id, -one.t[::-1], one.x[::-1])
        return -border.future_times(turned, data, -float(horizon), None)[::-1]
    return border.future_times(one, data, horizon, None)


def _encoded(one: Series, data: Trajectories, times: Any) -> np.ndarray:
    if isinstance(times, dict):
        if one.id not in times:
            raise InputError(
                "times", expected=f"times of series {one.id!r}", got=", ".join(map(repr, times)),
                do="add them",
            )  # fmt: skip
        times = times[one.id]
    at = np.atleast_1d(np.asarray(data.clock.encode(times), float))
    if at.ndim != 1 or not len(at) or not np.isfinite(at).all():
        raise InputError(
            "times", expected="finite times", got=f"shape {at.shape}" if len(at) else "none",
            do="pass a list of times",
        )  # fmt: skip
    return at


def since_beginning(times: Any) -> np.ndarray:
    """Increasing float times since a beginning."""
    at = np.atleast_1d(np.asarray(times, float))
    if at.ndim != 1 or not len(at) or not np.isfinite(at).all() or (np.diff(at) <= 0).any():
        raise InputError(
            "times", expected="increasing numbers", got=f"shape {at.shape}",
            do="pass times since the series' beginning",
        )  # fmt: skip
    return at
