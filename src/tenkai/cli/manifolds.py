"""`--model ukr`: latents of a table's rows, and `tenkai predict` of other rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import rows
from .folder import Run

if TYPE_CHECKING:
    from ..data.tables import Table


def read(request: Any) -> Table:
    """The rows, before JAX is imported: bad input is answered at once. Gaps are unobserved."""
    from ..data.tables import read_table

    return read_table(request.data, request.roles["columns"], gaps=True)


def learn(request: Any, run: Run, data: Table, config: dict[str, Any], quiet: bool) -> int:
    """Fit, write model and report, say how good it is."""
    return rows.learn(request, run, config, quiet, (data.rows,), _options, verdicts=True)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    named = {"latent": "n_components"}
    return {named.get(name, name): value for name, value in given.items()}


def predict(run: Path, data: Path | None, out: Path | None, *, cache: bool) -> None:
    """Latents and reconstruction of every row as CSV; without data those of the learned rows.

    Of the learned rows the latents are the trained ones.
    """
    import pandas as pd

    from ..data.tables import read_table
    from .asking import load, save_table

    model = load(Run(run), cache)
    names = model.feature_names_in_.tolist()
    if data is None:
        z = model.embedding_
    else:
        z = model.transform(read_table(data, names, gaps=True).rows)
    made = model.inverse_transform(z)
    table = pd.DataFrame({"row": range(len(z))})
    for j in range(z.shape[1]):
        table[f"z{j + 1}"] = z[:, j]
    for j, name in enumerate(names):
        table[f"{name} reconstructed"] = made[:, j]
    save_table(lambda target: table.to_csv(target, index=False), out)
