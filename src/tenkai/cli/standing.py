"""`tenkai equilibria`: where a learned flow stands still, as a table or as numbers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .asking import load, parse_state
from .folder import Run, write_json
from .models import model_of, refuse_rows

if TYPE_CHECKING:
    from ..records import Equilibria


def equilibria(run: Path, inputs: str | None, out: Path | None, *, cache: bool) -> None:
    """Print what was found; write it to a file where one is given."""
    folder = Run(run)
    arguments = folder.read()["arguments"]
    refuse_rows(arguments["model"], f"run {str(run)!r}")
    if not model_of(arguments).flows:
        raise InputError(
            f"run {str(run)!r}", expected="a flow without noise",
            got=f"a run of {arguments['model']}, which settles to a law and not to a point",
            do=f"see the stationary law in {folder.report}",
        )  # fmt: skip
    estimator = load(folder, cache)
    names = (*estimator.data_.input_names, *estimator.data_.static_names)
    if inputs is not None and not names:
        raise InputError(
            "--inputs", expected="none: the model was learned without", got=repr(inputs),
            do="leave it away",
        )  # fmt: skip
    found = estimator.equilibria(None if inputs is None else parse_state(inputs, names, "--inputs"))
    print(found)
    if out is not None:
        write_json(out, numbers(found))


def numbers(found: Equilibria) -> dict[str, Any]:
    """Plain numbers: places by variable, eigenvalues as [real, imaginary]; null if not finite."""

    def place(values: Any) -> dict[str, float | None]:
        return dict(zip(found.names, map(_number, values), strict=True))

    return {
        "inputs": found.inputs,
        "rates": found.rate_unit,
        "trusted_members": int(found.trusted),
        "equilibria": [
            {
                "kind": e.kind, "stable": _maybe(e.stable), "point": place(e.point),
                "spread": place(e.spread),
                "eigenvalues": [[_number(v.real), _number(v.imag)] for v in e.eigenvalues],
                "members": int(e.members), "inside": bool(e.inside),
                "distance": _number(e.distance),
            }
            for e in found
        ],
        "cycles": [
            {
                "stable": _maybe(c.stable), "period": _number(c.period),
                "spread": _number(c.period_spread), "members": int(c.members),
                "inside": bool(c.inside), "orbit": [place(state) for state in c.orbit],
            }
            for c in found.cycles
        ],
        "notes": list(found.notes),
    }  # fmt: skip


def _number(value: Any) -> float | None:
    return float(value) if np.isfinite(value) else None


def _maybe(value: Any) -> bool | None:
    return None if value is None else bool(value)
