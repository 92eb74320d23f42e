"""What users pass to a `LatentODE`, checked."""

from __future__ import annotations

from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ..data import Series, Trajectories
from ..errors import InputError
from ..fields import activation as check_activation
from ..sequences.learning import Design
from . import border
from .base import check_numbers

if TYPE_CHECKING:
    from .latent_ode import LatentODE

_LEAST = dict(  # noqa: C408
    latent=1, hidden=1, width=1, depth=1, decoder=0, parts=0, warm_up=0, steps=1, batch=1
)
_BETWEEN = {"learning_rate": (0, 1), "decay": (0, np.inf), "label_weight": (0, np.inf),
            "held_out": (0, 0.9)}  # fmt: skip
_ALLOWED = {"encoder": ("rnn", "ode-rnn"), "precision": ("float32", "float64")}


def check(model: LatentODE) -> None:
    """Raise `InputError` for an argument that cannot work."""
    check_activation(model.activation)
    least = _LEAST if model.resolution == "auto" else _LEAST | {"resolution": 1}
    check_numbers(model, least, _BETWEEN, _ALLOWED)


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
