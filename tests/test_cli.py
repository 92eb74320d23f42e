"""The command line: exit codes, one line per mistake, nothing written for it, run directories."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from oscillator import Oscillator

import tenkai
from tenkai import storage
from tenkai.cli import main
from tenkai.errors import InputError
from tenkai.records import Status

EXAMPLE = Path(__file__).parent.parent / "examples" / "lynx_hare.csv"
Say = Callable[..., "Said"]


class Said:
    """What a command answered."""

    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, err

    @property
    def line(self) -> str:
        """The one line of a complaint."""
        assert self.out == "", self.out
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        return self.err


class Learner(Oscillator):
    """The oscillator behind the interface of an estimator: learns nothing, in no time."""

    status = Status("finished", "Trained")
    stop_after = ""
    seen: ClassVar[dict[str, Any]] = {}

    def __init__(self, **options: Any):
        self.options = options
        super().__init__()

    def get_params(self) -> dict[str, Any]:
        return self.options

    def set_params(self, **options: Any) -> None:
        self.options |= options

    def fit(self, data: Any, *, checkpoint: Path, log: Path, **asked: Any) -> Learner:
        type(self).seen = {"options": self.options, "data": data, **asked}
        if self.stop_after == "nothing":
            raise KeyboardInterrupt
        checkpoint.mkdir(exist_ok=True)
        storage.save(checkpoint / "1.safetensors", {}, {"kind": "checkpoint"})
        log.write_text('{"step": 1}\n')
        if self.stop_after == "a checkpoint":
            raise KeyboardInterrupt
        if self.stop_after == "a bug":
            raise RuntimeError("two\nlines")
        self.fit_ = self.fit_.__class__(self.model_, self.status, self.fit_.history)
        return self

    def save(self, path: Path) -> None:
        storage.save(path, {"a": np.ones(2)}, {"class": "Learner"})


@pytest.fixture
def tk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Say:
    """Run a command inside an empty directory; JAX's global flags stay as they are."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tenkai.devices.configure", lambda **options: None)

    def say(*argv: Any) -> Said:
        code = main([str(a) for a in argv])
        return Said(code, *capfd.readouterr())

    return say


@pytest.fixture
def learner(monkeypatch: pytest.MonkeyPatch) -> type[Learner]:
    """Every fit learns the oscillator at once."""
    mine = type("Learner", (Learner,), {})
    monkeypatch.setattr("tenkai.estimators.NeuralODE", mine, raising=False)
    monkeypatch.setattr(
        "tenkai.estimators.load", lambda path: storage.load_model(path) and mine(), raising=False
    )
    return mine


def files(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*")}


# --- help, versions, usage ---


def test_help_and_version(tk: Say) -> None:
    assert tk("--version").out == f"tenkai {tenkai.__version__}\n"
    for argv in (["--help"], [], ["fit", "--help"]):
        answer = tk(*argv)
        assert answer.code == 0
        assert "Usage: tenkai" in answer.out


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from tenkai.cli import main; main(['--help']);"
        "sys.exit(any(m in sys.modules for m in ('jax', 'numpy', 'pandas', 'rich')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0


def test_bad_input_is_answered_without_jax(tmp_path: Path) -> None:
    code = (
        "import sys; from tenkai.cli import main; rc = main(['fit', 'nope.csv']);"
        "sys.exit(10 * ('jax' in sys.modules) + rc)"
    )
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, cwd=tmp_path, capture_output=True, check=False).returncode == 2


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["fit"], "Missing argument"),
        (["fit", "x.csv", "--foo"], "No such option"),
        (["fit", "x.csv", "--members", "many"], "--members"),
        (["walk"], "No such command"),
        (
            ["fit", EXAMPLE, "--model", "oracle"],
            "density; got oracle",
        ),
        (["fit", EXAMPLE, "--positive", "maybe"], "expected auto, yes, no; got maybe"),
        (["fit", EXAMPLE, "--width", "wide"], "at least 1, or \"auto\"; got 'wide'"),
        (["fit", EXAMPLE, "--width", "0"], "--width: expected a whole number of at least 1"),
        (["fit", EXAMPLE, "--augment", "-1"], "--augment: expected a whole number of at least 0"),
        (["fit", EXAMPLE, "--decay", "some"], "--decay: expected a number of at least zero"),
        (["fit", EXAMPLE, "--jacobian", "inf"], "--jacobian: expected a number of at least zero"),
        (["fit", EXAMPLE, "--order", "3"], "--order: expected 1 or 2; got 3"),
        (["fit", EXAMPLE, "--from", "nowhere"], "expected a run directory"),
        (["forecast", "x", "--horizon", "1", "--kind", "true"], "observation or latent; got true"),
        (["equilibria", "nowhere"], "expected a run directory"),
        (["fit", EXAMPLE, "--coverage", "90"], "expected a share between 0 and 1"),
        (["fit", EXAMPLE, "--resume", "--overwrite"], "got both"),
        (["reproduce", "alchemy"], "expected one of"),
        (["reproduce", "--budget", "0"], "expected minutes > 0"),
        (["reproduce", "--data", "nowhere"], "expected a directory"),
    ],
    ids=str,
)
def test_usage_errors_are_one_line(tk: Say, tmp_path: Path, argv: list[Any], words: str) -> None:
    answer = tk(*argv)
    assert answer.code == 2
    assert words in answer.line
    assert files(tmp_path) == set()


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    code = "import sys; from tenkai.cli import main; sys.exit(main(['reproduce', '--list']))"
    run = [sys.executable, "-u", "-c", code]
    with subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait() == 0
        assert process.stderr.read() == b""


# --- bad data: one line, code 2, nothing written ---

ROWS = "".join(f"{t},{np.sin(t):.3f},{np.cos(t):.3f}\n" for t in range(12))
TABLE = "t,a,b\n" + ROWS
BAD_DATA: dict[str, tuple[bytes | str, list[str], str]] = {
    "empty": ("", [], "an empty file"),
    "comments": ("# a\n# b\n", [], "header line"),
    "no such time": (TABLE, ["--time", "year"], "'year'"),
    "no such target": (TABLE, ["--targets", "a,c"], "'c'"),
    "text among numbers": (TABLE + "12,1,o.5\n", [], "'o.5' in line 14"),
    "twice at one time": (TABLE + "11,1,2\n", [], "11"),
    "too short": ("t,a\n0,1\n1,2\n", [], "series"),
    "all missing": (
        "t,a,b\n" + "".join(f"{t},{t % 3},\n" for t in range(9)),
        ["--targets", "a,b"],
        "'b'",
    ),
    "infinity": (TABLE + "12,inf,0\n", [], "inf"),
    "dates": ("t,a\n2024-01-01,1\n2024-13-45,2\n2024-01-03,1\n2024-01-04,3\n", [], "2024-13-45"),
    "binary": (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", [], "binary"),
    "encoding": ("年,兎\n1,2\n".encode("cp932"), [], "Save it as UTF-8"),
    "extra fields": (TABLE + "12,1,2,3\n", [], "line 14"),
    "horizon 0": (TABLE, ["--horizon", "0"], "horizon"),
    "horizon < 0": (TABLE, ["--horizon", "-3"], "horizon"),
    "horizon text": (TABLE, ["--horizon", "soon"], "horizon"),
}


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(tk: Say, tmp_path: Path, case: str) -> None:
    content, options, words = BAD_DATA[case]
    path = tmp_path / "d.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    answer = tk("fit", path, *options)
    assert answer.code == 2
    assert words in answer.line
    assert all(part in answer.err for part in (": expected ", "; got "))
    assert files(tmp_path) == {"d.csv"}


@pytest.mark.parametrize("name", ["nope.csv", "."])
def test_data_that_is_no_file(tk: Say, tmp_path: Path, name: str) -> None:
    assert "expected a file" in tk("fit", name).line
    assert files(tmp_path) == set()


def test_data_larger_than_memory(tk: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tenkai.data.readers.available_memory", lambda: 1000)
    answer = tk("fit", EXAMPLE)
    assert answer.code == 2
    assert "memory" in answer.line
    assert files(tmp_path) == set()


def test_names_cannot_steer_the_terminal(tk: Say, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("t,\x1b[31ma\n0,x\n1,y\n2,z\n")
    assert "\x1b" not in tk("fit", "d.csv", "--targets", "\x1b[31ma").line


def test_bad_input_found_late_leaves_nothing(
    tk: Say, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Refuses(Learner):
        def fit(self, data: Any, **options: Any) -> Learner:
            raise InputError("members", expected="at least 1", got="0", do="pass 1")

    monkeypatch.setattr("tenkai.estimators.NeuralODE", Refuses, raising=False)
    assert tk("fit", EXAMPLE, "--members", "0").line
    assert files(tmp_path) == set()


# --- the run directory ---


def test_fit_writes_a_run(tk: Say, tmp_path: Path, learner: type[Learner]) -> None:
    answer = tk("fit", EXAMPLE, "--seed", "7", "--members", "2", "--horizon", "4")
    assert answer.code == 0
    run = tmp_path / "runs" / "lynx_hare"
    names = "config.json model.safetensors history.jsonl forecast.csv report.html checkpoints"
    assert set(names.split()) == {p.name for p in run.iterdir()}
    assert learner.seen["options"] == {"members": 2, "seed": 7}
    config = json.loads((run / "config.json").read_text())
    assert config["data"]["sha256"] == hashlib.sha256(EXAMPLE.read_bytes()).hexdigest()
    assert config["arguments"]["horizon"] == "4"
    assert config["seed"] == 7
    assert config["versions"]["tenkai"] == tenkai.__version__
    assert config["status"] == {"kind": "finished", "ok": True, "message": "Trained."}
    assert {p.name for p in run.parent.iterdir()} == {"lynx_hare"}


def test_options_reach_the_estimator_and_the_configuration(
    tk: Say, tmp_path: Path, learner: type[Learner]
) -> None:
    said = "--augment auto --order 2 --width 16 --decay auto --jacobian 1e-3 --activation relu"
    assert tk("fit", EXAMPLE, *said.split(), "--positive", "no").code == 0
    expected = {
        "augment": "auto", "order": 2, "width": 16, "decay": "auto", "jacobian": 1e-3,
        "activation": "relu", "seed": 0,
    }  # fmt: skip
    assert learner.seen["options"] == expected | {"positive": False}
    arguments = json.loads((tmp_path / "runs/lynx_hare/config.json").read_text())["arguments"]
    assert arguments.items() >= (expected | {"positive": "no"}).items()


def test_every_option_of_the_network_can_be_typed(tk: Say) -> None:
    from tenkai.estimators import NeuralODE

    in_python_only = {"y0", "field", "residual", "method"}
    said = tk("fit", "--help").out
    names = NeuralODE().get_params().keys() - in_python_only
    assert [n for n in names if f"--{n.replace('_', '-')} " not in said] == []


def test_fit_ends_with_a_short_page(tk: Say, learner: type[Learner]) -> None:
    learner.status = Status("finished", "Trained", notes=("one thing", "another", "one thing"))
    status, one, another, quality, intervals, report = tk("fit", EXAMPLE).out.splitlines()
    assert status == "Finished: Trained."
    assert (one, another) == ("  one thing", "  another")
    assert "best naive forecast (mean, 0.9)" in quality
    assert "17 of 20" in intervals
    assert report == "Report: runs/lynx_hare/report.html"


def test_notes_of_the_data_are_printed_once(
    tk: Say, tmp_path: Path, learner: type[Learner]
) -> None:
    note = "3 rows have no time"

    def noted(self: Learner, *args: Any, **options: Any) -> None:
        self.options = options
        Oscillator.__init__(self, notes=(note,))

    learner.__init__ = noted
    learner.status = Status("finished", "Trained", notes=(note, "another"))
    out = tk("fit", EXAMPLE).out
    assert "another" in out
    assert note not in out


def test_a_poor_forecast_is_visible_and_code_0(tk: Say, learner: type[Learner]) -> None:
    learner.status = Status("poor forecast", "the end was missed", "chaos", "add data")
    answer = tk("fit", EXAMPLE)
    assert answer.code == 0
    headline = "Poor forecast: the end was missed. Cause: chaos. Do: add data."
    assert answer.out.splitlines()[0] == headline


def test_forecast_table_is_long(tk: Say, tmp_path: Path, learner: type[Learner]) -> None:
    tk("fit", EXAMPLE)
    rows = table((tmp_path / "runs/lynx_hare/forecast.csv").read_text())
    assert ",".join(rows[0]) == "series,time,variable,mean,lower,upper,coverage"
    assert len(rows) == 20 * 2
    assert [float(r["mean"]) for r in rows[:2]] == pytest.approx([np.cos(12), -np.sin(12)])


def test_quiet_says_nothing(tk: Say, learner: type[Learner]) -> None:
    answer = tk("fit", EXAMPLE, "--quiet")
    assert (answer.out, answer.err) == ("", "")
    assert learner.seen["progress"] is False


def test_status_that_is_not_ok_is_code_3_with_all_results(
    tk: Say, tmp_path: Path, learner: type[Learner]
) -> None:
    learner.status = Status("stalled", "Stopped early", "the rate", "use more steps", ok=False)
    answer = tk("fit", EXAMPLE, "--quiet")
    assert answer.code == 3
    assert answer.err == "tenkai: Stalled: Stopped early. Cause: the rate. Do: use more steps.\n"
    assert (tmp_path / "runs/lynx_hare/report.html").exists()
    assert tk("fit", EXAMPLE, "--resume").code == 3


def test_an_old_run_is_kept_unless_told(tk: Say, tmp_path: Path, learner: type[Learner]) -> None:
    tk("fit", EXAMPLE)
    before = (tmp_path / "runs/lynx_hare/config.json").read_bytes()
    answer = tk("fit", EXAMPLE, "--seed", "1")
    assert answer.code == 2
    assert "--overwrite" in answer.line
    assert (tmp_path / "runs/lynx_hare/config.json").read_bytes() == before
    assert tk("fit", EXAMPLE, "--seed", "1", "--overwrite").code == 0
    assert json.loads((tmp_path / "runs/lynx_hare/config.json").read_text())["seed"] == 1


def test_what_is_no_run_is_never_replaced(tk: Say, tmp_path: Path, learner: type[Learner]) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    answer = tk("fit", EXAMPLE, "--out", "mine", "--overwrite")
    assert answer.code == 2
    assert "expected a new directory" in answer.line
    assert files(tmp_path) == {"mine", "mine/thesis.tex"}


def test_a_failed_overwrite_brings_the_old_run_back(
    tk: Say, tmp_path: Path, learner: type[Learner]
) -> None:
    tk("fit", EXAMPLE)
    before = files(tmp_path)
    learner.stop_after = "nothing"
    answer = tk("fit", EXAMPLE, "--overwrite")
    assert answer.code == 130
    assert "before there was anything to save" in answer.err
    assert files(tmp_path) == before


def test_stop_and_resume(tk: Say, tmp_path: Path, learner: type[Learner]) -> None:
    learner.stop_after = "a checkpoint"
    answer = tk("fit", EXAMPLE, "--members", "2")
    assert answer.code == 130
    assert "--resume" in answer.err
    learner.stop_after = ""
    assert "--members: expected 2" in tk("fit", EXAMPLE, "--resume").line
    changed = tmp_path / "lynx_hare.csv"
    changed.write_text(EXAMPLE.read_text().rstrip() + "\n1921, 9, 9\n")
    assert "SHA-256" in tk("fit", changed, "--members", "2", "--resume").line
    assert tk("fit", EXAMPLE, "--members", "2", "--resume").code == 0
    finished = tk("fit", EXAMPLE, "--members", "2", "--resume")
    assert finished.code == 0
    assert "is finished" in finished.out


def test_nothing_to_resume(tk: Say, tmp_path: Path) -> None:
    assert "expected a run directory" in tk("fit", EXAMPLE, "--resume").line
    assert files(tmp_path) == set()


def test_our_bugs_have_a_traceback_and_keep_what_was_learned(
    tk: Say, tmp_path: Path, learner: type[Learner]
) -> None:
    learner.stop_after = "a bug"
    answer = tk("fit", EXAMPLE)
    assert answer.code == 1
    assert "Traceback" in answer.err
    assert "issue tracker" in answer.err.splitlines()[-1]
    assert (tmp_path / "runs/lynx_hare/checkpoints/1.safetensors").exists()


# --- going on from a run ---


def test_fit_from_a_run(tk: Say, tmp_path: Path, run: Path, learner: type[Learner]) -> None:
    more = tmp_path / "more.csv"
    more.write_text(EXAMPLE.read_text())
    answer = tk("fit", more, "--from", run, "--steps", "9")
    assert answer.code == 0, answer.err
    assert learner.seen["warm_start"] is True
    assert learner.seen["options"] == {"steps": 9, "seed": 0}
    config = json.loads((tmp_path / "runs/more/config.json").read_text())
    model = run / "model.safetensors"
    assert config["from"] == {
        "path": str(run), "sha256": hashlib.sha256(model.read_bytes()).hexdigest()
    }  # fmt: skip
    assert tk("fit", more, "--from", run, "--steps", "9", "--resume").code == 0
    assert "--from: expected" in tk("fit", more, "--resume", "--steps", "9").line


def test_fit_from_a_run_reads_its_columns(tk: Say, tmp_path: Path, learner: type[Learner]) -> None:
    tk("fit", EXAMPLE, "--targets", "Hare", "--out", "a", "--width", "8")
    assert tk("fit", EXAMPLE, "--from", "a", "--out", "b").code == 0
    assert learner.seen["data"].names == ("Hare",)
    arguments = json.loads((tmp_path / "b/config.json").read_text())["arguments"]
    assert (arguments["targets"], arguments["width"]) == (["Hare"], 8)


def test_fit_from_a_run_refuses_what_it_would_ignore(tk: Say, tmp_path: Path, run: Path) -> None:
    before = files(tmp_path)
    ask = ["fit", EXAMPLE, "--from", run, "--out", "new"]
    assert "--width: expected none" in tk(*ask, "--width", "8").line
    assert "another directory" in tk("fit", EXAMPLE, "--from", run, "--overwrite").line
    assert files(tmp_path) == before
    (run / "model.safetensors").unlink()
    assert "expected a finished run" in tk(*ask).line


# --- questions to a run ---


@pytest.fixture
def run(tk: Say, tmp_path: Path, learner: type[Learner]) -> Path:
    assert tk("fit", EXAMPLE).code == 0
    return tmp_path / "runs" / "lynx_hare"


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_forecast_to_standard_output_or_a_file(tk: Say, tmp_path: Path, run: Path) -> None:
    answer = tk("forecast", run, "--horizon", "4")
    assert answer.code == 0
    assert len(table(answer.out)) == 40
    tk("forecast", run, "--horizon", "4", "--out", "f.csv")
    assert (tmp_path / "f.csv").read_text() == answer.out


@pytest.mark.parametrize("horizon", ["0", "-1", "soon", "nan"])
def test_forecast_horizon_must_be_positive(tk: Say, run: Path, horizon: str) -> None:
    answer = tk("forecast", run, "--horizon", horizon)
    assert answer.code == 2
    assert "horizon" in answer.line


@pytest.mark.parametrize(
    ("content", "words"),
    [("", "got none"), ("time\n2\n1\n", "increasing"), ("time\n1\nx\n", "'x'")],
)
def test_forecast_times_must_be_times(
    tk: Say, tmp_path: Path, run: Path, content: str, words: str
) -> None:
    (tmp_path / "times.csv").write_text(content)
    assert words in tk("forecast", run, "--times", "times.csv").line


def test_forecast_wants_one_of_horizon_and_times(tk: Say, run: Path) -> None:
    assert "got neither" in tk("forecast", run).line
    assert "got both" in tk("forecast", run, "--horizon", "1", "--times", "x").line


def _newer(path: Path) -> None:
    text = path.read_bytes()
    path.write_bytes(text.replace(rb"\"format\": 1", rb"\"format\": 9"))


DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "newer": (_newer, "newer tenkai"),
    "truncated": (lambda p: p.write_bytes(p.read_bytes()[:-9]), "damaged"),
    "cut to a few bytes": (lambda p: p.write_bytes(p.read_bytes()[:20]), "truncated"),
    "random": (lambda p: p.write_bytes(np.random.default_rng(0).bytes(999)), "no safetensors"),
    "missing": (lambda p: p.unlink(), "No such file"),
}


@pytest.mark.parametrize("case", DAMAGE)
@pytest.mark.parametrize(
    "command",
    [["forecast", "--horizon", "3"], ["simulate", "--y0", "x=1,y=0", "--until", "9"], ["report"]],
)
def test_damaged_models(tk: Say, run: Path, case: str, command: list[str]) -> None:
    damage, words = DAMAGE[case]
    damage(run / "model.safetensors")
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    answer = tk(command[0], run, *command[1:])
    assert answer.code == 2
    assert words in answer.line
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before


@pytest.mark.parametrize(
    ("content", "words"), [("{", "damaged"), ("[]", "damaged"), ('{"format": 99}', "newer")]
)
def test_damaged_configuration(tk: Say, run: Path, content: str, words: str) -> None:
    (run / "config.json").write_text(content)
    assert words in tk("forecast", run, "--horizon", "3").line


def test_simulate(tk: Say, run: Path) -> None:
    answer = tk("simulate", run, "--y0", "y=0, x=2", "--until", "3", "--points", "4")
    rows = table(answer.out)
    assert answer.code == 0
    assert [float(r["time"]) for r in rows[::2]] == [0, 1, 2, 3]
    assert [float(r["value"]) for r in rows[::2]] == pytest.approx(2 * np.cos([0, 1, 2, 3]))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--y0", "x=1", "--until", "3"], "none for y"),
        (["--y0", "x=1,y=2,z=3", "--until", "3"], "'z=3'"),
        (["--y0", "x=1,y=two", "--until", "3"], "'two'"),
        (["--y0", "x=1,x=2", "--until", "3"], "'x=2'"),
        (["--y0", "x=1,y=nan", "--until", "3"], "none for y"),
        (["--y0", "x=1,y=2", "--until", "-1"], "a time after"),
        (["--y0", "x=1,y=2", "--until", "later"], "expected numbers"),
        (["--y0", "x=1,y=2", "--until", "3", "--points", "1"], "at least 2"),
    ],
    ids=str,
)
def test_simulate_bad_input(tk: Say, run: Path, options: list[str], words: str) -> None:
    answer = tk("simulate", run, *options)
    assert answer.code == 2
    assert words in answer.line


def test_report_is_written_again(tk: Say, run: Path) -> None:
    (run / "report.html").unlink()
    assert tk("report", run).code == 0
    assert (run / "report.html").exists()


# --- reproduce ---


@pytest.fixture
def papers(monkeypatch: pytest.MonkeyPatch) -> None:
    from tenkai import reproduce

    def pretend(name: str, task: Any) -> Any:
        rows = [reproduce.Row("a", 2.0177, 2.01768, note=f"{task.budget} min")]
        return reproduce.Reproduction(name, rows, 0.1, task.budget)

    monkeypatch.setattr(reproduce, "reproduce", pretend)


def test_reproduce_lists_names_and_titles(tk: Say) -> None:
    assert any(line.startswith("du-euler ") for line in tk("reproduce", "--list").out.splitlines())


def test_reproduce_prints_published_beside_ours(tk: Say, tmp_path: Path, papers: None) -> None:
    answer = tk("reproduce", "du-euler", "--json", "out.json", "--budget", "2")
    assert answer.code == 0
    assert "2.0177  2.01768" in answer.out
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["name"] == "du-euler"
    assert written["budget"] == 2
    assert written["rows"][0]["published"] == 2.0177


def test_reproduce_all_writes_a_list(tk: Say, tmp_path: Path, papers: None) -> None:
    from tenkai import reproduce

    tk("reproduce", "--json", "out.json")
    written = json.loads((tmp_path / "out.json").read_text())
    assert [entry["name"] for entry in written] == reproduce.names()


# --- the whole way, with a real model of a driven system ---


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ``x' = u - x`` with a known input, trained for a moment."""
    folder = tmp_path_factory.mktemp("driven")
    t = np.linspace(0, 6, 8)
    x = (np.sin(t) - np.cos(t) + np.exp(-t)) / 2
    rows = "".join(f"{a},{b:.5f},{c:.5f}\n" for a, b, c in zip(t, x, np.sin(t), strict=True))
    (folder / "d.csv").write_text("t,x,u\n" + rows)
    effort = shlex.split(
        "--members 1 --width 4 --depth 1 --steps 5 --matching-steps 20 --held-out 0"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tenkai.devices.configure", lambda **options: None)
        out = folder / "run"
        code = main(["fit", str(folder / "d.csv"), "--inputs", "u", "--out", str(out), *effort])
    assert code in (0, 3)
    return out


def test_run_with_inputs_is_complete_without_a_forecast(driven: Path) -> None:
    assert (driven / "forecast.csv").read_text().startswith("series,time,variable,mean")
    assert "Network" in (driven / "report.html").read_text(encoding="utf-8")
    stages = [
        json.loads(line)["stage"] for line in (driven / "history.jsonl").read_text().splitlines()
    ]
    assert stages


def test_missing_future_inputs(tk: Say, driven: Path) -> None:
    answer = tk("forecast", driven, "--horizon", "1")
    assert answer.code == 2
    assert "future values of u" in answer.line


@pytest.mark.parametrize("how", ["horizon", "times"])
def test_forecast_with_future_inputs(tk: Say, tmp_path: Path, driven: Path, how: str) -> None:
    (tmp_path / "u.csv").write_text("t,u\n6,0\n6.5,1\n7,2\n8,2\n")
    (tmp_path / "times.csv").write_text("t\n6.25\n7.5\n")
    options = {"horizon": ["--horizon", "1"], "times": ["--times", "times.csv"]}[how]
    answer = tk("forecast", driven, *options, "--inputs", "u.csv")
    assert answer.code == 0, answer.err
    expected = {"horizon": [6.5, 7], "times": [6.25, 7.5]}[how]
    assert [float(row["time"]) for row in table(answer.out)] == expected


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("t,u\n1,0\n2,0\n", "times after 6 and within"),
        ("t,v\n7,0\n8,0\n", "'u'"),
        ("t,u\n7,x\n8,0\n", "'x'"),
        ("t,u\n6.5,\n7,1\n", "at every asked time"),
    ],
)
def test_bad_future_inputs(tk: Say, tmp_path: Path, driven: Path, content: str, words: str) -> None:
    (tmp_path / "u.csv").write_text(content)
    answer = tk("forecast", driven, "--horizon", "1", "--inputs", "u.csv")
    assert answer.code == 2
    assert words in answer.line


def test_forecast_other_data(tk: Say, tmp_path: Path, driven: Path) -> None:
    rows = "".join(f"{t},{0.1 * t},{1}\n" for t in range(5))
    (tmp_path / "new.csv").write_text("t,x,u\n" + rows)
    (tmp_path / "u.csv").write_text("t,u\n5,1\n6,1\n")
    answer = tk("forecast", driven, "new.csv", "--horizon", "2", "--inputs", "u.csv")
    assert answer.code == 0, answer.err
    assert [float(row["time"]) for row in table(answer.out)] == [5, 6]


def test_simulate_with_inputs(tk: Say, tmp_path: Path, driven: Path) -> None:
    (tmp_path / "u.csv").write_text("t,u\n0,0\n9,9\n")
    ask = ["simulate", driven, "--y0", "x=0", "--until", "3", "--points", "3"]
    assert "future values of u" in tk(*ask).line
    rows = table(tk(*ask, "--inputs", "u.csv").out)
    assert [float(row["time"]) for row in rows] == [0, 1.5, 3]


def test_forecast_at_the_times_of_the_inputs(tk: Say, tmp_path: Path, driven: Path) -> None:
    (tmp_path / "u.csv").write_text("t,u\n6.5,0\n7,1\n")
    (tmp_path / "times.csv").write_text("t\n6.6\n6.9\n")
    rows = table(tk("forecast", driven, "--inputs", "u.csv").out)
    assert [float(row["time"]) for row in rows] == [6.5, 7]
    rows = table(tk("forecast", driven, "--inputs", "u.csv", "--times", "times.csv").out)
    assert [float(row["time"]) for row in rows] == [6.6, 6.9]


def test_inputs_between_the_asked_times_count(tk: Say, tmp_path: Path, driven: Path) -> None:
    (tmp_path / "u.csv").write_text("t,u\n0,0\n6.5,9\n7,-9\n7.5,0\n8,0\n")
    (tmp_path / "times.csv").write_text("t\n8\n")
    every = table(tk("forecast", driven, "--inputs", "u.csv").out)
    last = table(tk("forecast", driven, "--inputs", "u.csv", "--times", "times.csv").out)
    assert [row["mean"] for row in last] == [every[-1]["mean"]]
    ask = ["simulate", driven, "--y0", "x=0", "--until", "8", "--inputs", "u.csv"]
    coarse, fine = (table(tk(*ask, "--points", n).out) for n in (2, 17))
    assert float(coarse[-1]["value"]) == pytest.approx(float(fine[-1]["value"]), abs=1e-3)


def test_every_series_has_its_own_inputs_ahead() -> None:
    from tenkai.cli.asking import inputs_ahead
    from tenkai.data import Series, Trajectories

    def series(name: str, t: list[float]) -> Series:
        return Series(name, np.array(t), np.array(t)[:, None] * (1 if name == "a" else -1))

    shown = Trajectories((series("a", [0, 1, 2]), series("b", [0, 1, 2, 3, 4])), ("x",))
    ahead = Trajectories((series("a", [0, 3, 4, 5]), series("b", [0, 3, 5, 6])), ("u",))
    times, inputs = inputs_ahead(ahead, shown, None, None)
    assert {k: list(v) for k, v in times.items()} == {"a": [3, 4, 5], "b": [5, 6]}
    assert [list(u[:, 0]) for u in inputs] == [[3, 4, 5], [-5, -6]]
    times, _ = inputs_ahead(ahead, shown, None, "1")
    assert {k: list(v) for k, v in times.items()} == {"a": [3], "b": [5]}
    alone = Trajectories((series("a", [0, 3, 9]),), ("u",))
    with pytest.raises(InputError, match="'b'"):
        inputs_ahead(alone, shown, None, None)
    anyone = Trajectories((series("forecast", [0, 3, 9]),), ("u",))
    assert list(inputs_ahead(anyone, shown, None, None)[0]) == ["a", "b"]


def test_inputs_that_are_missing_are_asked_for(tk: Say, driven: Path) -> None:
    line = tk("forecast", driven, "--horizon", "1").line
    assert "expected a table of future values of u; got none. Pass --inputs FILE" in line


def test_latent_intervals_are_narrower(tk: Say, tmp_path: Path, driven: Path) -> None:
    (tmp_path / "u.csv").write_text("t,u\n6.5,0\n7,1\n")

    def width(*options: str) -> float:
        row = table(tk("forecast", driven, "--inputs", "u.csv", *options).out)[0]
        return float(row["upper"]) - float(row["lower"])

    assert 0 < width("--kind", "latent") < width()
    assert width("--coverage", "0.5") < width()


def test_equilibria(tk: Say, tmp_path: Path, driven: Path) -> None:
    answer = tk("equilibria", driven, "--inputs", "u=0.5", "--json", "found.json")
    assert answer.code == 0, answer.err
    assert "at u = 0.5" in answer.out.splitlines()[0]
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["inputs"] == {"u": 0.5}
    assert len(found["equilibria"]) == int(answer.out.split()[0].replace("no", "0"))
    assert "'v=1'" in tk("equilibria", driven, "--inputs", "v=1").line


def test_fit_says_how_to_forecast_with_inputs(
    tk: Say, tmp_path: Path, driven: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tenkai.report.html", lambda *args, **options: None)
    data = driven.parent / "d.csv"
    answer = tk("fit", data, "--from", driven, "--out", "more", "--steps", "5")
    assert answer.code in (0, 3), answer.err
    assert "future values of u. Do: tenkai forecast more --inputs FILE" in answer.out
    assert len((tmp_path / "more/forecast.csv").read_text().splitlines()) == 1


def test_report_of_a_run_with_inputs(tk: Say, driven: Path) -> None:
    assert tk("report", driven).code == 0


def test_python_dash_m_is_the_command_line():
    ran = subprocess.run(
        [sys.executable, "-m", "tenkai", "--version"], capture_output=True, text=True
    )
    assert (ran.returncode, ran.stdout.split()[-1]) == (0, tenkai.__version__)
