"""Notebooks of the articles that this project grew from: every paragraph or slide, its command.

``python examples/articles.py`` writes the notebooks and the index beside it. A cell of a notebook
runs an entry of ``tenkai reproduce`` and shows its rows and pictures; with TENKAI_QUICK=1 in the
environment it runs with the small numbers that stand in the cell, as the tests do.
"""

from __future__ import annotations

import importlib
import json
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Step:
    """A place of an article, what is said there, the entry that does it, and small numbers.

    A `long` one is not run where TENKAI_QUICK is set.
    """

    place: str
    what: str
    entry: str
    quick: dict[str, Any] = field(default_factory=dict)
    needs_data: bool = False
    long: bool = False


@dataclass(frozen=True)
class Article:
    """One notebook: file name, title, where it comes from, its steps."""

    file: str
    title: str
    source: str
    steps: tuple[Step, ...]


UNFOLDING = Article(
    "deep-unfolding", "Differential equations, variations and control by deep unfolding",
    "Reading group on T. Wadayama, *Model-based deep learning and deep unfolding* (Morikita, 2023, "
    "in Japanese), report 11: chapter 6.",
    (
        Step("6.2.1", "A rate out of noisy points, by differentiating through Euler's method",
             "du-euler", {"seeds": 2}),
        Step("6.2.1", "Rates of Lotka and Volterra that hold both populations",
             "du-euler-lotka-volterra"),
        Step("6.2.2", "A neural ODE by 200 unfolded Euler steps, four functions", "du-neural-ode",
             {"seeds": 2}),
        Step("6.2.2, asked", "What is universal, and what a second dimension adds",
             "du-universality", {"seeds": 1, "steps": 100, "widths": (4, 16)}),
        Step("6.3.1, asked", "A complete sequence of functions, and where to cut it off",
             "du-rr-basis", {"counts": (4, 8)}),
        Step("6.3.3", "A variational problem by Ritz's method, unfolded", "du-rr"),
        Step("6.3.4", "An ensemble of problems, one drawn for every step", "du-rr-rand",
             {"seeds": 1}),
        Step("6.3.6", "Optimal control with a free end, and Riccati's equation",
             "du-optimal-control", {"seeds": 1, "dims": (4,)}),
        Step("5.4", "A feedback that stabilises, learned through 500 steps", "du-stabilise"),
        Step("6.4.2", "The same in noise, through Euler-Maruyama; why it does not settle at zero",
             "du-stabilise-sde", {"seeds": 1, "paths": 500}),
    ),
)  # fmt: skip

FUNCTIONS = Article(
    "function-approximation", "Learning the exponential function",
    "An introduction to Chainer by approximating a function (in Japanese, 2016).",
    (
        Step("network and training", "1-16-32-1 with leaky ReLU, fresh batches of 100",
             "function-exp", {"seeds": 2, "steps": 300, "default_steps": 200}),
        Step("backpropagation by hand", "One linear layer: gradients by hand and automatic",
             "linear-backprop", {"steps": 40, "seeds": 3}),
    ),
)  # fmt: skip

FLOWS = Article(
    "neural-ode-and-ffjord", "Neural ordinary differential equations and FFJORD",
    "Slides of a reading group on Chen et al. 2018 and Grathwohl et al. 2019 (in Japanese, 2019).",
    (
        Step("slides 3–5", "Solvers: Euler's steps, and the order of every method", "ode-solvers"),
        Step("slides 6–10", "Residual networks and Euler's method", "resnet-vs-odenet"),
        Step("slides 12–14", "Memory of a gradient, for every way back", "ode-memory",
             {"counts": (16, 64), "rows": 32, "dim": 8, "width": 8}),
        Step("slide 15", "MNIST: error, parameters, memory, NFE", "odenet-mnist", long=True),
        Step("slide 16", "What the solver does, forwards and back", "odenet-figures", long=True),
        Step("slide 18", "A continuous planar flow costs O(M)", "cnf-cost",
             {"units": (2, 4), "large": 2}),
        Step("slide 19", "Density matching", "cnf-density-matching",
             {"sizes": (2,), "steps": {"CNF": 30, "NF": 30}}),
        Step("slide 20", "Two circles by maximum likelihood", "cnf-two-circles",
             {"size": 4, "steps": {"CNF": 30, "NF": 60}}),
        Step("slide 20", "Two moons by maximum likelihood", "cnf-two-moons",
             {"size": 4, "steps": {"CNF": 30, "NF": 60}}),
        Step("slides 21–23", "Irregular series: spirals both ways", "latent-ode-spiral", long=True),
        Step("slide 21", "Irregular series: a hopping robot", "latent-ode-hopper",
             needs_data=True),
        Step("slide 21", "Irregular series: intensive care", "latent-ode-physionet",
             needs_data=True),
        Step("slides 28–30", "The price of log-det, exact trace and Hutchinson's estimate",
             "flow-complexity",
             {"dims": (8, 16), "large": (8, 16), "draws": 200, "dim": 4, "repeats": 1}),
        Step("slide 31", "Eight densities of the plane", "ffjord-toy", long=True),
        Step("slide 32", "Tables", "ffjord-tabular", needs_data=True),
        Step("slide 32", "Images", "ffjord-images", long=True),
        Step("slide 33", "Variational autoencoders", "ffjord-vae", needs_data=True),
        Step("slide 34", "The bottleneck trick", "ffjord-bottleneck", long=True),
        Step("slide 35", "Evaluations against the dimension", "ffjord-nfe-dimension",
             needs_data=True),
        Step("slide 36", "Multi-scale flows", "ffjord-multiscale", long=True),
        Step("slides 37–38", "What limits continuous flows", "ffjord-limits", long=True),
        Step("slide 41", "Uniqueness: the Lipschitz constant of a learned field", "ode-uniqueness",
             {"steps": 20, "count": 16}),
    ),
)  # fmt: skip

MANIFOLDS = Article(
    "kernel-regression", "Unsupervised kernel regression",
    "Automatic differentiation with JAX for unsupervised kernel regression (in Japanese, 2020).",
    (
        Step("training", "The saddle: latent map, surface, history", "ukr-saddle",
             {"rows": 60, "seeds": 2, "steps": 80, "epochs": 20}),
        Step("beyond it", "Oil flow: three classes in two dimensions", "ukr-oilflow",
             needs_data=True),
    ),
)  # fmt: skip

OPTIMISERS = Article(
    "optimisers", "Explicit optimisers",
    "An introduction to Optimisers.jl (in Japanese, 2022).",
    (
        Step("training", "An affine map by gradient descent", "optimisers-affine",
             {"seeds": 3, "epochs": 100}),
    ),
)  # fmt: skip

ARTICLES = (UNFOLDING, FUNCTIONS, FLOWS, MANIFOLDS, OPTIMISERS)


def show(entry: str, /, long: bool = False, **quick: Any) -> None:
    """Run an entry of ``tenkai reproduce``, print its rows, show its pictures.

    TENKAI_DATA names the folder of data sets; `quick` are its knobs where TENKAI_QUICK is set, and
    a `long` one is left out there.
    """
    if long and os.environ.get("TENKAI_QUICK"):
        print(f"{entry}: left out of a quick run")
        return
    from IPython.display import Image, display

    from tenkai.reproduce import Task, table

    data = os.environ.get("TENKAI_DATA")
    knobs = quick if os.environ.get("TENKAI_QUICK") else {}
    module = importlib.import_module("tenkai.reproduce." + entry.replace("-", "_"))
    with tempfile.TemporaryDirectory() as folder:
        task = Task(out=Path(folder), data=Path(data) if data and not knobs else None)
        print(table(module.run(task, **knobs)))
        for picture in sorted(Path(folder).rglob("*.png")):
            display(Image(picture.read_bytes(), width=900))


def notebook(article: Article) -> dict[str, Any]:
    """The notebook as Jupyter's JSON (format 4.5), without outputs."""
    cells = [_text("begin", f"# {article.title}\n\n{article.source}\n\nMade by `articles.py`.")]
    cells.append(_code("import", "from articles import show"))
    for i, step in enumerate(article.steps):
        note = "\n\nNeeds data: set TENKAI_DATA." if step.needs_data else ""
        command = f"`tenkai reproduce {step.entry} --figures pictures`"
        words = f"## {step.place}: {step.what}\n\n{command}{note}"
        knobs = "".join(f", {k}={v!r}" for k, v in step.quick.items()).replace("'", '"')
        knobs += ", long=True" * step.long
        call = f'show("{step.entry}"{knobs})'
        if step.needs_data:
            call = f'if "TENKAI_DATA" in os.environ:\n    {call}'
        cells += [_text(f"words-{i}", words), _code(f"run-{i}", call)]
    if any(step.needs_data for step in article.steps):
        cells[1]["source"] = "import os\n\nfrom articles import show"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": cells, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4, "nbformat_minor": 5,
    }  # fmt: skip


def _text(name: str, source: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": source}


def _code(name: str, source: str) -> dict[str, Any]:
    return {
        "cell_type": "code", "execution_count": None, "id": name, "metadata": {}, "outputs": [],
        "source": source,
    }  # fmt: skip


def index() -> str:
    """The page that leads from a paragraph or a slide to its command and its notebook."""
    parts = [
        "# From the articles to the commands\n",
        "Every command prints what was published beside what we get, and draws with "
        "`--figures pictures`. Those marked * need data, `--data DIR`. The notebooks run the same "
        "(`pip install notebook`); this page and they are made by `python examples/articles.py`.\n",
    ]
    for article in ARTICLES:
        parts.append(f"## [{article.title}]({article.file}.ipynb)\n\n{article.source}\n")
        parts.append("| where | what | command |\n|---|---|---|")
        for s in article.steps:
            star = " *" if s.needs_data else ""
            parts.append(f"| {s.place} | {s.what} | `tenkai reproduce {s.entry}`{star} |")
        parts.append("")
    return "\n".join(parts)


def files() -> dict[str, str]:
    """All generated files by name."""
    made = {
        f"{a.file}.ipynb": json.dumps(notebook(a), indent=1, ensure_ascii=False) + "\n"
        for a in ARTICLES
    }
    return made | {"README.md": index()}


if __name__ == "__main__":
    for name, text in files().items():
        (HERE / name).write_text(text, encoding="utf-8")
