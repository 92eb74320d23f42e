"""What a run shows while it works: a bar, plain lines, a live picture, and the log file."""

from __future__ import annotations

import json
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_LINE_SECONDS = 1.0


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this process."""
    return "ipykernel" in sys.modules


class Progress:
    """A bar on a terminal or in a notebook; plain lines where output is piped; or nothing."""

    def __init__(self, show: bool | None, live_every: int | None, stage: str, steps: int):
        self.stage, self.steps = stage, steps
        screen = sys.stderr.isatty() or in_notebook()
        self.lines = bool(show) and not screen
        self.bar: Any = _bar(stage, steps) if screen and show is not False else None
        self.live = Live(live_every) if live_every and in_notebook() else None
        self._next_line = 0.0

    def at(self, step: int) -> None:
        """Move on to a step."""
        if self.bar is not None:
            self.bar.update(step - self.bar.n)

    def report(self, history: Sequence[dict[str, Any]]) -> None:
        """Show the newest entry of the history."""
        entry = history[-1]
        words = {k: f"{entry[k]:.4g}" for k in ("loss", "validation") if entry[k] is not None}
        if self.bar is not None:
            self.bar.set_postfix(words)
            if entry["event"]:
                self.bar.write(f"{self.stage}, step {entry['step']}: {entry['event']}", sys.stderr)
        last = entry["step"] >= self.steps
        if self.lines and (time.monotonic() >= self._next_line or last or entry["event"]):
            self._next_line = time.monotonic() + _LINE_SECONDS
            said = [f"{name} {value}" for name, value in words.items()] + [entry["event"] or ""]
            line = f"{self.stage}: step {entry['step']}/{self.steps} {' '.join(said)}"
            print(line.rstrip(), file=sys.stderr, flush=True)
        if self.live is not None:
            self.live.report(history)

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self.bar is not None:
            self.bar.close()


def _bar(stage: str, steps: int) -> Any:
    with warnings.catch_warnings():  # tqdm warns where a notebook has no widgets, and works
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

        return tqdm(total=steps, desc=stage, unit="step", leave=False)


class Live:
    """The loss so far as a picture that replaces itself in the notebook."""

    def __init__(self, every: int):
        self.every = every
        self.handle: Any = None

    def report(self, history: Sequence[dict[str, Any]]) -> None:
        """Draw every so many intervals."""
        if len(history) % self.every:
            return
        from IPython.display import display  # type: ignore[import-not-found]
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 3), layout="constrained")
        axes = figure.subplots()
        for name in ("loss", "validation"):
            points = [(h["step"], h[name]) for h in history if h[name] is not None]
            if points:
                axes.plot(*zip(*points, strict=True), label=name)
        axes.set(xlabel="step", yscale="log" if _positive(history) else "linear")
        axes.legend()
        if self.handle is None:
            self.handle = display(figure, display_id=True)
        else:
            self.handle.update(figure)


def _positive(history: Sequence[dict[str, Any]]) -> bool:
    values = [h[name] for h in history for name in ("loss", "validation")]
    return all(v > 0 for v in values if v is not None)


class Log:
    """``history.jsonl``: one line per interval, appended; without a path it does nothing."""

    def __init__(self, path: Path | str | None):
        self.path = None if path is None else Path(path)
        self.length = 0
        self._written = 0

    def begin(self, history: Sequence[dict[str, Any]], length: int) -> None:
        """Append to what is there; of a run that resumes (`length` >= 0) later lines are cut."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            if 0 <= length <= file.tell():
                file.truncate(length)
                self._written = len(history)
            self.length = file.seek(0, 2)
        self.write(history)

    def write(self, history: Sequence[dict[str, Any]]) -> None:
        """Append the entries that are not in the file yet."""
        if self.path is None or self._written == len(history):
            return
        lines = "".join(json.dumps(entry) + "\n" for entry in history[self._written :])
        with self.path.open("ab") as file:
            file.write(lines.encode())
            self.length = file.tell()
        self._written = len(history)
