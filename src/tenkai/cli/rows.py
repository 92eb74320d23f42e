"""Models of a table's rows: how their fits begin and end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .folder import Run


def learn(
    request: Any, run: Run, config: dict[str, Any], quiet: bool, given: tuple,
    options: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    verdicts: bool = False,
) -> int:  # fmt: skip
    """Fit to what is `given`, write model and report, say how good it is.

    `options` turns those of the command line into the estimator's; `verdicts` are the report's.
    """
    from ..devices import configure

    configure(devices=config["arguments"]["devices"], cache=request.cache)
    from .. import estimators, report
    from .page import headline
    from .training import ended

    made = getattr(estimators, request.known.estimator)(**options(request.estimator_options))
    made.fit(*given, log=run.history, checkpoint=run.checkpoints, progress=not quiet)
    made.save(run.model)
    report.html(made, run.report)
    status = made.fit_.status
    lines = [headline(status)] if status.ok else []
    lines += [f"Note: {note}" for note in status.notes]
    lines += map(str, report.verdict(made)) if verdicts else ()
    return ended(made, run, config, [*lines, f"Report: {run.report}"], quiet)
