"""`--model density`: fit a table, draw from it, score other rows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import InputError
from .commands import app
from .folder import Run
from .models import model_of
from .options import NoCache, RunPath

if TYPE_CHECKING:
    import numpy as np

    from ..data.tables import Table

_DRAWN = 1000  # rows of samples.csv


def read(request: Any) -> Table:
    """The rows, before JAX is imported: bad input is answered at once."""
    from ..data.tables import read_table

    return read_table(request.data, request.roles["columns"], request.roles["context"])


def learn(request: Any, run: Run, data: Table, config: dict[str, Any], quiet: bool) -> int:
    """Fit, write model, samples and report, say how good it is."""
    import numpy as np

    from ..devices import configure

    configure(devices=config["arguments"]["devices"], cache=request.cache)
    from .. import estimators, flows, report
    from .training import ended

    options = request.estimator_options
    if "flow" in options:
        options["flow"] = getattr(flows, options["flow"])()
    density = getattr(estimators, request.known.estimator)(**options)
    density.fit(
        data.rows, context=data.context, log=run.history, checkpoint=run.checkpoints,
        progress=not quiet,
    )  # fmt: skip
    density.save(run.model)
    known = None
    if data.context is not None:  # contexts as in the data
        at = np.random.default_rng(density.seed).integers(len(data.rows), size=_DRAWN)
        known = data.context.iloc[at]
    write_draws(density, density.sample(_DRAWN, known), known, run.samples)
    report.html(density, run.report)
    return ended(density, run, config, _page(density, run), quiet)


def _page(density: Any, run: Run) -> list[str]:
    """Lines for standard output."""
    from .page import headline

    status, held = density.fit_.status, density.held_out_
    told = [headline(status)] if status.ok else []
    if held is not None:
        told.append(f"Log density of {held.rows:,} held-out rows, nats per row:")
        told.append(f"  {'this flow':<18} {held.mean:10.4f} ± {held.error:.2g}")
        told += [f"  {b.name:<18} {b.mean:10.4f}   ({b.chosen})" for b in held.beside]
    told += [f"Note: {note}" for note in status.notes]
    return [*told, f"Samples: {run.samples}", f"Report: {run.report}"]


def write_draws(density: Any, rows: np.ndarray, context: Any, out: Any) -> None:
    """Rows as a CSV table, their contexts in front."""
    import numpy as np
    import pandas as pd

    table = pd.DataFrame(rows, columns=list(density.names_))
    if context is not None:
        known = pd.DataFrame(np.asarray(context), columns=list(density.context_names_))
        table = pd.concat([known, table], axis="columns")
    table.to_csv(out, index=False)


def draw(run: Path, rows: int | None, given: Path | None, seed: int | None, out: Path | None,
         *, cache: bool) -> None:  # fmt: skip
    """`tenkai simulate` of a density: rows drawn from it, one for each given context."""
    from .asking import load, save_table

    density = load(Run(run), cache)
    names = density.context_names_
    if (given is not None) != bool(names):
        raise InputError(
            "--inputs", expected=f"a table of {', '.join(names)}" if names else "none",
            got="none" if names else str(given),
            do="pass --inputs FILE, one row for each draw" if names else "leave it away",
        )  # fmt: skip
    known, count = None, 1000 if rows is None else rows
    if given is not None:
        from ..data.tables import read_table

        known = read_table(given, names).rows
        if rows is not None:
            raise InputError(
                "--rows", expected="none: one row is drawn for each of --inputs", got=str(rows),
                do="leave it away",
            )  # fmt: skip
        count = len(known)
    if count < 1:
        raise InputError("--rows", expected="at least 1", got=str(count), do="pass more")
    drawn = density.sample(count, known, seed=seed)
    save_table(lambda target: write_draws(density, drawn, known, target), out)


def refuse_others(arguments: dict[str, Any], allowed: Sequence[str] = ("density",)) -> None:
    """`InputError` for a run of another kind of model."""
    if arguments["model"] not in allowed:
        raise InputError(
            "run", expected=f"one of {', '.join(allowed)}", got=f"one of {arguments['model']}",
            do="pass another run",
        )  # fmt: skip


@app.command()
def score(
    run: RunPath,
    data: Annotated[Path, typer.Argument(metavar="DATA", help="CSV, TSV or Parquet file.")],
    out: Annotated[Path | None, typer.Option(help="CSV file. [default: standard output]")] = None,
    no_cache: NoCache = False,
) -> None:
    """density: the log density of every row of DATA, in nats."""
    arguments = Run(run).read()["arguments"]
    model_of(arguments)
    refuse_others(arguments)
    from ..data.tables import read_table
    from .asking import load, save_table

    density = load(Run(run), not no_cache)
    names, known = density.names_, density.context_names_
    table = read_table(data, names, known)
    logs = density.score_samples(table.rows, table.context)
    print(f"Mean log density of {len(logs):,} rows: {logs.mean():.6g} nats", file=sys.stderr)
    import pandas as pd

    made = pd.DataFrame({"row": range(len(logs)), "log_density": logs})
    save_table(lambda target: made.to_csv(target, index=False), out)
