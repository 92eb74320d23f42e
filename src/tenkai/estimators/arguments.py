"""The arguments of an estimator, checked, as the core takes them."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from ..curriculum.members import Auto, Design
from ..curriculum.selection import MOST_HIDDEN
from ..data import Trajectories
from ..errors import InputError
from ..fields import activation as check_activation
from .user_field import check_residual, checked_field

if TYPE_CHECKING:
    from .neural_ode import NeuralODE

_LEAST = dict(members=1, width=1, depth=1, augment=0, steps=1, matching_steps=1)  # noqa: C408
_ALLOWED = {
    "positive": (True, False, "auto"),
    "precision": ("float32", "float64"),
    "order": (1, 2),
}


def check(ode: NeuralODE) -> None:
    """Raise `InputError` for an argument that cannot work."""
    check_activation(ode.activation)
    for name, least in _LEAST.items():
        value = getattr(ode, name)
        if name in ("width", "augment") and value == "auto":
            continue
        if not isinstance(value, int | np.integer) or value < least:
            raise InputError(
                name, expected=f"a whole number of at least {least}", got=repr(value),
                do="change it",
            )  # fmt: skip
    for name in ("decay", "jacobian"):
        value = getattr(ode, name)
        if value != "auto" and not (isinstance(value, Real) and 0 <= float(value) < np.inf):
            raise InputError(
                name, expected='a number of at least zero, or "auto"', got=repr(value),
                do='pass "auto"',
            )  # fmt: skip
    if not 0 <= ode.held_out < 0.9:
        raise InputError(
            "held_out", expected="a share from 0 to 0.9", got=repr(ode.held_out), do="pass 0.2"
        )
    for name, allowed in _ALLOWED.items():
        if getattr(ode, name) not in allowed:
            raise InputError(
                name, expected=" or ".join(map(repr, allowed)), got=repr(getattr(ode, name)),
                do="pick one of these",
            )  # fmt: skip
    check_residual(ode.residual, ode.field)
    _check_order(ode)


def _check_order(ode: NeuralODE) -> None:
    if ode.order == 2 and ode.field is not None:
        raise InputError(
            "order=2 with a field", expected="order=2 for a network alone",
            got=type(ode.field).__name__,
            do="write the field for the state (x, v) and set augment to the number of x",
        )  # fmt: skip


def most_hidden(ode: NeuralODE, dim: int) -> int:
    """Hidden dimensions at most: velocities of a second-order system, then augmented ones."""
    augment = MOST_HIDDEN if ode.augment == "auto" else ode.augment
    return augment + (dim if ode.order == 2 else 0)


def design(ode: NeuralODE, data: Trajectories) -> Design:
    """What is learned from the data, with the user's field tried once."""
    most = most_hidden(ode, data.dim)
    field = None if ode.field is None else checked_field(ode.field, data, data.dim + most)
    return design_of(ode, "auto" if ode.augment == "auto" else most, field)


def design_of(ode: NeuralODE, hidden: int | Auto, field: Callable | None = None) -> Design:
    """What is learned, with `hidden` state dimensions and the checked `field` of the user."""
    return Design(
        members=ode.members, width=ode.width, depth=ode.depth, activation=ode.activation,
        hidden=hidden, order=ode.order, time_dependent=ode.time_dependent, field=field,
        positive=ode.positive, held_out=ode.held_out, decay=ode.decay, jacobian=ode.jacobian,
        residual="auto" if ode.residual is True else float(ode.residual),
    )  # fmt: skip
