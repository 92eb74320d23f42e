"""What a fitted density knows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..flows.checks import Repeats
from ..flows.flow import Architecture
from ..flows.held_out import HeldOutDensity
from ..flows.target import Matched
from ..records import Discretisation, Fit


class LearnedDensity:
    """What `fit` and `match` leave on the estimator; see `FlowDensity`."""

    fit_: Fit
    architecture_: Architecture
    model_: Any  # a Mixture of flows, or the ImageFlow
    density_: Any  # a Density, or an ImageDensity
    held_out_: HeldOutDensity | None
    matched_: Matched | None
    repeats_: Repeats | None
    nfe_: Any  # Evaluations of a continuous flow, else None
    stiffness_: float | None
    discretisation_: Discretisation | None
    data_: np.ndarray
    context_: np.ndarray | None
    settings_: dict[str, Any]
    images_: Any  # an ImageForm, None of a table
    seconds_: dict[str, float]
    names_: tuple[str, ...]
    context_names_: tuple[str, ...]
    n_features_in_: int
    _n_features_out: int
