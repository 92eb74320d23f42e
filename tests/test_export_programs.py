"""Every model that can be exported answers as its own methods do, in every form."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from export_models import CASES, OF, case, ode

import tenkai as tk
from tenkai import export
from tenkai.devices import arithmetic
from tenkai.errors import InputError
from tenkai.export.programs import program_of

EXACT, SINGLE = 1e-12, 1e-5


def relative(got: Any, wanted: Any) -> float:
    """The largest difference over the largest size; shapes must be the same."""
    got, wanted = np.asarray(got, float), np.asarray(wanted, float)
    assert got.shape == wanted.shape
    return float(np.abs(got - wanted).max() / np.abs(wanted).max())


def listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, tuple | list) else [outputs]


def jitted(name: str) -> dict[str, list[np.ndarray]]:
    """What `Function.call` says in JAX, by function."""
    known = case(name)
    made = {}
    with arithmetic("float64"):
        for function in program_of(known.model, **known.options).functions:
            if function.name in known.arguments:
                found = jax.jit(function.call)(*known.arguments[function.name])
                made[function.name] = [np.asarray(v) for v in listed(found)]
    return made


def imported(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", CASES)
def test_functions_and_their_numpy_forms_are_the_estimators(name: str, tmp_path: Path) -> None:
    known, found = case(name), jitted(name)
    assert type(known.model).__name__ == OF[name]
    assert set(known.wanted) <= set(found)
    for function, wanted in known.wanted.items():
        for got, want in zip(found[function], listed(wanted), strict=True):
            if want is not None:
                assert relative(got, want) <= known.close.get(function, EXACT), function
    path = export.numpy(known.model, tmp_path / f"{name}_model.py", **known.options)
    before = set(sys.modules)
    module = imported(path)
    assert not {m for m in set(sys.modules) - before if m.partition(".")[0] in ("jax", "tenkai")}
    for function, outputs in found.items():
        answers = listed(getattr(module, function)(*known.arguments[function]))
        for got, want in zip(answers, outputs, strict=True):
            assert relative(got, want) <= EXACT, function


def test_a_rollout_in_single_precision(tmp_path: Path) -> None:
    known = ode("float32")
    module = imported(export.numpy(known.model, tmp_path / "single.py", dtype="float32"))
    for function, wanted in known.wanted.items():
        answers = listed(getattr(module, function)(*known.arguments[function]))
        for got, want in zip(answers, listed(wanted), strict=True):
            assert got.dtype == np.float32
            assert relative(got, want) <= SINGLE, function


def test_what_cannot_be_exported_is_told_with_what_can() -> None:
    with pytest.raises(InputError, match=r"NeuralODE.*got a dict"):
        program_of({})
    with pytest.raises(InputError, match="expected a fitted estimator"):
        program_of(tk.NeuralODE())
    with pytest.raises(InputError, match="Pass example="):
        program_of(tk.algorithms.gradient_descent(np.eye(2)))
    with pytest.raises(InputError, match="coverage: expected a share"):
        program_of(case("ode").model, coverage=1.5)
    with pytest.raises(InputError, match="expected real inputs"):
        program_of(tk.algorithms.gradient_descent(np.eye(2)), example=np.ones((1, 2), complex))


def test_a_fitted_algorithm_knows_the_shape_of_its_problems() -> None:
    A = np.random.default_rng(0).normal(size=(4, 2))
    learned = tk.algorithms.gradient_descent(A, layers=2).fit(
        tk.algorithms.least_squares_problems(A), steps=2
    )
    (solve,) = program_of(learned).functions
    assert solve.arguments[0].shape == ("rows", 4)


def test_the_coverage_of_an_interval_is_that_which_was_asked_for() -> None:
    model: Any = case("ode").model
    (times,) = case("ode").arguments["forecast"]
    wanted = model.forecast(times=times, coverage=0.5)
    function = program_of(model, coverage=0.5).functions[-1]
    with arithmetic("float64"):
        found = jax.jit(function.call)(times)
    assert relative(found[1], wanted.lower) <= EXACT
    assert "50% intervals" in function.doc


def test_cases_cover_every_model_that_can_be_exported() -> None:
    from tenkai.export.programs import _ROOMS

    assert set(OF) == set(CASES) and set(OF.values()) == set(_ROOMS)
