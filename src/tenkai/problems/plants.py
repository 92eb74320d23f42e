"""What a user passes to `OptimalControl`, checked before any work depends on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..errors import InputError
from ..models.policies import Policy
from ..models.trials import Polynomial
from ..unfold import Tableau
from .border import check_indices
from .unfolding import Method, Plant, RightEuler

STEPS = 200  # of the grid
POOL = 10_000  # initial states drawn from a distribution, for training with noise


def number(name: str, value: Any, least: float, *, whole: bool = False) -> Any:
    """A finite number above `least` (at least it, where whole)."""
    kinds = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    good = isinstance(value, kinds) and not isinstance(value, bool) and np.isfinite(value)
    if not good or (value < least if whole else value <= least):
        word = f"a whole number, at least {least}" if whole else f"a number above {least:g}"
        raise InputError(name, expected=word, got=repr(value), do=f"mend {name}")
    return int(value) if whole else float(value)


def start_states(x0: Any, count: int, seed: int) -> np.ndarray:
    """States (paths, dim): one or several given ones, or `count` draws of a distribution."""
    drawn = callable(getattr(x0, "rvs", None))
    try:
        x = x0.rvs(size=count, random_state=seed) if drawn else x0
        x = np.asarray(x, float)
    except (TypeError, ValueError) as error:
        raise InputError(
            "x0", expected="an array, or a distribution with .rvs(size=, random_state=)",
            got=f"{type(error).__name__}: {error}", do="pass np.array([1.0, 0.0]), say",
        ) from error  # fmt: skip
    if drawn and x.ndim == 1:  # SciPy drops an axis of length one, of either kind
        x = x.reshape(count, -1)
    x = np.atleast_2d(x)
    if x.ndim != 2 or not x.size or not np.isfinite(x).all():
        raise InputError(
            "x0", expected="finite numbers, (dim,) or (paths, dim)",
            got=f"shape {np.shape(x)}" + (", not finite" if x.size else ""), do="mend x0",
        )  # fmt: skip
    return x


def limits(bounds: Any, inputs: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Lower and upper bounds (inputs,) of the control; infinite ones do not bind."""
    if bounds is None:
        return None
    try:
        low, high = (np.broadcast_to(np.asarray(b, float), (inputs,)) for b in bounds)
    except (TypeError, ValueError) as error:
        raise InputError(
            "bounds", expected=f"a pair (low, high) of numbers or of {inputs} numbers",
            got=repr(bounds), do="pass bounds=(-1.0, 1.0), say; np.inf where there is none",
        ) from error  # fmt: skip
    if np.isnan(low).any() or np.isnan(high).any() or (low >= high).any():
        raise InputError(
            "bounds", expected="low < high for every control",
            got=f"low {low.tolist()}, high {high.tolist()}",
            do="no control is feasible: widen them",
        )  # fmt: skip
    return np.array(low), np.array(high)


def grid_of(intervals: int | None, pieces: int | None) -> int:
    """Steps of the grid: as asked, by default 200, whole ones per piece of a held control."""
    pieces = pieces or 1
    if intervals is None:
        return -(-STEPS // pieces) * pieces
    count = number("intervals", intervals, 1, whole=True)
    if count % pieces:
        raise InputError(
            "intervals", expected=f"a multiple of the {pieces} pieces of the control",
            got=str(count), do=f"pass {-(-count // pieces) * pieces}",
        )  # fmt: skip
    return count


def checked_control(model: Callable, feedback: bool, dim: int, inputs: int) -> Callable:
    """The control; `InputError` unless it gives (inputs,)."""
    t, x, _ = shapes(dim, inputs)
    arguments, called = ((t, x), "(t, x)") if feedback else ((t,), "(t)")
    _checked("control", called, model, (inputs,), *arguments)
    return model


def refuse_noise() -> None:
    """Constraints hold for paths, not for expectations."""
    raise InputError(
        "path_constraint", expected="no constraint with noise, which misses any now and then",
        got="both", do="put a penalty into running_cost or terminal_cost",
    )  # fmt: skip


def input_count(dynamics: Any, control: Any, inputs: int | None, bounds: Any) -> int:
    """How many controls there are: as said, as the policy or the dynamics know, else one."""
    known = {
        "inputs": inputs,
        "control": control.inputs if isinstance(control, Policy) else None,
        "dynamics": getattr(dynamics, "inputs", None),
        "bounds": _widest(bounds),
    }
    told = {name: number(name, k, 1, whole=True) for name, k in known.items() if k is not None}
    if len(set(told.values())) > 1:
        words = ", ".join(f"{k} by {name}" for name, k in told.items())
        raise InputError(
            "inputs", expected="one number of controls", got=words, do="make them agree"
        )
    return next(iter(told.values()), 1)


def recipe(control: Any) -> Any:
    """How the control is written, polynomials by default; `InputError` for what is no recipe."""
    if control is None:
        return Polynomial()
    if isinstance(control, type) or not hasattr(control, "begin"):
        raise InputError(
            "control", expected="a trial or a policy of tenkai.problems, with its parentheses",
            got=repr(control), do="pass control=tenkai.problems.Polynomial(), LinearGain(), ...",
        )  # fmt: skip
    return control


def _widest(bounds: Any) -> int | None:
    sizes = [np.size(b) for b in bounds] if isinstance(bounds, tuple | list) else []
    return max(sizes) if sizes and max(sizes) > 1 else None


def field_of(dynamics: Any) -> Callable:
    """The dynamics as a function ``(t, x, u)``: as given, or the field of a fitted estimator."""
    if callable(getattr(dynamics, "vector_field", None)):
        return dynamics.vector_field()
    if not callable(dynamics):
        raise InputError(
            "dynamics", expected="a function (t, x, u) -> dx/dt, or a fitted NeuralODE",
            got=type(dynamics).__name__, do="pass lambda t, x, u: A @ x + B @ u, say",
        )  # fmt: skip
    return dynamics


def plant(
    dynamics: Callable, running: Callable | None, terminal: Callable | None, noise: Any,
    method: Method, horizon: float, feedback: bool, held: bool, dim: int, inputs: int,
) -> Plant:  # fmt: skip
    """The controlled system; `InputError` unless every function gives what it should."""
    if running is None and terminal is None:
        raise InputError(
            "running_cost", expected="a running or a terminal cost", got="neither",
            do="pass running_cost=lambda t, x, u: x @ x + u @ u, say",
        )  # fmt: skip
    if not isinstance(method, Tableau | RightEuler):
        raise InputError(
            "method", expected="a tableau such as tenkai.unfold.RK4, or RightEuler()",
            got=repr(method), do="pass the object",
        )  # fmt: skip
    t, x, u = shapes(dim, inputs)
    f = _checked("dynamics", "(t, x, u)", dynamics, (dim,), t, x, u)
    cost = _checked("running_cost", "(t, x, u)", running, (), t, x, u) if running else None
    end = _checked("terminal_cost", "(x)", terminal, (), x) if terminal else None
    b = None if noise is None else _diffusion(noise, dim, inputs)
    return Plant(f, cost, end, b, method, horizon, feedback, held)


def _diffusion(noise: Any, dim: int, inputs: int) -> Callable:
    """``b(t, x, u)`` (dim,) or (dim, sources) of a function or of numbers."""
    if not callable(noise):
        try:
            given = np.asarray(noise, float)
        except (TypeError, ValueError):
            given = np.zeros(0)
        fixed = np.full(dim, given) if given.ndim == 0 else given
        if fixed.ndim not in (1, 2) or fixed.shape[0] != dim or not np.isfinite(fixed).all():
            raise InputError(
                "noise", expected=f"a number, ({dim},) or ({dim}, sources), finite",
                got=f"shape {fixed.shape}", do="pass the diffusion b of dx = f dt + b dW",
            )  # fmt: skip
        return lambda t, x, u: jnp.asarray(fixed, x.dtype)
    out = _traced("noise", "(t, x, u)", noise, *shapes(dim, inputs))
    if len(out.shape) not in (1, 2) or out.shape[0] != dim:
        raise InputError(
            "noise", expected=f"({dim},) or ({dim}, sources) of (t, x, u)",
            got=f"shape {out.shape}",
            do="return the diffusion b of dx = f dt + b dW for one state",
        )  # fmt: skip
    return lambda t, x, u: jnp.asarray(noise(t, x, u))


def sources(plant: Plant, dim: int, inputs: int) -> int:
    """How many Wiener processes drive the system."""
    assert plant.noise is not None
    out = jax.eval_shape(plant.noise, *shapes(dim, inputs))
    return int(out.shape[-1])


def shapes(dim: int, inputs: int) -> tuple[Any, Any, Any]:
    """Time, state and control as shapes, to trace with."""
    return tuple(jax.ShapeDtypeStruct(s, np.float64) for s in ((), (dim,), (inputs,)))  # type: ignore[return-value]


def constraint(name: str, called: str, function: Callable | None, *arguments: Any) -> Any:
    """A constraint as a function to a vector, None where there is none."""
    if function is None:
        return None
    _traced(name, called, function, *arguments)
    check_indices(name, function, arguments)
    return lambda *a: jnp.ravel(jnp.asarray(function(*a), float))


def _checked(
    name: str, called: str, function: Any, shape: tuple[int, ...], *arguments: Any
) -> Callable:
    out = _traced(name, called, function, *arguments)
    if out.shape != shape:
        what = "one number" if shape == () else f"shape {shape}"
        raise InputError(
            name, expected=f"{what} from {name}{called} for one state", got=f"shape {out.shape}",
            do=f"mend {name}, or x0 and inputs, which say how many states and controls there are",
        )  # fmt: skip
    check_indices(name, function, arguments)
    return lambda *a: jnp.asarray(function(*a), float)  # integers too: all is differentiated


def _traced(name: str, called: str, function: Any, *arguments: Any) -> Any:
    try:  # traced as in training: nothing is computed, nothing compiled
        out = jax.eval_shape(lambda *a: jnp.asarray(function(*a)), *arguments)
    except InputError:
        raise
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise InputError(
            name, expected=f"a function {name}{called} that works on one state",
            got=f"{type(error).__name__}: {said}", do=f"mend {name}",
        ) from error  # fmt: skip
    if jnp.issubdtype(out.dtype, jnp.complexfloating):
        raise InputError(
            name, expected="real numbers", got=str(out.dtype),
            do="write complex states as real and imaginary parts",
        )  # fmt: skip
    return out
