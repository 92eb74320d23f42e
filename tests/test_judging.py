"""Rolling origins and comparisons: no look ahead, exact baselines, honest words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy import stats

import tenkai as tk
from tenkai import InputError, report
from tenkai.cli import main
from tenkai.cli.judging import parse_origins
from tenkai.judging import baselines
from tenkai.judging.origins import cuts_of
from tenkai.records import Backtest, Coverage, Fit, Forecast, Status
from tenkai.records.scores import horizons_of
from tenkai.reproduce import lynx_hare_backtest

EXAMPLE = Path(__file__).parent.parent / "examples" / "lynx_hare.csv"
OK = Status("converged", "converged")


class Fake:
    """An estimator that forecasts `rule(times, what was seen)`, with an interval of ± `half`."""

    fits: ClassVar[list[tk.Trajectories]] = []
    fail_at: ClassVar[dict[int, BaseException]] = {}

    def __init__(self, rule: Callable[..., np.ndarray] | None = None, half: float = 1.0):
        self.rule, self.half = rule, half

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"rule": self.rule, "half": self.half}

    def __repr__(self) -> str:
        return "Fake()"

    def fit(self, data: tk.Trajectories) -> Fake:
        if len(data[0]) in self.fail_at:
            raise self.fail_at[len(data[0])]
        type(self).fits.append(data)
        self.data_ = data
        self.fit_ = Fit(None, OK)
        return self

    def forecast(self, *, times: Any, coverage: float, inputs: Any = None) -> list[Forecast]:
        made = []
        for i, one in enumerate(self.data_):
            raw = times[one.id] if isinstance(times, dict) else times
            at = self.data_.clock.encode(raw)
            mean = np.tile(np.nanmean(one.x, axis=0), (len(at), 1))
            if self.rule is not None:
                mean = self.rule(at, one, None if inputs is None else inputs[i])
            names = (self.data_.names, one.id)
            made.append(Forecast(raw, mean, mean - self.half, mean + self.half, coverage, *names))
        return made


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fake, "fits", [])
    monkeypatch.setattr(Fake, "fail_at", {})


def lynx_hare() -> tk.Trajectories:
    return tk.read_trajectories(EXAMPLE, time="Year")


def wave(at: np.ndarray, *_: Any) -> np.ndarray:
    return np.stack([np.sin(at), 3 + np.cos(at)], axis=1)


def waves(n: int = 40, **options: Any) -> tk.Trajectories:
    t = 0.3 * np.arange(n)
    return tk.Trajectories.from_arrays(wave(t), t, **options)


# --- baselines ---

T = np.arange(30.0)
LATER = np.array([30.0, 33.0, 34.5])


def ar2(t: np.ndarray) -> np.ndarray:
    """x[k] = 1 + 1.2 x[k-1] - .8 x[k-2], without noise."""
    x = [4.0, 1.0]
    while len(x) <= t.max():
        x.append(1 + 1.2 * x[-1] - 0.8 * x[-2])
    return np.array(x)[t.astype(int)]


@pytest.mark.parametrize("name", baselines.NAMES)
def test_baselines_are_exact_on_constants(name: str) -> None:
    x = np.full(30, 7.25)
    x[[4, 11]] = np.nan
    if name == "AR":
        for said in baselines.autoregression(T, x, LATER):
            np.testing.assert_allclose(said, 7.25)
    else:
        np.testing.assert_allclose(baselines.SIMPLE[name](T, x, LATER), 7.25)


@pytest.mark.parametrize("irregular", [False, True])
def test_linear_and_autoregression_are_exact_on_lines(irregular: bool) -> None:
    t = np.sort(np.random.default_rng(0).uniform(0, 29, 30)) if irregular else T
    x = 2 - 0.5 * t
    x[[3, 4, 20]] = np.nan
    np.testing.assert_allclose(baselines.SIMPLE["linear"](t, x, LATER), 2 - 0.5 * LATER, rtol=1e-9)
    for said in baselines.autoregression(t, x, LATER):
        np.testing.assert_allclose(said, 2 - 0.5 * LATER, rtol=1e-6)


def test_autoregression_is_exact_on_an_exact_second_order_process() -> None:
    at = np.arange(30.0, 38.0)
    mean, lower, upper = baselines.autoregression(T, ar2(T), at)
    np.testing.assert_allclose(mean, ar2(np.arange(38.0))[30:], rtol=1e-6)
    assert (upper - lower).max() < 1e-5


def test_autoregression_interval_of_a_noisy_process_covers_as_it_says() -> None:
    rng, inside, widths = np.random.default_rng(1), 0, []
    for _ in range(150):
        x = np.zeros(320)
        for k in range(2, 320):
            x[k] = 1.2 * x[k - 1] - 0.8 * x[k - 2] + rng.normal()
        at = np.arange(310.0, 320.0, 3)
        _, low, high = baselines.autoregression(np.arange(310.0), x[:310], at)
        inside += int(((x[310::3] >= low) & (x[310::3] <= high)).sum())
        widths.append(high - low)
    assert stats.binomtest(inside, 600, 0.9).pvalue > 1e-3
    psi = np.cumsum(np.array([1, 1.2, 0.64, -0.192])[:4] ** 2)  # psi of steps 1 to 4
    expected = 2 * stats.norm.ppf(0.95) * np.sqrt(psi[[0, 3]])
    np.testing.assert_allclose(np.mean(widths, axis=0)[:2], expected, rtol=0.06)


def test_autoregression_of_too_little_or_exploding_is_finite() -> None:
    alone = np.array([np.nan, 3.0, np.nan])
    for said in baselines.autoregression(np.arange(3.0), alone, LATER):
        np.testing.assert_array_equal(said, 3.0)
    growing = 10.0 ** (10 * np.arange(12.0))
    said = baselines.autoregression(np.arange(12.0), growing, np.array([12.0, 2000.0]))
    assert np.isfinite(said).all()


def test_baselines_of_nothing_are_nan() -> None:
    nothing = np.full(30, np.nan)
    for baseline in baselines.SIMPLE.values():
        assert np.isnan(baseline(T, nothing, LATER)).all()
    assert np.isnan(baselines.autoregression(T, nothing, LATER)).all()


# --- origins ---


def test_a_count_of_origins_is_spread_over_the_end_of_each_series() -> None:
    data = tk.Trajectories.from_arrays([wave(np.arange(n) * 0.3) for n in (40, 20)])
    seen = np.array([cut.observations for cut in cuts_of(data, 5, None)])
    assert seen[0].tolist() == [24, 12] and seen[-1].tolist() == [38, 19]
    assert (np.diff(seen, axis=0) > 0).all()


def test_short_series_give_fewer_origins_and_never_too_few_points() -> None:
    data = tk.Trajectories.from_arrays([1.0, 2.0, 4.0, 3.0, 5.0])
    assert [cut.observations for cut in cuts_of(data, 8, None)] == [(3,), (4,)]


@pytest.mark.parametrize("origins", [0, -1, [], [2], [12, 21], [50], "many", [3.5], True])
def test_origins_that_cannot_be_are_refused(origins: Any) -> None:
    with pytest.raises(InputError, match="origin"):
        tk.backtest(Fake(), lynx_hare(), origins=origins)
    assert not Fake.fits


def test_horizons_are_lengths_of_time() -> None:
    days = np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")
    data = tk.Trajectories.from_arrays(np.sin(np.arange(60.0)), days)
    found = tk.backtest(Fake(), data, origins=[30, 40], horizon="10D")
    assert found.points.ahead.max() == 10 and len(found.points) == 20
    assert found.points.since.astype("datetime64[D]").tolist()[0] == days[29].tolist()
    assert "within 10 days" in str(found)
    months = tk.backtest(Fake(), data, origins=[31], horizon="1ME")
    assert months.points.time.max().astype("datetime64[D]") == np.datetime64("2024-02-29")
    with pytest.raises(InputError, match="horizon"):
        tk.backtest(Fake(), data, horizon="soon")


def test_the_usual_horizon_is_a_fifth_of_the_span() -> None:
    found = tk.backtest(Fake(), waves(41), origins=[20])
    assert found.points.ahead.max() == pytest.approx(0.2 * 40 * 0.3)


# --- what a fit sees ---


def test_nothing_after_the_origin_reaches_a_fit_or_a_baseline() -> None:
    data, poisoned = (waves(u=np.arange(40.0)) for _ in range(2))
    cut = 25
    x = data[0].x.copy()
    x[cut:] = 1e6
    poisoned = tk.Trajectories.from_arrays(x, data[0].t, np.arange(40.0))
    clean, dirty = (tk.backtest(Fake(), d, origins=[cut]) for d in (data, poisoned))
    for name in ("mean", "lower", "upper"):
        np.testing.assert_array_equal(getattr(clean, name), getattr(dirty, name))
    for name, said in clean.points.naive.items():
        np.testing.assert_array_equal(said, dirty.points.naive[name])
    for seen in Fake.fits:
        one = seen[0]
        assert len(one.t) == len(one.x) == len(one.u) == cut
        for array in (one.t, one.x, one.u):  # no view of a longer array
            assert array.base is None


def test_known_inputs_of_the_future_are_given() -> None:
    u = np.random.default_rng(0).normal(size=(30, 2))
    data = tk.Trajectories.from_arrays(3 * u[:, 0] - u[:, 1], None, u)
    exact = Fake(lambda at, one, later: 3 * later[:, :1] - later[:, 1:])
    found = tk.backtest(exact, data, origins=4)
    assert found.errors([6.0])["model"].item() < 1e-12


def test_an_oracle_has_no_error_and_full_coverage() -> None:
    truth = lynx_hare()[0]
    oracle = Fake(lambda at, *_: truth.x[np.searchsorted(truth.t, at)])
    found = tk.backtest(oracle, lynx_hare(), origins=range(12, 20), horizon=6)
    assert (found.errors()["model"] == 0).all() and (found.errors()["ratio"] == 0).all()
    assert found.coverage.inside == found.coverage.points == len(found.points) == 76
    assert not found.failed and str(found).count("the model wins with 0.00 sd") == 3


def test_the_model_is_copied() -> None:
    model = Fake()
    tk.backtest(model, waves(), origins=2)
    assert not hasattr(model, "data_")
    for wrong in (Fake, object(), "neural-ode"):
        with pytest.raises(InputError, match="an estimator that forecasts"):
            tk.backtest(wrong, waves())


def test_several_irregular_series_with_gaps() -> None:
    rng = np.random.default_rng(0)
    times = [np.sort(rng.uniform(0, 12, n)) for n in (40, 25, 6)]
    xs = [wave(t) for t in times]
    xs[0][28:33, 0] = np.nan
    xs[1][24] = np.nan
    data = tk.Trajectories.from_arrays(
        xs, times, ids=["東京", "札幌", "短"], names=["気温", "湿度"]
    )
    found = tk.backtest(Fake(wave), data, origins=[20, 24, 30], horizon=4)
    frame = found.to_frame()
    assert set(frame["series"]) == {"東京", "札幌"}  # the short one is learned whole
    assert set(frame["variable"]) == {"気温", "湿度"}
    assert frame["observed"].notna().all() and (frame["ahead"] > 0).all()
    np.testing.assert_allclose(frame["mean"], frame["observed"], atol=1e-12)
    np.testing.assert_allclose(frame["ahead"], frame["time"] - frame["since"])
    assert found.origins[2].observations == (30, 25, 6)
    assert np.isfinite(frame.filter(like="naive").to_numpy()).all()


# --- scores ---


def test_errors_are_pooled_root_mean_squares_in_standard_deviations() -> None:
    found = tk.backtest(Fake(), lynx_hare(), origins=range(12, 20), horizon=6)
    frame, x = found.to_frame(), lynx_hare()[0].x
    sd = frame["variable"].map(dict(zip(("Lynx", "Hare"), x.std(axis=0), strict=True)))
    miss = (frame["naive last value"] - frame["observed"]) / sd
    within, at = found.errors([2, 4, 6]), found.errors([1, 2, 3, 4], within=False)
    assert within.index.tolist() == [2, 4, 6]
    assert within["points"].tolist() == [32, 58, 76]
    for h in (2, 4, 6):
        expected = np.sqrt((miss[frame["ahead"] <= h] ** 2).mean())
        assert within.loc[h, "last value"] == pytest.approx(expected, rel=1e-12)
    exactly = np.sqrt((miss[frame["ahead"] == 3] ** 2).mean())
    assert at.loc[3, "last value"] == pytest.approx(exactly, rel=1e-12)
    assert at["points"].tolist() == [16, 16, 14, 12]
    assert found.best_naive(4) == ("AR", pytest.approx(within.loc[4, "AR"]))


def test_lynx_hare_naive_errors() -> None:
    """Of the data alone: nothing of ours moves these."""
    table = tk.backtest(Fake(), lynx_hare(), origins=range(12, 20), horizon=6).errors([2, 4, 6])
    expected = {"last value": [1.148, 1.471, 1.544], "mean": [1.140, 1.131, 1.084],
                "linear": [1.311, 1.322, 1.226]}  # fmt: skip
    for name, values in expected.items():
        np.testing.assert_allclose(table[name], values, atol=6e-4)
    np.testing.assert_allclose(table["model"], table["mean"])  # the fake one is the mean


@pytest.mark.parametrize(("inside", "points"), [(0, 5), (5, 5), (9, 10), (66, 76), (430, 500)])
def test_coverage_has_the_exact_binomial_interval(inside: int, points: int) -> None:
    for level in (0.95, 0.9):
        exact = stats.binomtest(inside, points).proportion_ci(level, "exact")
        assert Coverage(inside, points, 0.9).interval(level) == pytest.approx(tuple(exact))
    assert f"{inside} of {points}" in str(Coverage(inside, points, 0.9))


def test_the_words_name_a_baseline_that_wins() -> None:
    t = np.arange(60.0)
    data = tk.Trajectories.from_arrays(np.stack([2 * t, 5 - t], axis=1), t)
    found = tk.backtest(Fake(lambda at, one, u: 1.5 * np.stack([2 * at, 5 - at], 1)), data)
    assert "the naive forecast linear wins" in str(found) or "AR wins" in str(found)
    assert (found.errors()["ratio"] > 1).all()


def test_a_difference_is_that_of_the_pooled_squares_and_rarely_false() -> None:
    rng, false = np.random.default_rng(0), 0
    found = tk.backtest(Fake(), waves(60), origins=range(30, 50, 2), horizon=3)
    points = found.points
    for _ in range(200):
        a, b = (points.observed + rng.normal(size=len(points)) for _ in range(2))
        gap = points.difference(a, b, 3)
        false += not gap.tied
    assert gap.mean == pytest.approx(np.mean(points.squares(a) - points.squares(b)))
    assert false <= 20  # at most 5 % of 200; below 20 with probability .997
    clear = points.difference(points.observed + 1, points.observed + 0.1, 3)
    assert not clear.tied and clear.mean > 0
    one = tk.backtest(Fake(), waves(60), origins=[40]).points
    assert one.difference(one.observed + 1, one.observed, 3).tied  # one origin proves nothing


# --- failures and interruptions ---


def test_a_failed_fit_is_a_flagged_row() -> None:
    Fake.fail_at = {16: FloatingPointError("it blew up")}
    found = tk.backtest(Fake(), lynx_hare(), origins=[12, 16, 18], horizon=4)
    frame = found.to_frame()
    assert [origin.status.ok for origin in found.origins] == [True, False, True]
    assert frame.loc[frame["origin"] == 1, "mean"].isna().all()
    assert not frame.loc[frame["origin"] == 1, "ok"].any() and frame["ok"].sum() == 14
    assert "it blew up" in str(found) and "1 of 3 fits flagged" in str(found)
    assert found.errors([4])["points"].item() == 14
    assert report.plot(found).size == 3


def test_when_every_fit_fails_the_first_error_is_raised() -> None:
    Fake.fail_at = {n: InputError("y0", expected="2", got="3", do="mend it") for n in (12, 16)}
    with pytest.raises(InputError, match="y0"):
        tk.backtest(Fake(), lynx_hare(), origins=[12, 16])


def test_a_mistake_of_ours_is_not_swallowed() -> None:
    Fake.fail_at = {16: TypeError("a bug")}
    with pytest.raises(TypeError, match="a bug"):
        tk.backtest(Fake(), lynx_hare(), origins=[12, 16])


def test_ctrl_c_keeps_the_finished_origins() -> None:
    Fake.fail_at = {16: KeyboardInterrupt()}
    found = tk.backtest(Fake(), lynx_hare(), origins=[12, 14, 16, 18], horizon=4)
    assert found.stopped and len(found.origins) == 2
    assert set(found.points.origin) == {0, 1}
    assert "stopped after 2 of 4 origins" in str(found)
    with pytest.raises(KeyboardInterrupt):
        tk.backtest(Fake(), lynx_hare(), origins=[16, 18])


def test_progress_is_a_line_per_origin(capsys: pytest.CaptureFixture) -> None:
    tk.backtest(Fake(), lynx_hare(), origins=[12, 16], progress=True)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2 and said[1].startswith("origin 2/2, 16 observations: ")


# --- comparisons ---


def test_comparison_is_on_the_same_points_and_calls_a_tie_a_tie() -> None:
    models = {"正解": Fake(wave), "同じ": Fake(wave), "off": Fake(lambda at, *_: wave(at) + 0.5)}
    found = tk.compare(models, waves(), origins=6, horizon=3)
    assert len({id(test.points) for test in found.tests.values()}) == 1
    frame = found.to_frame([3.0]).set_index("name")
    assert frame.loc[["正解", "同じ"], "tied"].all() and not frame.loc["off", "tied"]
    assert set(frame.index) == {*models, *baselines.NAMES}
    assert frame.loc["off", "error"] == pytest.approx(
        np.sqrt(np.mean((0.5 / found.points.sd) ** 2))
    )
    assert frame.loc["off", "inside"] == frame.loc["off", "of"] == len(found.points)
    assert "tied with it 同じ" in str(found) and len(found) == 3
    assert isinstance(found["off"], Backtest)
    assert [len(seen[0]) for seen in Fake.fits[:3]] == [
        len(Fake.fits[0][0])
    ] * 3  # origin by origin


def test_comparison_refuses_names_that_mean_something_else() -> None:
    for wrong in ({}, [Fake()], {"mean": Fake()}, {3: Fake()}):
        with pytest.raises(InputError, match="models"):
            tk.compare(wrong, waves())


def test_a_model_that_fails_somewhere_leaves_the_others_comparable() -> None:
    class Fragile(Fake):
        fail_at: ClassVar[dict[int, BaseException]] = {16: FloatingPointError("no")}

    found = tk.compare({"a": Fake(), "b": Fragile()}, lynx_hare(), origins=[12, 14, 16, 18])
    table = found.errors([2.0])
    assert table["points"].item() == 12 and table["a"].item() == table["b"].item()
    assert "1 fits flagged" in str(found)


# --- pictures ---


def test_pictures_show_errors_forecasts_and_coverage() -> None:
    found = tk.backtest(Fake(), lynx_hare(), origins=range(12, 20), horizon=6)
    axes = found.plot()
    assert [ax.get_ylabel() for ax in axes] == ["RMSE within horizon [sd]", "Lynx", "Hare"]
    drawn = {line.get_label(): line for line in axes[0].get_lines()}
    np.testing.assert_allclose(drawn["model"].get_ydata(), found.errors(range(1, 7))["model"])
    assert len(axes[1].collections) == 8  # an interval per origin
    both = tk.compare({"a": Fake(), "b": Fake(half=50)}, lynx_hare(), origins=4).plot()
    assert [tick.get_text() for tick in both[1].get_yticklabels()] == ["a", "b"]
    alone = report.plot(found, ax=axes[0])
    assert alone is axes[0]


def test_horizons_are_times_that_occur() -> None:
    points = tk.backtest(Fake(), lynx_hare(), origins=range(12, 20), horizon=6).points
    assert horizons_of(points, 3).tolist() == [2, 4, 6]
    assert horizons_of(points, 12).tolist() == [1, 2, 3, 4, 5, 6]
    t = np.sort(np.random.default_rng(0).uniform(0, 50, 200))
    many = tk.backtest(Fake(), tk.Trajectories.from_arrays(wave(t), t), origins=4, horizon=9)
    assert len(horizons_of(many.points, 5)) == 5


# --- a real model, the command, the entry ---

TINY: dict[str, Any] = {"members": 2, "steps": 20, "matching_steps": 50, "held_out": 0.0}


def test_a_neural_ode_over_two_ragged_series() -> None:
    data = tk.toys.sample("lotka_volterra", n=20, noise=0.05, series=2, irregular=True)
    found = tk.backtest(tk.NeuralODE(**TINY), data, origins=[15], horizon=4, progress=False)
    assert set(found.points.series) == {"0", "1"} and np.isfinite(found.mean).all()
    direct = tk.NeuralODE(**TINY).fit(cuts_of(data, [15], 4)[0].seen, progress=False)
    later = {one.id: one.t[15:] for one in data}
    for k, forecast in enumerate(direct.forecast(times=later)):
        use = found.points.series == str(k)
        count = use.sum() // 2
        np.testing.assert_array_equal(found.mean[use], forecast.mean[:count].ravel())
        np.testing.assert_array_equal(found.upper[use], forecast.upper[:count].ravel())


def test_times_by_series_must_name_every_series() -> None:
    from tenkai.estimators.border import future_times

    data = tk.Trajectories.from_arrays([wave(T), wave(T)], ids=["a", "b"])
    np.testing.assert_array_equal(future_times(data["a"], data, None, {"a": LATER}), LATER)
    with pytest.raises(InputError, match="times of series 'b'"):
        future_times(data["b"], data, None, {"a": LATER})


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tenkai.devices.configure", lambda **options: None)
    monkeypatch.setattr("tenkai.estimators.NeuralODE", lambda seed=0: Fake())
    return tmp_path


def test_the_command_writes_table_errors_and_picture(
    command: Path, capfd: pytest.CaptureFixture
) -> None:
    asked = ["backtest", str(EXAMPLE), "--time", "Year", "--origins", "12-19", "--horizon", "6"]
    assert main([*asked, "--out", "bt"]) == 0
    said = capfd.readouterr()
    assert "within 6" in said.out and "origin 8/8" in said.err
    found = {path.name for path in (command / "bt").iterdir()}
    assert found == {"backtest.csv", "errors.csv", "summary.txt", "backtest.png"}
    lines = (command / "bt" / "backtest.csv").read_text().splitlines()
    assert len(lines) == 77 and lines[1].startswith("0,12,1911,0,1912,1.0,Lynx,12.3,")
    assert main([*asked, "--out", "bt"]) == 2
    assert "pass --overwrite" in capfd.readouterr().err
    assert main([*asked, "--out", "bt", "--overwrite", "--quiet"]) == 0
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--origins", "none"], "--origins"),
        (["--origins", "19-12"], "--origins"),
        (["--origins", "12,40"], "origin 40"),
        (["--horizon", "-1"], "horizon"),
        (["--coverage", "2"], "--coverage"),
        (["--model", "oracle"], "--model"),
        (["--time", "Month"], "Month"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    command: Path, capfd: pytest.CaptureFixture, options: list[str], words: str
) -> None:
    asked = ["backtest", str(EXAMPLE), "--time", "Year", *options]
    assert main(asked) == 2
    said = capfd.readouterr()
    assert words in said.err and said.err.count("\n") == 1
    assert not (command / "runs" / "lynx_hare-backtest").exists()


def test_the_command_says_what_failed_or_was_stopped(
    command: Path, capfd: pytest.CaptureFixture
) -> None:
    asked = ["backtest", str(EXAMPLE), "--time", "Year", "--origins", "12,14,16", "--out"]
    Fake.fail_at = {14: FloatingPointError("no")}
    assert main([*asked, "a"]) == 3
    assert (command / "a" / "backtest.csv").exists()
    Fake.fail_at = {16: KeyboardInterrupt()}
    assert main([*asked, "b"]) == 130
    assert (command / "b" / "backtest.csv").exists()
    Fake.fail_at = {12: KeyboardInterrupt()}
    assert main([*asked, "c"]) == 130
    assert not (command / "c").exists()
    assert "interrupted" in capfd.readouterr().err


def test_origins_as_text() -> None:
    assert parse_origins("8") == 8
    assert parse_origins("12,14, 16") == [12, 14, 16]
    assert parse_origins("12-14") == [12, 13, 14]


def test_reproduce_entry_prints_model_naive_ratio_and_coverage(tmp_path: Path) -> None:
    from tenkai.reproduce import Task

    task = Task(out=tmp_path, data=EXAMPLE.parent)
    rows = {row.quantity: row for row in lynx_hare_backtest.run(task, Fake())}
    assert rows["naive within 2 years: mean"].ours == pytest.approx(1.140, abs=6e-4)
    assert rows["ratio within 6 years"].ours == pytest.approx(1.0)
    assert "of 76 points" in rows["coverage of the forecasts"].note
    assert (tmp_path / "lynx-hare-backtest.png").stat().st_size > 10_000
