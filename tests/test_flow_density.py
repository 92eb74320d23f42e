"""`FlowDensity`: densities are normalised, in raw units, invertible, saved; bad input is told."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.neighbors import KernelDensity
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

import tenkai as tk
from tenkai.estimators import density_border
from tenkai.estimators.density_judgement import uncompared
from tenkai.estimators.flow_density import FlowDensity
from tenkai.flows import FFJORD, Architecture, Grid, Planar, RealNVP, baselines, checks
from tenkai.flows import Adaptive as Adaptively
from tenkai.flows.evaluation import COUNTED, Tolerance, between, combined, evaluate, log_density_of
from tenkai.flows.held_out import compare, mean_of
from tenkai.flows.whitening import Shaping, Whitening

SMALL = FFJORD(width=16, depth=1, solver=Grid(4))
QUICK: dict[str, Any] = {
    "flow": SMALL, "members": 2, "matching": 300, "steps": 15, "batch": 64, "compare": False,
}  # fmt: skip


def rows(n: int = 300, dim: int = 2, seed: int = 0) -> np.ndarray:
    """A bent cloud, columns on very different scales."""
    z = np.random.default_rng(seed).normal(size=(n, dim))
    if dim > 1:
        z[:, 1] = 0.5 * z[:, 1] + 0.5 * z[:, 0] ** 2
    return z * 1000.0 ** np.arange(dim) + 5.0


@pytest.fixture(scope="module")
def plane() -> FlowDensity:
    return FlowDensity(**QUICK).fit(rows())


@pytest.fixture(scope="module")
def conditional() -> tuple[FlowDensity, np.ndarray]:
    random = np.random.default_rng(1)
    c = random.normal(size=(300, 1)) * 10 + 3
    y = 2000 * np.tanh((c - 3) / 10) + 300 * random.normal(size=(300, 1))
    return FlowDensity(**QUICK).fit(y, context=c), c


def mass(density: Callable, axes: list[np.ndarray], context: Any = None) -> float:
    """The integral of exp(density) over a box, by the trapezoidal rule."""
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    values = np.exp(density(grid.reshape(-1, len(axes)), context)).reshape(grid.shape[:-1])
    for axis in axes[::-1]:
        values = np.trapezoid(values, axis, axis=-1)
    return float(values)


def wide(x: np.ndarray, points: int, reach: float = 6.0) -> list[np.ndarray]:
    low, high = (x.mean(0) + way * reach * x.std(0) for way in (-1, 1))
    return list(np.linspace(low, high, points).T)


# --- a density in raw units ---


def test_integrates_to_one_in_the_plane(plane: FlowDensity) -> None:
    assert abs(mass(plane.score_samples, wide(rows(), 121)) - 1) < 1e-3


def test_integrates_to_one_on_a_line() -> None:
    x = 1000 * rows(dim=1)
    density = FlowDensity(**QUICK).fit(x)
    assert abs(mass(density.score_samples, wide(x, 801, 8.0)) - 1) < 1e-3


def test_scores_shift_by_the_log_determinant(plane: FlowDensity) -> None:
    x, scale = rows(), np.array([3.0, 0.01])
    moved = FlowDensity(**QUICK).fit(x * scale - 7.0)
    shift = moved.score_samples(x * scale - 7.0) - plane.score_samples(x)
    np.testing.assert_allclose(shift, -np.log(scale).sum(), atol=5e-3)


def test_score_is_the_mean(plane: FlowDensity) -> None:
    assert plane.score(rows()) == pytest.approx(plane.score_samples(rows()).mean())


def test_is_better_than_a_gaussian(plane: FlowDensity) -> None:
    new = rows(1000, seed=5)
    gaussian = baselines.baselines(rows(), new)[0].mean
    assert plane.score(new) > gaussian + 0.05
    assert plane.fit_.status.ok
    assert plane.held_out_.rows > 50
    assert abs(plane.held_out_.mean - plane.score(new)) < 0.5


def test_transform_and_back(plane: FlowDensity) -> None:
    x = rows()
    z = plane.transform(x)
    spread = x.std(0)
    np.testing.assert_allclose(plane.inverse_transform(z) / spread, x / spread, atol=1e-4)
    assert np.abs(z.mean(0)).max() < 0.4 and np.abs(z.std(0) - 1).max() < 0.4


def test_samples_agree_with_the_rows(plane: FlowDensity) -> None:
    drawn, x = plane.sample(4000), rows(4000, seed=9)
    np.testing.assert_array_less(np.abs(drawn.mean(0) - x.mean(0)) / x.std(0), 0.25)
    np.testing.assert_allclose(drawn.std(0) / x.std(0), 1.0, atol=0.25)
    np.testing.assert_array_equal(plane.sample(5, seed=3), plane.sample(5, seed=3))
    assert not np.array_equal(plane.sample(5, seed=3), plane.sample(5, seed=4))


def test_a_row_does_not_depend_on_those_beside_it(plane: FlowDensity) -> None:
    x = rows()
    together = plane.score_samples(x)
    np.testing.assert_allclose(plane.score_samples(x[7:8])[0], together[7], rtol=1e-10)
    np.testing.assert_allclose(plane.score_samples(x[::-1])[::-1], together, rtol=1e-10)


def test_far_rows_have_a_density(plane: FlowDensity) -> None:
    logs = plane.score_samples([[1e6, -1e9], [5.0, 5.0], [-1e12, 0.0]])
    assert not np.isnan(logs).any() and logs[1] > logs[0]


# --- times and tolerances ---


def test_frames_end_at_the_rows_and_begin_at_a_normal(plane: FlowDensity) -> None:
    x = rows()
    frames = plane.frames(x, [0.0, 0.5, 1.0])
    assert frames.shape == (3, len(x), 2)
    np.testing.assert_allclose(frames[-1], x, rtol=1e-9)
    np.testing.assert_allclose(
        plane.density_.scale.forward(frames[0]), plane.transform(x), atol=1e-6
    )
    np.testing.assert_allclose(
        plane.frame_density(x, 1.0),
        log_density_of(evaluate(plane.density_.best, "to_base", plane.density_.scale.forward(x)))
        + plane.density_.scale.log_det(x),
        atol=1e-8,
    )
    assert abs(mass(lambda g, _: plane.frame_density(g, 0.5), wide(x, 81)) - 1) < 2e-3


def test_tolerance_converges(plane: FlowDensity) -> None:
    x = rows()
    exact = plane.with_tolerance(1e-10).score_samples(x)
    errors = [np.abs(plane.with_tolerance(t).score_samples(x) - exact).max() for t in (1e-3, 1e-7)]
    assert errors[1] < 1e-5 < errors[0] < 0.1
    flow, z = plane.density_.best, plane.density_.scale.forward(x)
    counts = [
        evaluate(flow, "to_base", z, tolerance=Tolerance(t, t)).nfe.mean() for t in (1e-3, 1e-7)
    ]
    assert counts[0] < counts[1]
    assert plane.density_.tolerance != plane.with_tolerance(1e-3).density_.tolerance


def test_a_solve_that_gives_up_is_told_and_answered(plane: FlowDensity) -> None:
    flow, z = plane.density_.best, plane.density_.scale.forward(rows())
    cut = evaluate(flow, "to_base", z, tolerance=Tolerance(1e-9, 1e-9, 2))
    assert not cut.ok.any()
    np.testing.assert_allclose(cut.y, evaluate(flow, "to_base", z).y, atol=1e-4)


def test_what_the_solves_show(plane: FlowDensity) -> None:
    z = plane.density_.scale.forward(rows())
    moved = evaluate(plane.density_.best, "to_base", z, tolerance=COUNTED)
    assert plane.nfe_.mean == pytest.approx(moved.nfe.mean())
    assert plane.nfe_.max == moved.nfe.max()
    assert plane.stiffness_ >= 1
    assert plane.discretisation_.adaptive < 0.1


def test_there_and_back_in_pieces(plane: FlowDensity) -> None:
    flow, z = plane.density_.best, plane.density_.scale.forward(rows())
    half = between(flow, z, 1.0, 0.4)
    whole, rest = between(flow, z, 1.0, 0.0), between(flow, half.y, 0.4, 0.0)
    np.testing.assert_allclose(rest.y, whole.y, atol=1e-4)
    np.testing.assert_allclose(half.log_det + rest.log_det, whole.log_det, atol=1e-4)


def test_hutchinson_beyond_the_exact_dimensions(monkeypatch: pytest.MonkeyPatch) -> None:
    deep = FFJORD(width=8, depth=3).build(3, key=jax.random.key(0))
    x = np.random.default_rng(0).normal(size=(20, 3))
    exact = evaluate(deep, "to_base", x)
    assert (exact.error == 0).all()
    monkeypatch.setattr("tenkai.flows.evaluation._EXACT_UP_TO", 2)
    noisy = evaluate(deep, "to_base", x)
    assert (noisy.error > 0).all()
    assert np.abs(noisy.log_det - exact.log_det).max() < 8 * noisy.error.max()


def test_a_mixture_of_members() -> None:
    logs = np.log(np.array([[0.2, 0.0], [0.6, 0.0]]) + 1e-300)
    np.testing.assert_allclose(combined(logs, np.array([0.5, 0.5]))[0], np.log(0.4))


# --- contexts ---


def test_conditional_density_integrates_for_every_context(
    conditional: tuple[FlowDensity, np.ndarray],
) -> None:
    density, _ = conditional
    for c in (-10.0, 3.0, 15.0):
        grid = [np.linspace(-6000, 6000, 401)]
        assert abs(mass(density.score_samples, grid, [c]) - 1) < 1e-3


def test_one_context_may_stand_for_all_rows() -> None:
    fitted: Any = SimpleNamespace(context_names_=("u", "v"))
    one = pd.Series({"u": 1.0, "v": 2.0})
    for context in (one, [1.0, 2.0], pd.DataFrame([one])):
        np.testing.assert_array_equal(density_border.given(fitted, context, 3), [[1.0, 2.0]] * 3)
    with pytest.raises(tk.InputError, match="expected the numbers u, v; got v, u"):
        density_border.given(fitted, one[["v", "u"]], 3)


def test_constant_contexts_keep_their_scale() -> None:
    # The standard deviation of 0.1, 0.1, ... is not zero but rounding.
    scale = Whitening.standardising(np.full((100, 1), 0.1))
    np.testing.assert_allclose(scale.forward(np.array([[0.1], [0.3]])), [[0.0], [0.2]], atol=1e-12)


@pytest.mark.parametrize("fixed", [lambda x: 3 * x[:, :1] + 1, lambda x: x @ [[1.0], [1e-3]]])
def test_columns_that_the_context_fixes_are_told(fixed: Callable) -> None:
    x = rows()
    with pytest.raises(tk.InputError, match=r"column.* expected values that the context does not"):
        FlowDensity(**QUICK).fit(x, context=fixed(x))


def test_samples_follow_their_context(conditional: tuple[FlowDensity, np.ndarray]) -> None:
    density, _ = conditional
    low, high = (density.sample(500, [c]).mean() for c in (-12.0, 18.0))
    assert low < -1200 and high > 1200
    each = density.sample(2, [[-12.0], [18.0]])
    assert each[0, 0] < each[1, 0]


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (None, "context: expected 1 numbers per row: c0; got none"),
        (np.zeros((5, 2)), "context: expected 1 columns: c0; got 2"),
        (np.zeros((4, 1)), "context: expected 5 rows, one for each of X; got shape (4, 1)"),
        (np.full((5, 1), np.nan), "context, column 'c0': expected finite numbers; got NaN in row"),
    ],
)
def test_contexts_must_fit(
    conditional: tuple[FlowDensity, np.ndarray], context: ArrayLike | None, words: str
) -> None:
    with pytest.raises(tk.InputError) as error:
        conditional[0].score_samples(np.zeros((5, 1)), context)
    assert words in str(error.value)


# --- other flows, targets ---


def test_discrete_flows_are_densities_too() -> None:
    x = rows()
    density = FlowDensity(RealNVP(layers=4), members=2, steps=200, batch=64, compare=False).fit(x)
    assert abs(mass(density.score_samples, wide(x, 241, 9.0)) - 1) < 1e-3
    np.testing.assert_allclose(density.inverse_transform(density.transform(x)), x, rtol=1e-6)
    assert density.nfe_ is None and density.discretisation_ is None
    for call in (lambda: density.frames(x, [0.5]), lambda: density.with_tolerance(1e-3)):
        with pytest.raises(tk.InputError, match="expected a continuous flow"):
            call()
    with pytest.raises(tk.InputError, match="exact densities of data; got one that goes this way"):
        FlowDensity(Planar()).fit(x)


def ring(x: Any) -> Any:
    return -0.5 * ((jnp.sqrt(jnp.sum(x**2)) - 2) / 0.4) ** 2


def test_match_finds_the_normaliser() -> None:
    density = FlowDensity(SMALL, steps=400, batch=128)
    density.feature_names_in_ = np.array(["of", "an", "earlier", "fit"], object)
    density.match(ring, dim=2)
    assert not hasattr(density, "feature_names_in_")
    found = density.matched_
    truth = np.log(2 * np.pi * 2 * 0.4 * np.sqrt(2 * np.pi))
    assert found.elbo < truth + 0.02
    assert found.effective > 0.5
    assert abs(found.log_normaliser - truth) < max(5 * found.error, 0.02)
    assert density.fit_.status.kind == "matched"
    radius = np.linalg.norm(density.sample(1000), axis=1)
    assert abs(np.median(radius) - 2) < 0.2


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (lambda x: jnp.log(x[0]), "log_density: expected finite numbers; got nan at"),
        (lambda x: -(x**2), "log_density: expected one number for one row (dim,); got shape (2,)"),
        (lambda x: np.asarray(x).sum(), "log_density: expected a function of one row"),
        (3.0, "log_density: expected a function of one row (dim,); got float"),
        (lambda x: -jnp.sum(x**2).astype(int), "log_density: expected a real number with a deriv"),
        (lambda x: -jnp.round(jnp.sum(x**2)), "got a derivative of zero at all 256 places"),
    ],
    ids=["nan", "shape", "numpy", "number", "whole", "steps"],
)
def test_bad_targets_are_told_before_any_work(target: Any, words: str) -> None:
    with pytest.raises(tk.InputError) as error:
        FlowDensity(SMALL).match(target, dim=2)
    assert words in str(error.value)


# --- files, scikit-learn ---


def test_files_give_the_same_bits(plane: FlowDensity, tmp_path: Path) -> None:
    plane.save(tmp_path / "m.safetensors")
    again = tk.load(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(again.score_samples(rows()), plane.score_samples(rows()))
    np.testing.assert_array_equal(again.sample(7), plane.sample(7))
    for name in ("held_out_", "repeats_", "nfe_", "stiffness_", "discretisation_", "names_"):
        assert getattr(again, name) == getattr(plane, name)
    assert repr(again) == repr(plane) and again.summary() == plane.summary()
    np.testing.assert_array_equal(again.data_, plane.data_)


def test_files_of_conditional_densities(
    conditional: tuple[FlowDensity, np.ndarray], tmp_path: Path
) -> None:
    density, c = conditional
    density.save(tmp_path / "m.safetensors")
    again = tk.load(tmp_path / "m.safetensors")
    y = np.zeros((len(c), 1))
    np.testing.assert_array_equal(again.score_samples(y, c), density.score_samples(y, c))


@dataclass(frozen=True, repr=False)
class Own(Architecture):
    """A user's architecture."""

    abilities: ClassVar[Any] = FFJORD.abilities

    def build(self, dim: int, *, context: int = 0, key: Any) -> Any:
        return SMALL.build(dim, context=context, key=key)


def test_files_of_own_architectures_need_their_code(tmp_path: Path) -> None:
    density = FlowDensity(**(QUICK | {"flow": Own(), "members": 1})).fit(rows())
    density.save(tmp_path / "m.safetensors")
    with pytest.raises(tk.InputError, match="expected the code of its flow"):
        tk.load(tmp_path / "m.safetensors")
    again = tk.load(tmp_path / "m.safetensors", flow=Own())
    assert again.score(rows()) == density.score(rows())


def test_a_file_wants_an_architecture(plane: FlowDensity, tmp_path: Path) -> None:
    plane.save(tmp_path / "m.safetensors")
    with pytest.raises(tk.InputError, match="flow: expected an architecture"):
        tk.load(tmp_path / "m.safetensors", flow="ffjord")


def test_architectures_survive_as_json() -> None:
    from tenkai.estimators.flow_density_saving import described, restored

    for flow in (SMALL, FFJORD(width=(8, 9), solver=Adaptively(1e-3)), RealNVP(layers=3), None):
        assert restored(described(flow)) == flow


def test_pickles_and_clones(plane: FlowDensity) -> None:
    again = pickle.loads(pickle.dumps(plane))
    np.testing.assert_array_equal(again.score_samples(rows()), plane.score_samples(rows()))
    assert clone(plane).get_params() == plane.get_params()


def test_the_same_seed_gives_the_same_bits(plane: FlowDensity) -> None:
    again = FlowDensity(**QUICK).fit(rows())
    np.testing.assert_array_equal(again.score_samples(rows()), plane.score_samples(rows()))


def test_a_fit_that_fails_changes_nothing(plane: FlowDensity) -> None:
    density, before = copy.copy(plane), plane.score(rows())
    for bad in (np.ones((10, 3)), pd.DataFrame({"b": [1.0, np.nan], "a": [2.0, 3.0]})):
        with pytest.raises(tk.InputError):
            density.fit(bad)
    assert density.score(rows()) == before and not hasattr(density, "feature_names_in_")


def test_tables_keep_their_names(plane: FlowDensity) -> None:
    frame = pd.DataFrame(rows(), columns=["温度", "pH"])
    density = FlowDensity(**QUICK).fit(frame)
    assert density.names_ == ("温度", "pH")
    np.testing.assert_allclose(density.score_samples(frame), plane.score_samples(rows()))
    with pytest.raises(ValueError, match="same order"):
        density.score_samples(frame[["pH", "温度"]])


def test_unfitted_is_told() -> None:
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        FlowDensity().score_samples(rows())
    with pytest.raises(tk.InputError, match="expected a fitted estimator"):
        FlowDensity().sample(3)


JUDGED = FlowDensity(
    FFJORD(width=8, depth=1, solver=Grid(2)), members=1, matching=20, steps=4, batch=16,
    compare=False,
)  # fmt: skip
_CHEAP = (
    "check_do_not_raise_errors_in_init_or_set_param", "check_no_attributes_set_in_init",
    "check_parameters_default_constructible", "check_get_params_invariance", "check_set_params",
    "check_estimator_sparse_tag", "check_estimator_cloneable", "check_estimator_repr",
    "check_estimators_empty_data_messages", "check_fit2d_1sample", "check_complex_data",
    "check_estimator_tags_renamed", "check_valid_tag_types", "check_estimators_unfitted",
    "check_fit1d", "check_mixin_order",
)  # fmt: skip


def test_scikit_learns_checks_that_fit_nothing() -> None:
    done = []
    for estimator, check in estimator_checks_generator(JUDGED):
        if check.func.__name__ in _CHEAP:
            check(estimator)
            done.append(check.func.__name__)
    assert len(done) > 10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks() -> None:
    results = check_estimator(JUDGED)
    assert [r["check_name"] for r in results if r["status"] == "failed"] == []


def test_import_needs_no_scikit_learn() -> None:
    code = "import sys, tenkai as tk; tk.NeuralODE, tk.load; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- the border ---


def broken(change: Callable[[np.ndarray], Any]) -> Any:
    x = np.random.default_rng(0).normal(size=(60, 3))
    made = change(x)
    return x if made is None else made


def put(x: np.ndarray, row: int, column: int, value: float) -> None:
    x[row, column] = value


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda x: put(x, 4, 1, np.nan), "X, column 'x1': expected finite numbers; got NaN in row"),
        (lambda x: put(x, 4, 2, np.inf), "X, column 'x2': expected finite numbers; got inf in row"),
        (lambda x: np.c_[x, np.ones(60)], "column 'x3': expected values that vary; got 1 in every"),
        (lambda x: np.c_[x, x[:, 1]], "column 'x3': expected values of its own; got a copy of"),
        (lambda x: np.c_[x, 3 - x[:, 1]], "column 'x3': expected values of its own; got a multip"),
        (lambda x: np.c_[x, x[:, 0] + 2 * x[:, 2]], "columns 'x0', 'x2', 'x3': expected columns"),
        (lambda x: x[:4], "X: expected at least 5 rows for 3 columns; got 4 rows"),
        (lambda x: pd.DataFrame(x, columns=["a", "b", "c"]).assign(b="low"),
         "X, column 'b': expected numbers; got 'low'"),
        (lambda x: pd.DataFrame(x, columns=["a", "b", "日"]).assign(日=pd.Timestamp("2024-01-01")),
         "X, column '日': expected numbers; got dates"),
    ],
    ids=["nan", "inf", "constant", "copy", "multiple", "dependent", "rows", "text", "dates"],
)  # fmt: skip
def test_bad_rows_are_one_message(change: Callable, words: str) -> None:
    with pytest.raises(tk.InputError) as error:
        FlowDensity(**QUICK).fit(broken(change))
    assert words in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"flow": "ffjord"}, {"members": 0}, {"steps": "many"}, {"noise": -1}, {"decay": "big"},
        {"jitter": 1.0}, {"precision": "float16"}, {"rate": 0.0}, {"batch": 2.5},
        {"seed": -1}, {"seed": None},
    ],
    ids=str,
)  # fmt: skip
def test_bad_arguments_are_told(options: dict[str, Any]) -> None:
    with pytest.raises(tk.InputError) as error:
        FlowDensity(**options).fit(rows())
    assert next(iter(options)) in str(error.value)


def test_repeats_are_counted() -> None:
    x = rows(200)
    x = np.concatenate([x, x[:30]])
    x[:40, 1] = 0.0
    x = np.c_[x, np.arange(len(x)) % 3, np.round(x[:, 0], 1)]
    found = checks.repeats(x, ["a", "rain", "kind", "rounded"])
    assert found.duplicates == len(x) - len(np.unique(x, axis=0))
    assert [c.name for c in found.atoms] == ["rain"] and found.atoms[0].count >= 40
    told = "\n".join(found.notes)
    for words in ("'rain'", "'kind' holds 3 different whole numbers", "'rounded'"):
        assert words in told
    assert checks.repeats(rows(), ["a", "b"]).notes == ()


def test_equal_rows_share_a_fold() -> None:
    x = np.repeat(rows(50), 4, axis=0)
    fold = checks.folds(x, 5, seed=0)
    assert (fold.reshape(50, 4) == fold.reshape(50, 4)[:, :1]).all()
    assert np.bincount(fold).min() > 0


# --- baselines ---


def test_the_gaussian_is_the_closed_form() -> None:
    x, new = rows(200), rows(50, seed=2)
    found = baselines.baselines(x, new)[0].log_density
    centred = new - x.mean(0)
    cov = np.cov(x.T, bias=True)
    truth = -0.5 * np.einsum("ni,ij,nj->n", centred, np.linalg.inv(cov), centred)
    truth -= 0.5 * np.linalg.slogdet(2 * np.pi * cov)[1]
    np.testing.assert_allclose(found, truth)


def test_kernels_are_scikit_learns() -> None:
    x, new = rows(100, dim=1), rows(20, dim=1, seed=3)
    truth = KernelDensity(bandwidth=0.3, rtol=0).fit(x).score_samples(new)
    found = baselines.log_kernels(new, x, np.array([0.3]))[0]
    np.testing.assert_allclose(found, truth, atol=1e-9)


def test_the_number_of_gaussians_is_found() -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(600, 2)) * 0.2 + 2 * random.integers(0, 2, size=(600, 1))
    assert baselines.choose(x).components in (2, 4)


def test_baselines_know_contexts() -> None:
    random = np.random.default_rng(0)
    c = np.eye(3)[random.integers(0, 3, 600)]
    y = c @ [[0.0], [2.0], [4.0]] + 0.2 * random.normal(size=(600, 1))
    found = baselines.baselines(y[:400], y[400:], (c[:400], c[400:]))
    truth = -0.5 - 0.5 * np.log(2 * np.pi) - np.log(0.2)
    for one in found:
        assert abs(one.mean - truth) < 0.2


def test_held_out_rows_are_compared() -> None:
    x = rows(400)
    logs = np.where(np.arange(400) % 2, -9.0, np.nan)
    found = compare(x, None, logs)
    assert found is not None and found.rows == 200 and found.mean == -9.0
    assert [b.name for b in found.beside] == ["Gaussian", "Gaussian mixture", "kernel density"]
    assert found.best.mean == max(b.mean for b in found.beside)
    for b in found.beside:
        assert b.gain == pytest.approx(-9.0 - b.mean)
    assert compare(x, None, np.full(400, np.nan)) is None


def test_copies_of_a_row_count_once_in_the_error() -> None:
    v = np.random.default_rng(0).normal(size=50)
    once, each = mean_of(v, np.arange(50)), np.arange(50)
    assert once == pytest.approx((v.mean(), v.std(ddof=1) / 50**0.5), rel=1e-12)
    assert mean_of(np.tile(v, 4), np.tile(each, 4)) == pytest.approx(once, rel=1e-12)
    # Copies of one row among others: the error of weighted means.
    weights = np.ones(50, int)
    weights[0] = 30
    mean, error = mean_of(np.repeat(v, weights), np.repeat(each, weights))
    spread = (weights * (v - mean)) ** 2
    assert error == pytest.approx((50 / 49 * spread.sum()) ** 0.5 / weights.sum(), rel=1e-12)
    assert mean_of(np.ones(5), np.zeros(5, int))[1] == float("inf")
    x = rows(60)
    logs = -0.5 * (x**2).sum(1)
    copied = compare(np.tile(x, (3, 1)), None, np.tile(logs, 3), simple=False)
    alone = compare(x, None, logs, simple=False)
    assert copied is not None and alone is not None
    assert copied.error == pytest.approx(alone.error)


@pytest.mark.parametrize("kind", ["few rows", "hardly varies", "two values"])
def test_tables_that_no_gaussian_fits_are_not_compared(kind: str) -> None:
    x = np.random.default_rng(0).normal(size=(12 if kind == "few rows" else 200, 10))
    if kind == "hardly varies":
        x[:, 1] = np.arange(200) == 7
    if kind == "two values":
        x = (np.arange(100) > 98)[:, None].astype(float)
    checks.check_singular(x, [f"x{j}" for j in range(x.shape[1])])
    found = compare(x, None, np.zeros(len(x)))
    assert found is not None and found.rows == len(x) and not found.beside
    assert "no simple density" in uncompared(found, True)[0] and not uncompared(found, False)


def test_constant_contexts_are_compared() -> None:
    x = rows(200)
    found = compare(x, np.full((200, 1), 0.1), np.zeros(200))
    alone = compare(x, None, np.zeros(200))
    assert found is not None and alone is not None
    assert found.beside[0].mean == pytest.approx(alone.beside[0].mean)


def test_curves_know_rows_of_any_size() -> None:
    shaping = Shaping.fit(np.random.default_rng(0).lognormal(size=(300, 1)))
    far = shaping.log_det(10.0 ** np.arange(0, 300, 20.0)[:, None])
    assert np.isfinite(far).all() and (np.diff(far) < 0).all()


def test_the_dear_direction_is_told() -> None:
    def ring(x: Any) -> Any:
        return -0.5 * ((jnp.sqrt(jnp.sum(x**2) + 1e-6) - 2) / 0.6) ** 2

    density = tk.FlowDensity(Planar(layers=4), members=1, steps=50).match(ring, dim=2)
    assert any("numerical inverse" in note for note in density.fit_.status.notes)
    x = density.sample(50)
    assert np.isfinite(density.score_samples(x)).all()
    np.testing.assert_allclose(density.inverse_transform(density.transform(x)), x, atol=1e-6)
