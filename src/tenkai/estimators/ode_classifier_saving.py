"""The file of an `ODEClassifier`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .. import classifiers
from ..classifiers import Design, build, evaluation
from ..devices import arithmetic
from ..errors import InputError
from ..storage import save_model, unflatten
from .ode_classifier import ODEClassifier
from .ode_classifier_judgement import HeldOutAccuracy
from .saving import fit_from, fit_words

_PARTS = ("body", "stem", "augmentation")


def save(classifier: ODEClassifier, path: Path | str) -> None:
    """Write the model file of a fitted `ODEClassifier`."""
    made, held = classifier.fit_, classifier.held_out_
    arguments = classifier.get_params()
    arguments |= {name: _in_words(arguments[name]) for name in _PARTS}
    arrays: dict[str, Any] = {
        "model": classifier.model_, "shown": classifier.shown_,
        "shown_classes": classifier.shown_classes_,
    }  # fmt: skip
    if classifier.centre_ is not None:
        arrays |= {"centre": classifier.centre_, "scale": classifier.scale_}
    columns = getattr(classifier, "feature_names_in_", None)
    design = classifier.design_
    words = dataclasses.asdict(design)
    words |= {"body": _in_words(design.body), "stem": _in_words(design.stem)}
    save_model(
        path, arrays, class_name="ODEClassifier", arguments=arguments,
        names=() if columns is None else tuple(map(str, columns)), design=words,
        classes=classifier.classes_.tolist(), classes_type=classifier.classes_.dtype.str,
        bytes=classifier.bytes_, precision=classifier.precision_, rtol=classifier.rtol_,
        held_out=None if held is None else dataclasses.asdict(held),
        fit=fit_words(made),
    )  # fmt: skip


def read(path: Path | str, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> ODEClassifier:
    """The estimator that the file holds."""
    arguments = dict(meta["arguments"])
    arguments |= {name: _from_words(arguments[name], path) for name in _PARTS}
    made = ODEClassifier(**arguments)
    words: dict[str, Any] = {
        k: tuple(v) if isinstance(v, list) else v for k, v in meta["design"].items()
    }
    words |= {name: _from_words(words[name], path) for name in ("body", "stem")}
    made.design_ = design = Design(**words)
    made.precision_ = meta["precision"]
    with arithmetic(made.precision_):
        model = eqx.filter_eval_shape(lambda: build(design, key=jax.random.key(0)))
        named = {k.removeprefix("model."): v for k, v in arrays.items() if k.startswith("model.")}
        made.model_ = unflatten(model, named, f"file {path}")
    if meta["rtol"] is not None:
        made.model_ = evaluation.at_tolerance(made.model_, meta["rtol"])
    made.rtol_ = meta["rtol"]
    made.centre_, made.scale_ = arrays.get("centre"), arrays.get("scale")
    made.shown_, made.shown_classes_ = arrays["shown"], arrays["shown_classes"]
    made.classes_ = np.array(meta["classes"], dtype=np.dtype(meta["classes_type"]))
    made.bytes_, made.shape_ = meta["bytes"], design.shape
    made.n_features_in_ = int(np.prod(design.shape))
    if meta["names"]:
        vars(made)["feature_names_in_"] = np.array(meta["names"], dtype=object)
    made.parameters_ = classifiers.parameters(made.model_)
    held, fit = meta["held_out"], meta["fit"]
    made.held_out_ = None if held is None else HeldOutAccuracy(**held)
    made.n_iter_ = fit["steps"]
    made.fit_ = fit_from(fit, made.model_)
    return made


def _in_words(part: Any) -> dict[str, Any] | None:
    """A frozen dataclass as JSON: the name of the class, then its fields."""
    if part is None:
        return None
    return {"class": type(part).__name__, **dataclasses.asdict(part)}


def _from_words(words: dict[str, Any] | None, path: Path | str) -> Any:
    """What `_in_words` wrote. Only descriptions out of `tenkai.classifiers` are made."""
    if words is None:
        return None
    kind = getattr(classifiers, words["class"], None)
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise InputError(
            f"file {path}", expected="a body and a stem that this tenkai knows",
            got=repr(words["class"]), do="upgrade tenkai",
        )  # fmt: skip
    return kind(**{k: v for k, v in words.items() if k != "class"})
