"""The file of an `ODERNN`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import equinox as eqx
import numpy as np

from ..data import Scaler
from ..devices import arithmetic
from ..sequences.recurrent import build
from ..sequences.recurrent_evaluation import HeldOutSeries
from ..sequences.recurrent_rows import Reader
from ..sequences.units import Units
from ..storage import save_model, unflatten
from ..unfold import TABLEAUX
from .ode_rnn import ODERNN
from .saving import arrays_of, data_of, description, fit_from, fit_words


def save(rnn: ODERNN, path: Path | str) -> None:
    """Write the model file of a fitted `ODERNN`."""
    data, made, reader = rnn.data_, rnn.fit_, rnn.reader_
    arrays: dict[str, Any] = {"model": rnn.model_, "series": [arrays_of(s) for s in data]}
    if rnn.labels_ is not None:
        arrays["labels"] = rnn.labels_
    save_model(
        path, arrays,
        class_name="ODERNN", arguments=rnn.get_params() | {"method": rnn.method.name},
        names=data.names, data=description(data),
        scaling={"state": reader.units.state.to_dict(), "span": reader.units.span,
                 "every": reader.every},
        classes=None if rnn.classes_ is None else rnn.classes_.tolist(), filled=rnn.filled_,
        held_out=None if rnn.held_out_ is None else dataclasses.asdict(rnn.held_out_),
        fit=fit_words(made),
    )  # fmt: skip


def read(path: Path | str, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> ODERNN:
    """The estimator that the file holds."""
    arguments, scaling = meta["arguments"], meta["scaling"]
    rnn = ODERNN(**(arguments | {"method": TABLEAUX[arguments["method"]]}))
    rnn.data_ = data = data_of(arrays, meta)
    rnn.names_ = data.names
    rnn.classes_ = None if meta["classes"] is None else np.array(meta["classes"])
    rnn.labels_ = arrays.get("labels")
    rnn.reader_ = Reader(Units(Scaler.from_dict(scaling["state"]), scaling["span"]),
                         scaling["every"])  # fmt: skip
    stored = {k.removeprefix("model."): v for k, v in arrays.items() if k.startswith("model.")}
    with arithmetic(rnn.precision):
        template = eqx.filter_eval_shape(
            lambda: build(
                rnn.cell, data.dim, hidden=rnn.hidden, width=rnn.width, depth=rnn.depth,
                tableau=rnn.method, substeps=rnn.substeps, sides=2 if rnn.sides == "both" else 1,
                classes=0 if rnn.classes_ is None else len(rnn.classes_),
                key=np.random.default_rng(0),
            )
        )  # fmt: skip
        rnn.model_ = unflatten(template, stored, f"file {path}")
    held, fit = meta["held_out"], meta["fit"]
    rnn.held_out_ = None if held is None else HeldOutSeries(**held)
    rnn.filled_, rnn.seconds_ = meta["filled"], fit["seconds"]
    rnn.fit_ = fit_from(fit, rnn.model_)
    return rnn
