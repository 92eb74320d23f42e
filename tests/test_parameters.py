"""Partly known dynamics: a user's numbers with their errors, and a network beside an equation."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import curve_fit
from scipy.stats import t as student

import tenkai as tk
from tenkai.curriculum.finish import Finished, _blocks
from tenkai.curriculum.least_squares import Normal, levenberg_marquardt
from tenkai.curriculum.parameters import gauss_newton, names
from tenkai.data import Scaler, TimeScaler
from tenkai.errors import InputError
from tenkai.estimators.user_field import frame
from tenkai.fields import NeuralField
from tenkai.models.equation import Relative, Residual, few, plain, relative
from tenkai.models.trajectory import RawField, ScaledField
from tenkai.objectives import Penalties, Probe, penalty
from tenkai.report.findings import Findings
from tenkai.report.sections import _equation
from tenkai.reproduce import Task
from tenkai.reproduce import lotka_volterra_parameters as reproduced

QUICK = {"members": 2, "steps": 20, "matching_steps": 50, "held_out": 0.0}


class Decay(eqx.Module):
    rate: float = 0.7

    def __call__(self, t, y, u=None):
        return -self.rate * y


class Product(eqx.Module):
    """Only the product of the two factors can be known, and of `idle` nothing."""

    one: float = 0.8
    two: float = 0.9
    idle: float = 3.0

    def __call__(self, t, y, u=None):
        return -self.one * self.two * y


class Pendulum(eqx.Module):
    gravity: float = 1.7

    def __call__(self, t, y, u=None):
        return jnp.stack([y[1], -self.gravity * jnp.sin(y[0])])


class Nested(eqx.Module):
    inner: Decay
    rates: np.ndarray
    parts: tuple

    def __call__(self, t, y, u=None):
        return self.inner(t, y) * self.rates[0] * self.parts[1]


def decays(noise: float = 0.1, relative: bool = True, series: int = 1, seed: int = 0):
    """Noisy exponential decays at rate 1/2 from 2, 3, …"""
    random, t = np.random.default_rng(seed), np.linspace(0, 4, 30)
    clean = [(2.0 + i) * np.exp(-0.5 * t) for i in range(series)]
    e = [noise * random.normal(size=len(t)) for _ in clean]
    xs = [c * np.exp(n) if relative else c + n for c, n in zip(clean, e, strict=True)]
    return t, xs, tk.Trajectories.from_arrays([x[:, None] for x in xs], [t] * series)


def close(row, value: float, error: float, freedom: int) -> None:
    """A row of the table against value, standard error and Student's interval."""
    half = student.ppf(0.95, freedom) * error
    expected = [value, error, value - half, value + half]
    np.testing.assert_allclose(row.to_numpy(float), expected, rtol=2e-3)


def test_relative_noise_gives_the_straight_line_through_the_logarithms() -> None:
    t, (x,), data = decays()
    ode = tk.NeuralODE(field=Decay(), **QUICK).fit(data)
    slope, covariance = np.polyfit(t, np.log(x), 1, cov=True)
    close(ode.parameters_.loc["rate"], -slope[0], covariance[0, 0] ** 0.5, len(t) - 2)
    assert ode.parameters_.index.name == "parameter"
    assert list(ode.parameters_.columns) == ["value", "standard_error", "lower", "upper"]
    # The members are fits to their own points: their mean is the table's value, nearly.
    members = np.asarray(ode.model_.field.rate)
    row = ode.parameters_.loc["rate"]
    assert abs(members.mean() - row.value) < 0.5 * row.standard_error


@pytest.mark.parametrize("positive", [True, False])
def test_additive_noise_is_told_on_any_scale_of_the_model(positive: bool) -> None:
    t, (x,), _ = decays(0.03, relative=False)
    x = np.abs(x)
    ode = tk.NeuralODE(field=Decay(), positive=positive, **QUICK).fit(x[:, None], t=t)
    value, covariance = curve_fit(lambda t, a, r: a * np.exp(-r * t), t, x, (2.0, 0.5))
    close(ode.parameters_.loc["rate"], value[1], covariance[1, 1] ** 0.5, len(t) - 2)


def test_series_share_the_rate_and_have_their_own_starts() -> None:
    t, xs, _ = decays(series=3)
    xs[1][4:9] = np.nan
    data = tk.Trajectories.from_arrays([x[:, None] for x in xs], [t] * 3)
    ode = tk.NeuralODE(field=Decay(), **QUICK).fit(data)
    seen = [~np.isnan(x) for x in xs]
    moments = np.concatenate([t[s] - t[s].mean() for s in seen])
    logs = np.concatenate(
        [np.log(x[s]) - np.log(x[s]).mean() for x, s in zip(xs, seen, strict=True)]
    )
    slope = moments @ logs / (moments @ moments)
    freedom = len(logs) - 4
    noise = np.sum((logs - slope * moments) ** 2) / freedom
    close(ode.parameters_.loc["rate"], -slope, (noise / (moments @ moments)) ** 0.5, freedom)


def test_a_given_start_is_no_unknown() -> None:
    t, (x,), data = decays()
    ode = tk.NeuralODE(field=Decay(), y0=[2.0], **QUICK).fit(data)
    logs = np.log(x / 2.0)
    slope = t @ logs / (t @ t)
    noise = np.sum((logs - slope * t) ** 2) / (len(t) - 1)
    close(ode.parameters_.loc["rate"], -slope, (noise / (t @ t)) ** 0.5, len(t) - 1)


def test_what_the_data_do_not_determine_is_named() -> None:
    _, _, data = decays()
    ode = tk.NeuralODE(field=Product(), **QUICK).fit(data)
    assert np.isinf(ode.parameters_.standard_error).all()
    assert (ode.parameters_.lower == -np.inf).all()
    assert np.prod(ode.parameters_.value[["one", "two"]]) == pytest.approx(0.5, rel=0.1)
    assert any("do not determine one, two, idle" in note for note in ode.fit_.status.notes)


def test_units_of_the_numbers_do_not_matter() -> None:
    """A rate of 5e-5 is learned as one of 1/2 is, also where the finish is not what finds it."""
    t, (x,), data = decays()
    field = Decay(0.7e-4)
    slow = tk.NeuralODE(field=field, **QUICK).fit(x[:, None], t=1e4 * t)
    ode = tk.NeuralODE(field=Decay(), **QUICK).fit(data)
    np.testing.assert_allclose(1e4 * slow.parameters_, ode.parameters_, rtol=2e-3)


def test_the_next_record_compiles_nothing() -> None:
    compiled = []

    def count(event: str, *_, **__) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(event)

    tk.NeuralODE(field=Decay(), **QUICK).fit(decays()[2])
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        tk.NeuralODE(field=Decay(0.3), **QUICK, seed=1).fit(decays(seed=1)[2])
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
    assert not compiled


def test_names_are_paths() -> None:
    field = Nested(Decay(), np.ones((2, 1)), (np.float64(1), np.float64(2)))
    assert names(field) == ("inner.rate", "rates[0][0]", "rates[1][0]", "parts[0]", "parts[1]")


def test_the_table_survives_the_file(tmp_path: Path) -> None:
    _, _, data = decays()
    ode = tk.NeuralODE(field=Product(), residual=0.1, **QUICK).fit(data)
    assert ode.parameters_.standard_error.isna().all()  # two members tell no errors
    ode.save(tmp_path / "m.safetensors")
    again = tk.load(tmp_path / "m.safetensors", field=Product())
    assert again.parameters_.equals(ode.parameters_)
    assert again.parameters_.index.equals(ode.parameters_.index)
    assert again.residual_share_ == ode.residual_share_
    np.testing.assert_array_equal(again.forecast(1.0).mean, ode.forecast(1.0).mean)


def test_without_a_field_there_is_no_table() -> None:
    ode = tk.NeuralODE(**QUICK).fit(decays()[2])
    assert ode.parameters_ is None
    assert ode.residual_share_ is None


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ({"residual": True}, "residual: expected a field"),
        ({"residual": -1.0, "field": Decay()}, "residual: expected True"),
        ({"residual": "yes", "field": Decay()}, "residual: expected True"),
        ({"field": Pendulum()}, "field: expected"),
        ({"field": lambda t, y: y}, "parameters to learn"),
    ],
)
def test_wrong_arguments_are_one_clear_error(arguments: dict, match: str) -> None:
    with pytest.raises(InputError, match=match):
        tk.NeuralODE(**arguments).fit(decays()[2])


def equation_and_network(last_scale: float) -> Residual:
    state, time = Scaler(np.array([1.0, 0.2]), np.array([2.0, 0.5]), np.zeros(2, bool)), 3.0
    net = NeuralField(2, key=np.random.default_rng(0), width=8, last_scale=last_scale)
    known = RawField(Pendulum(), state, TimeScaler(0.0, time))
    return Residual(known, ScaledField(net, np.array([1.0, 2.0])))


def test_training_starts_at_the_equation_and_the_penalty_looks_at_the_network_alone() -> None:
    z = np.random.default_rng(1).normal(size=(6, 2))
    probe = Probe(np.zeros(6), z, None, np.array([1.0, 1, 1, 1, 0, 0]))
    weights = Penalties(0.0, 0.0, 2.0, probe)
    still, moving = equation_and_network(0.0), equation_and_network(1.0)
    for state in z:
        np.testing.assert_array_equal(still(0.0, state), still.known(0.0, state))
    assert float(penalty(still, weights)) == 0.0
    size = np.mean([np.mean(np.asarray(moving.network.net(0.0, s)) ** 2) for s in z[:4]])
    assert float(penalty(moving, weights)) == pytest.approx(2 * size, rel=1e-5)
    assert float(penalty(moving.known, weights)) == 0.0


@pytest.mark.parametrize("lacks", [False, True])
def test_the_network_takes_what_the_equation_lacks(lacks: bool) -> None:
    """A pendulum without friction, to data with friction and without."""
    t, damping = np.linspace(0, 12, 60), 0.2 if lacks else 0.0
    clean = _swinging(t, damping)
    x = clean + 0.03 * clean.std(0) * np.random.default_rng(0).normal(size=clean.shape)
    ode = tk.NeuralODE(
        field=Pendulum(), residual=0.1, members=3, steps=150, matching_steps=300, held_out=0.0
    ).fit(x, t=t)
    assert ode.score() > 0.98
    assert all(0 <= share <= 1 for share in ode.residual_share_.values())
    assert any("share of the network" in note for note in ode.fit_.status.notes)
    assert ode.parameters_.loc["gravity", "value"] == pytest.approx(2.0, rel=0.05)
    if not lacks:
        assert max(ode.residual_share_.values()) < 0.05
        return
    known = np.mean([_slopes(Pendulum(g), clean) for g in ode.model_.known.field.gravity], axis=0)
    found = (ode.derivative(clean) - known)[:, 1]
    assert np.corrcoef(found, -damping * clean[:, 1])[0, 1] > 0.9


def _swinging(t: np.ndarray, damping: float) -> np.ndarray:
    def slope(_, y):
        return [y[1], -2.0 * np.sin(y[0]) - damping * y[1]]

    return solve_ivp(slope, (0, t[-1]), [2.0, 0.0], t_eval=t, rtol=1e-9).y.T


def _slopes(field, states: np.ndarray) -> np.ndarray:
    return np.stack([states[:, 1], -float(field.gravity) * np.sin(states[:, 0])], 1)


def test_numbers_in_units_of_their_guesses() -> None:
    field = Nested(Decay(np.float64(-3.0)), np.array([0.0, 1e-4]), (np.float64(0), np.float64(7)))
    inside = Relative.of(field)
    stored = [np.asarray(a) for a in jax.tree.leaves(inside.field)]
    assert all((np.abs(a) <= 1).all() for a in stored)
    jax.tree.map(np.testing.assert_allclose, inside.plain(), field)
    state = Scaler.identity(1)
    raw = RawField(field, state, TimeScaler(0.0, 1.0))
    model = relative(raw, 1)
    y = np.array([2.0])
    np.testing.assert_allclose(model(0.0, y), raw(0.0, y), rtol=1e-6)
    assert isinstance(model.field, Relative)
    assert isinstance(plain(model).field, Nested)
    assert relative(model.field, 1) is model.field  # no equation of a user inside: left as it is


def test_a_network_is_no_equation() -> None:
    net = NeuralField(2, key=np.random.default_rng(0))
    assert not few(net)
    assert few(Decay(np.float64(1)))


@pytest.mark.parametrize("units", [np.ones(3), np.array([1e-6, 1.0, 1e6])])
def test_levenberg_marquardt_meets_least_squares_in_any_units(units: np.ndarray) -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(20, 3)) / units, random.normal(size=20)
    free = np.array([True, True, False])
    with jax.enable_x64(True):

        def normal(v):
            r = a @ v - b
            return Normal(r @ r, a.T @ r, a.T @ a, (r,))

        at, found = jax.jit(lambda v: levenberg_marquardt(normal, v, free))(0.5 * units)
        lost, refused = levenberg_marquardt(
            lambda v: Normal(jnp.nan * v[0], v, jnp.eye(3)), np.ones(3), free
        )
    at, found, lost, refused = jax.tree.map(np.asarray, (at, found, lost, refused))
    rest = b - a[:, 2] * 0.5 * units[2]
    np.testing.assert_allclose(at[:2], np.linalg.lstsq(a[:, :2], rest)[0], rtol=1e-6)
    assert at[2] == 0.5 * units[2]
    np.testing.assert_allclose(found.more[0], a @ at - b, rtol=1e-6)
    np.testing.assert_array_equal(lost, np.ones(3))
    assert refused.cost == np.inf


def test_blocks_are_the_normal_equations() -> None:
    """Of two parameters and two series of two states, against the whole Jacobian."""
    random = np.random.default_rng(0)
    series = np.array([0, 0, 0, 1, 1])
    slope, miss = random.normal(size=(5, 3, 4)), random.normal(size=(5, 3))
    whole = np.zeros((5, 3, 6))
    whole[..., :2] = slope[..., :2]
    for n, s in enumerate(series):
        whole[n, :, 2 + 2 * s : 4 + 2 * s] = slope[n, :, 2:]
    with jax.enable_x64(True):
        gradient, matrices = _blocks(slope, miss, series, 2, 2)
    np.testing.assert_allclose(gradient, np.einsum("nji,nj->i", whole, miss))
    np.testing.assert_allclose(matrices, np.einsum("nji,njk->jik", whole, whole), atol=1e-12)


@pytest.mark.parametrize(
    ("points", "squares", "match"), [(3, 1.0, "not more observations"), (9, np.nan, "not finite")]
)
def test_why_there_are_no_errors(points: int, squares: float, match: str) -> None:
    fit = Finished(
        unknowns=np.ones(3), free=np.ones(3, bool), matrices=np.ones((1, 3, 3)),
        squares=np.array([squares]), points=np.array([points]),
    )  # fmt: skip
    made = gauss_newton(Decay(np.float64(1)), fit)
    assert np.isnan(made.standard_error).all()
    assert match in made.notes[0]


def test_the_reproduction_counts_records_and_draws_them(tmp_path: Path, monkeypatch) -> None:
    def quick(**arguments):
        return tk.NeuralODE(**QUICK, **arguments)

    monkeypatch.setattr(reproduced, "NeuralODE", quick)
    monkeypatch.setattr(reproduced, "RECORDS", 2)
    rows = {row.quantity: row for row in reproduced.run(Task(tmp_path))}
    assert rows["coverage, relative noise"].note.startswith(("8 of 8", "7 of 8", "6 of 8"))
    assert rows["standard error of a, additive"].ours == pytest.approx(0.035, rel=0.3)
    assert rows["median time of a fit"].n == 4
    assert (tmp_path / "lotka-volterra-parameters.png").stat().st_size > 10_000
    assert (tmp_path / "lotka-volterra-parameters.csv").read_text().count("\n") == 17


def test_the_page_is_run_as_printed(monkeypatch, capsys) -> None:
    """With fewer steps than the defaults, so that it takes seconds."""

    def quicker(**arguments):
        return network(**{"members": 3, "steps": 100, "matching_steps": 400} | arguments)

    network = tk.NeuralODE
    monkeypatch.setattr(tk, "NeuralODE", quicker)
    page = Path(__file__).parent.parent / "docs" / "partly-known.md"
    shared: dict = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        exec(block, shared)  # the page's blocks follow one another
        if "LotkaVolterra" in block:
            table = shared["ode"].parameters_
            truth = pd.Series({"growth": 1.5, "eaten": 1.0, "death": 1.0, "gain": 0.5})
            assert ((table.value - truth).abs() < 3 * table.standard_error).all()
    assert shared["rate"].lower < 1.0 < shared["rate"].upper
    assert np.corrcoef(shared["friction"], -shared["states"][:, 1])[0, 1] > 0.9
    assert "gain" in capsys.readouterr().out


def test_the_report_shows_the_numbers() -> None:
    rows = [[0.51234, 0.0321, 0.451, 0.571], [3.0, np.inf, -np.inf, np.inf], [2.0, *[np.nan] * 3]]
    shown = SimpleNamespace(
        parameters=frame(("rate", "<b>", "c"), np.array(rows)), shares={"x": 0.1}
    )
    shown.numbers = lambda: Findings.numbers(shown)
    assert shown.numbers() == [
        ("rate", "0.512", "0.032", "0.451 to 0.571"),
        ("<b>", "3", "not determined", "–"),
        ("c", "2", "–", "–"),
    ]
    page = _equation(shown)
    assert "&lt;b&gt;" in page
    assert "10.0%" in page
    assert _equation(SimpleNamespace(parameters=None)) == ""


def test_beside_a_network_of_no_share_the_equation_has_its_own_errors() -> None:
    _, _, data = decays()
    alone = tk.NeuralODE(field=Decay(), **QUICK).fit(data)
    ode = tk.NeuralODE(field=Decay(), residual=1e3, **QUICK | {"steps": 100}).fit(data)
    assert ode.residual_share_["x0"] < 0.01
    np.testing.assert_allclose(ode.parameters_, alone.parameters_, rtol=0.03)
