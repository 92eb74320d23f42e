"""What `tenkai fit` prints at its end: how it ended, why, how good it is, where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .folder import Run

if TYPE_CHECKING:
    from ..records import Status


def headline(status: Status) -> str:
    """The status in a line that begins with its kind."""
    text = str(status)
    if text.lower().startswith(status.kind.lower()):
        return text[:1].upper() + text[1:]
    return f"{status.kind[:1].upper()}{status.kind[1:]}: {text}"


def page(estimator: Any, run: Run) -> list[str]:
    """Lines for standard output; the headline of a fit that is not good went to the errors."""
    from ..report import verdict

    status, data = estimator.fit_.status, estimator.data_
    told = [headline(status)] if status.ok else []
    said = set(data.notes)  # printed before the fit
    told += [f"  {note}" for note in dict.fromkeys(status.notes) if note not in said]
    told += map(str, verdict(estimator))
    if data.n_inputs:
        told.append(
            f"No forecast yet: it needs future values of {', '.join(data.input_names)}. "
            f"Do: tenkai forecast {run.path} --inputs FILE"
        )
    return [*told, f"Report: {run.report}"]
