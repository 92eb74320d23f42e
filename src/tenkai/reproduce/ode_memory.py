"""Memory of a gradient against the number of steps, for every way back through a solve.

Toyama, Neural ordinary differential equations (in Japanese), Deep Learning JP, 2019, slide 12;
Chen et al. 2018, table 1: backpropagation through L steps keeps O(L), the continuous adjoint O(1).
Between them stand O(sqrt L) by segments (Chen et al. 2016) and binomial checkpoints (Stumm and
Walther 2010, diffrax's default). Measured are the temporary bytes of the compiled gradient.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ..devices import arithmetic
from ..fields import NeuralField
from ..profile import Problem
from ..profile.clock import least_time
from ..profile.gradients import CONTINUOUS, POLICIES, RECURSIVE, Backwards
from ..profile.reference import Reference
from ..unfold import MIDPOINT
from . import Row, Task

ROWS, DIM, WIDTH = 64, 32, 32
COUNTS = (16, 128, 512, 2048)
# What theory says of the slope of log bytes against log steps; diffrax's own choice of the number
# of checkpoints is not published as a power.
THEORY = {
    "store": 1.0,
    "recompute field": 1.0,
    "recompute step": 1.0,
    "segments": 0.5,
    RECURSIVE: None,
    CONTINUOUS: 0.0,
}
_NOTES = {RECURSIVE: "diffrax chooses how many", CONTINUOUS: "theory; the grid's own times grow"}


@dataclass(frozen=True)
class Course:
    """Bytes (counts,) of one way back, and the seconds of a gradient with the most steps."""

    steps: np.ndarray
    bytes: Float[np.ndarray, " counts"]
    seconds: float

    @property
    def slope(self) -> float:
        """Of log bytes against log steps between the two largest counts."""
        last = slice(-2, None)
        return float(np.diff(np.log(self.bytes[last]))[0] / np.diff(np.log(self.steps[last]))[0])


def gradients(rows: int, dim: int, width: int) -> Backwards:
    """Of a network with two hidden layers, all `rows` solved as one system."""
    random = np.random.default_rng(0)
    field = NeuralField(dim, key=random, width=width, depth=2)
    problem = Problem(field, random.normal(size=(rows, dim)), np.array([0.0, 1.0]), points=1)
    return Backwards(problem, Reference(problem.y0[None], np.ones(dim), 0.0, None), "float32")


def program(back: Backwards, name: str, steps: int) -> Any:
    """The compiled gradient through `steps` steps of the midpoint method."""
    if name == CONTINUOUS:
        return back.continuous(method=MIDPOINT, substeps=steps)
    if name in POLICIES:
        return back.through(method=MIDPOINT, substeps=steps, memory=POLICIES[name])
    import diffrax

    grid = diffrax.StepTo(np.linspace(0, 1, steps + 1, dtype=np.float32))
    return back.through(method=diffrax.Midpoint(), controller=grid, max_steps=steps)


def course(back: Backwards, name: str, counts: Sequence[int]) -> Course:
    """Bytes for every count."""
    with arithmetic("float32"):
        programs = [program(back, name, steps) for steps in counts]
        made = [run.memory_analysis().temp_size_in_bytes for run in programs]
        seconds = least_time(lambda: programs[-1](back.params, back.y0), 0.5)
    return Course(np.array(counts), np.array(made, float), seconds)


def run(
    task: Task = Task(), *, counts: Sequence[int] = COUNTS, rows: int = ROWS, dim: int = DIM,
    width: int = WIDTH,
) -> list[Row]:  # fmt: skip
    """Slopes beside those of theory, bytes and seconds with the most steps; a picture."""
    begun = time.perf_counter()
    back = gradients(rows, dim, width)
    found = {name: course(back, name, counts) for name in THEORY}
    if task.out is not None:
        draw(found, task.out / "ode-memory.png")
    few, most = counts[-2], counts[-1]
    slopes = [
        Row(f"slope of log bytes, {few} to {most} steps: {name}", THEORY[name], of.slope,
            note=_NOTES.get(name, "theory"))
        for name, of in found.items()
    ]  # fmt: skip
    sizes = [
        Row(f"{name}, {most} steps", None, of.bytes[-1] / 1e6, unit="MB",
            note=f"{1e3 * of.seconds:.3g} ms a gradient")
        for name, of in found.items()
    ]  # fmt: skip
    spent = time.perf_counter() - begun
    note = f"{rows} rows of {dim} variables, network {dim}-{width}-{width}-{dim}, midpoint method"
    return [*slopes, *sizes, Row("time of it all", None, spent, unit="s", note=note)]


def draw(found: dict[str, Course], file: Path) -> None:
    """Bytes against steps on logarithmic axes."""
    from ..report.axes import dress, new_figure
    from ..report.fonts import lettering
    from ..report.palette import colour

    with lettering():
        figure = new_figure(7.2, 4.2)
        ax = figure.add_subplot()
        for i, (name, of) in enumerate(found.items()):
            label = f"{name}: slope {of.slope:.2f}"
            ax.loglog(of.steps, of.bytes / 1e6, marker="osD^vP"[i], ms=5, color=colour(i),
                      label=label)  # fmt: skip
        dress(ax, title="Memory of a gradient", x="steps", y="MB", legend=False)
        ax.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1, 0.5))
        figure.savefig(file, dpi=200)
