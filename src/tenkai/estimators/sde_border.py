"""What users pass to `NeuralSDE`, checked before any work."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..curriculum.problem import drivers_of
from ..data import Series, Trajectories, can_be_log
from ..diffusions.learning import Design
from ..diffusions.scoring import MOST_UNKNOWNS
from ..errors import InputError

if TYPE_CHECKING:
    from .neural_sde import NeuralSDE

_FEWEST = 20  # transitions, and five per variable
_ALLOWED = {
    "noise": ("diagonal", "full"),
    "positive": (True, False, "auto"),
    "precision": ("float32", "float64"),
    "time_dependent": (True, False),
}
_PROBES = 200  # states of the data at which a user's diffusion is tried


def check_arguments(sde: NeuralSDE) -> None:
    """Raise `InputError` for an argument that cannot work."""
    for name, allowed in _ALLOWED.items():
        if getattr(sde, name) not in allowed:
            raise InputError(
                name, expected=" or ".join(map(repr, allowed)), got=repr(getattr(sde, name)),
                do="pick one of these",
            )  # fmt: skip
    for name in ("members", "width"):
        value = getattr(sde, name)
        if name == "width" and value == "auto":
            continue
        if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 1:
            raise InputError(
                name, expected="a whole number of at least 1", got=repr(value), do="change it"
            )


def users_fields(sde: NeuralSDE) -> dict[str, Callable | None]:
    """The drift and the diffusion that the user gave."""
    arguments = sde.get_params()
    return {what: arguments[what] for what in ("drift", "diffusion")}


def check_data(data: Trajectories) -> None:
    """Enough transitions between whole rows, of variables that move."""
    for one in data:
        check_rows(one.x, data, one.id)
    whole = [np.isfinite(one.x).all(1) for one in data]
    count = sum(max(int(w.sum()) - 1, 0) for w in whole)
    least = max(_FEWEST, 5 * data.dim)
    if count < least:
        raise InputError(
            "data", expected=f"at least {least} transitions between observed rows",
            got=f"{count}", do="measure longer: drift and diffusion are in the increments",
        )  # fmt: skip
    values = np.concatenate([one.x[w] for one, w in zip(data, whole, strict=True)])
    still = np.ptp(values, axis=0) <= 1e-12 * np.abs(values).max(0)
    moves = np.concatenate(
        [np.abs(np.diff(one.x[w], axis=0)) for one, w in zip(data, whole, strict=True)]
    )
    for bad, what in ((still, "a constant"), (~moves.any(0), "a constant in every series")):
        if bad.any():
            raise InputError(
                f"column {data.names[int(np.argmax(bad))]!r}", expected="values that move",
                got=what, do="leave it out, or pass it as an input or a covariate",
            )  # fmt: skip


def check_rows(x: np.ndarray, data: Trajectories, series: str) -> None:
    """Rows are whole or empty: a part of a state tells nothing simple about the next one."""
    partly = np.isfinite(x).any(1) & ~np.isfinite(x).all(1)
    if partly.any():
        row = int(np.argmax(partly))
        name = data.names[int(np.argmax(~np.isfinite(x[row])))]
        raise InputError(
            f"row {row} of series {series!r}", expected="all variables or none at a time",
            got=f"nothing for {name!r} ({int(partly.sum())} such rows)",
            do="remove these rows, or interpolate the missing values",
        )  # fmt: skip


def checked(field: Callable, what: str, data: Trajectories) -> Any:
    """A user's drift or diffusion with its numbers as arrays, tried once without computing."""
    field = jax.tree.map(lambda a: np.asarray(a) if isinstance(a, float) else a, field)
    numbers = [a for a in jax.tree.leaves(field) if eqx.is_inexact_array_like(a)]
    if not numbers:
        raise InputError(
            what, expected="an Equinox module with floating-point parameters to learn",
            got=type(field).__name__, do="make its unknown numbers fields of an eqx.Module",
        )  # fmt: skip
    count = sum(np.size(a) for a in numbers)
    if count > MOST_UNKNOWNS:
        raise InputError(
            what, expected=f"at most {MOST_UNKNOWNS} numbers",
            got=str(count), do=f"leave {what} out: a network is built in",
        )  # fmt: skip
    dim, k = data.dim, data.n_inputs + len(data.static_names)
    state, inputs = (np.zeros(n) for n in (dim, k))
    wanted = f"f(t, y, u) that takes y of shape ({dim},)"
    try:
        out = eqx.filter_eval_shape(
            lambda f, t, y, u: jnp.asarray(f(t, y, u)), field, np.float64(0), state,
            inputs if k else None,
        )  # fmt: skip
        shape = out.shape
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise InputError(
            what, expected=wanted, got=f"{type(error).__name__}: {said}", do=f"mend the {what}"
        ) from error
    fits = shape == (dim,) if what == "drift" else shape[:1] == (dim,) and len(shape) <= 2
    if not fits:
        expected = f"({dim},)" if what == "drift" else f"({dim},) or ({dim}, noise)"
        raise InputError(
            what, expected=f"a value of shape {expected}", got=f"shape {shape}",
            do=f"mend the {what}",
        )  # fmt: skip
    return field


def check_noise(field: Callable, data: Trajectories) -> None:
    """A user's diffusion must move every direction at every state of the data."""
    rows = [_some(one) for one in data]
    t = np.concatenate([one.t[r] for one, r in zip(data, rows, strict=True)])
    x = np.concatenate([one.x[r] for one, r in zip(data, rows, strict=True)])
    u = None
    if data.input_names or data.static_names:
        each = zip(data, rows, strict=True)
        u = np.concatenate([drivers_of(one.u, one.static, len(one))[r] for one, r in each])
    b = np.asarray(_at(field, t, x, u), float)
    square = b[:, :, None] ** 2 * np.eye(b.shape[1]) if b.ndim == 2 else b @ b.swapaxes(1, 2)
    unit = np.sqrt(np.maximum(np.einsum("nii->ni", square), 1e-300))
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = square / unit[:, :, None] / unit[:, None, :]
    good = np.isfinite(scaled).all((1, 2)) & (np.einsum("nii->ni", square) > 0).all(1)
    good[good] &= np.linalg.eigvalsh(scaled[good])[:, 0] > 1e-10
    if not good.all():
        bad = int(np.argmin(good))
        raise InputError(
            "diffusion", expected="noise in every direction at every state of the data",
            got=f"b b^T without an inverse at y = {np.array2string(x[bad], precision=4)}",
            do="keep it away from zero, for example by a small constant",
        )  # fmt: skip


@eqx.filter_jit
def _at(field: Callable, t: Any, x: Any, u: Any) -> Any:
    return jax.vmap(lambda t, x, u: jnp.asarray(field(t, x, u)))(t, x, u)


def _some(one: Series) -> np.ndarray:
    """Whole rows of a series, some hundred at most."""
    whole = np.flatnonzero(np.isfinite(one.x).all(1))
    return whole[:: max(1, len(whole) // _PROBES)]


def design(sde: NeuralSDE, data: Trajectories, **options: Any) -> Design:
    """What is learned, with the user's fields tried once."""
    given = {
        what: None if field is None else checked(field, what, data)
        for what, field in users_fields(sde).items()
    }
    if given["diffusion"] is not None:
        check_noise(given["diffusion"], data)
    values = np.concatenate([s.x for s in data])
    positive = None
    if sde.positive is False:
        positive = np.zeros(data.dim, bool)
    elif sde.positive is True:
        positive = np.ones(data.dim, bool)
        if not can_be_log(values).all():
            bad = ", ".join(
                n for n, able in zip(data.names, can_be_log(values), strict=True) if not able
            )
            raise InputError(
                f"positive=True with {bad}", expected="values above zero",
                got="a value of zero or below", do='use positive="auto" or False',
            )  # fmt: skip
    width = sde.width
    if width == "auto":
        width = 16 if data.dim + data.n_inputs + len(data.static_names) == 1 else 32
    return Design(
        members=sde.members, width=width, full=sde.noise == "full", positive=positive,
        time_dependent=sde.time_dependent, seed=sde.seed, dtype=np.dtype(sde.precision),
        options=options, **given,
    )  # fmt: skip


def last_row(one: Series) -> int:
    """The last row that was observed."""
    whole = np.flatnonzero(np.isfinite(one.x).all(1))
    if not len(whole):
        raise InputError(
            f"series {one.id!r}", expected="an observed row to go on from", got="none",
            do="pass a series with values",
        )  # fmt: skip
    return int(whole[-1])


def count_of(paths: Any) -> int:
    """A number of paths."""
    if not isinstance(paths, int | np.integer) or isinstance(paths, bool) or paths < 1:
        raise InputError(
            "paths", expected="a whole number of at least 1", got=repr(paths), do="change it"
        )
    return int(paths)
