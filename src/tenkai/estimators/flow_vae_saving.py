"""The file of a `FlowVAE`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from .. import unfold
from ..devices import arithmetic
from ..errors import InputError
from ..flows import continuous, divergence, vae
from ..flows.vae.evaluation import HeldOutELBO
from ..flows.vae.learning import Design, build
from ..flows.vae.table import Columns
from ..solve import adams
from ..storage import save_model, unflatten
from .flow_vae import FlowVAE
from .saving import fit_from, fit_words

_KNOWN = (vae, divergence, continuous, adams, unfold)  # where the parts of a family are from


def save(model: FlowVAE, path: Path | str) -> None:
    """Write the model file of a fitted `FlowVAE`."""
    made = model.fit_
    words = in_words(model.flow)  # refused before anything is written
    save_model(
        path, {"model": model.model_, "shown": model.shown_}, class_name="FlowVAE",
        arguments=model.get_params() | {"flow": words}, names=model.columns_.names,
        columns=model.columns_.to_dict(), design=in_words(model.design_),
        held_out=dataclasses.asdict(model.held_out_),
        fit=fit_words(made),
    )  # fmt: skip


def read(path: Path | str, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> FlowVAE:
    """The estimator that the file holds."""
    arguments = meta["arguments"]
    made = FlowVAE(**(arguments | {"flow": from_words(arguments["flow"], path)}))
    made.columns_ = columns = Columns.from_dict(meta["columns"])
    made.design_ = design = from_words(meta["design"], path)
    with arithmetic(made.precision):
        model = eqx.filter_eval_shape(lambda: build(np.zeros((2, columns.dim)), columns, design))
        named = {k.removeprefix("model."): v for k, v in arrays.items() if k != "shown"}
        made.model_ = unflatten(model, named, f"file {path}")
    made.shown_ = arrays["shown"]
    made.held_out_ = HeldOutELBO(**meta["held_out"])
    made.n_features_in_ = columns.dim
    fit = meta["fit"]
    made.seconds_ = fit["seconds"]
    made.fit_ = fit_from(fit, made.model_)
    return made


def in_words(part: Any) -> Any:
    """A frozen dataclass and those within it as JSON: the name of the class, then its fields."""
    if isinstance(part, tuple | list):
        return [in_words(p) for p in part]
    if not dataclasses.is_dataclass(part):
        if part is None or isinstance(part, bool | int | float | str):
            return part
        raise InputError(
            "save", expected="a posterior of plain numbers and parts of tenkai",
            got=f"{part!r}", do="fit with parts of tenkai; solve adaptively after loading",
        )  # fmt: skip
    fields = {f.name: in_words(getattr(part, f.name)) for f in dataclasses.fields(part)}
    return {"class": type(part).__name__, **fields}


def from_words(words: Any, path: Path | str) -> Any:
    """What `in_words` wrote. Only classes of the flows' own rooms are made; no code is run."""
    if isinstance(words, list):
        return tuple(from_words(w, path) for w in words)
    if not isinstance(words, dict):
        return words
    name = words["class"]
    kinds = [Design, *(getattr(room, name, None) for room in _KNOWN)]
    for kind in kinds:
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__name__ == name:
            return kind(**{k: from_words(w, path) for k, w in words.items() if k != "class"})
    raise InputError(
        f"file {path}", expected="a posterior that this tenkai knows", got=repr(name),
        do="upgrade tenkai",
    )  # fmt: skip
