"""Images as what a density is learned from: whole grey levels, dequantised, never whitened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import Int

from ..devices import arithmetic
from ..errors import InputError
from ..flows.checks import Repeats, folds, groups
from ..flows.flow import Architecture
from ..flows.held_out import Beside, HeldOutDensity, mean_of
from ..flows.images import MultiscaleFFJORD
from ..flows.images.baselines import baselines
from ..flows.images.density import DRAWS, ImageDensity
from ..flows.images.evaluation import dequantised
from ..flows.images.training import ImageRecipe, train
from ..records import Fit
from . import density_border as border
from . import density_judgement as judgement
from .density_arguments import AUTO
from .density_fitting import Watching, examined, finish, in_numpy, keep

if TYPE_CHECKING:
    from .flow_density import FlowDensity

_FEWEST = 20  # different images
_FOLDS = 10  # one chooses, one judges
_CHOOSING = 500  # images at most
_JUDGED, _JUDGED_PIXELS = 500, 1 << 16  # images that are solved adaptively in the end
_LOOKED_AT = 32  # images on which a solve is judged
_BITS = 0.01  # per dimension, that the log density may move
_EXACT_DRAWS, _NOISY_DRAWS = DRAWS, 2
_IDLE = ("members", "matching", "noise", "straight", "jitter")


@dataclass(frozen=True)
class ImageForm:
    """How images are given: the shape of one, the type of its pixels, how many grey levels."""

    shape: tuple[int, ...]
    dtype: str
    levels: int

    def rows(self, x: Any) -> Int[np.ndarray, "images dim"]:
        """Images as rows of whole grey levels; `InputError` for others than those of the fit."""
        found = numbers_of(x)
        if found.shape[1:] != self.shape:
            raise InputError(
                "X", expected=f"images of shape (n, {_told(self.shape)}), as in fit",
                got=f"shape {found.shape}", do="crop, pad or transpose them",
            )  # fmt: skip
        return _levels_of(found, self.levels)

    def back(self, rows: Int[np.ndarray, "images dim"]) -> np.ndarray:
        """Rows of grey levels as images of the fit's shape and type."""
        return rows.reshape(len(rows), *self.shape).astype(self.dtype)


def is_images(x: Any, flow: Architecture | None) -> bool:
    """Whether X is meant as images: by its flow, else by having more than two axes."""
    if flow is not None:
        return flow.dequantise
    return isinstance(x, np.ndarray) and x.ndim in (3, 4)


def numbers_of(x: Any) -> np.ndarray:
    """An array of numbers with an image in every row."""
    try:
        found = np.asarray(x)
    except ValueError as error:  # images of several sizes
        raise InputError(
            "X", expected="images of one size", got=str(error).splitlines()[0], do="crop them"
        ) from error
    if found.dtype.kind not in "iufb" or found.ndim < 2:
        got = f"shape {found.shape}" if found.dtype.kind in "iufb" else f"type {found.dtype}"
        raise InputError(
            "X", expected="images of grey levels, (n, h, w) or (n, h, w, channels)", got=got,
            do="pass an array of whole numbers",
        )  # fmt: skip
    return found


def _levels_of(found: np.ndarray, levels: int) -> Int[np.ndarray, "images dim"]:
    """Whole numbers below `levels`, flattened."""
    flat = found.reshape(len(found), -1)
    if not np.isfinite(flat).all():
        raise InputError(
            "X", expected="grey levels", got="missing or infinite values", do="mend these images"
        )
    if (flat % 1 != 0).any():
        high = float(flat.max())
        raise InputError(
            "X", expected="whole grey levels", do="pass np.round(255 * X).astype('uint8')"
            if high <= 1 and flat.min() >= 0 else "pass the levels as they were stored",
            got=f"fractions up to {high:g}",
        )  # fmt: skip
    low, high = int(flat.min(initial=0)), int(flat.max(initial=0))
    if low < 0 or high >= levels:
        raise InputError(
            "X", expected=f"grey levels from 0 to {levels - 1}", got=f"{low} to {high}",
            do=f"pass a flow with levels={high + 1}, or clip them" if low >= 0 else "shift them",
        )  # fmt: skip
    return flat.astype(int)


def _told(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def rows_of(estimator: FlowDensity, x: Any) -> np.ndarray:
    """Rows to ask the density for: of a table, or images flattened."""
    form = estimator.images_
    return border.table(estimator, x, reset=False) if form is None else form.rows(x)


def as_given(estimator: FlowDensity, rows: np.ndarray) -> np.ndarray:
    """Rows of the density as the fit had them."""
    return rows if estimator.images_ is None else estimator.images_.back(rows)


def default_images(shape: tuple[int, int, int], levels: int) -> Architecture:
    """FFJORD at several scales, of the size that learns digits in a minute or two."""
    return MultiscaleFFJORD(shape, channels=32, depth=2, levels=levels)


def prepared(
    estimator: FlowDensity, x: Any, context: Any
) -> tuple[Architecture, ImageForm, Int[np.ndarray, "images dim"]]:
    """The flow, the form of the images and their rows; `InputError` for what cannot be."""
    if context is not None:
        raise InputError(
            "context", expected="none: flows of images have no context yet", got="some",
            do="leave it out, or fit one density per class",
        )  # fmt: skip
    for name in _IDLE:
        value = getattr(estimator, name)
        if value not in (AUTO, 0, *((1,) if name == "members" else ())):
            raise InputError(
                name, expected="none: a flow of images is one, trained by likelihood alone",
                got=repr(value), do="leave it out",
            )  # fmt: skip
    found = numbers_of(x)
    shape: Any = (*found.shape[1:], 1)[:3]
    flow: Any = estimator.flow
    if flow is None:
        high = float(np.max(found, initial=0))
        levels = int(min(max(high, 1), 255)) + 1 if np.isfinite(high) else 256
        flow = default_images(shape, levels)
    elif found.ndim > 2 and tuple(flow.shape) != shape:
        raise InputError(
            "flow", expected=f"shape=({_told(shape)}), that of the images",
            got=f"shape={flow.shape}", do=f"pass {type(flow).__name__}(({_told(shape)}), ...)",
        )  # fmt: skip
    rows = _levels_of(found, flow.levels)
    different = int(groups(rows).max(initial=-1)) + 1
    if different < _FEWEST:
        raise InputError(
            "X", expected=f"at least {_FEWEST} different images", got=str(different),
            do="pass more images",
        )  # fmt: skip
    return flow, ImageForm(found.shape[1:], str(found.dtype), flow.levels), rows


def recipe_of(estimator: FlowDensity) -> ImageRecipe:
    """What the estimator's arguments say, the rest as `ImageRecipe` has it."""
    names = ("steps", "batch", "rate", "kinetic", "jacobian", "decay")
    told = {n: v for n in names if (v := getattr(estimator, n)) != AUTO}
    steps = told.get("steps", ImageRecipe.steps)
    return ImageRecipe(**told, every=max(1, steps // 20))


def learn_images(estimator: FlowDensity, x: Any, context: Any, options: Watching) -> None:
    """All of a fit: a tenth of the images chooses which flow is kept, another judges it."""
    architecture, form, rows = prepared(estimator, x, context)
    seed, recipe = estimator.seed, recipe_of(estimator)
    with arithmetic(estimator.precision):
        flow: Any = _built(architecture, rows.shape[1], seed)
        fold = folds(rows, _FOLDS, seed)
        choosing, judging = (np.flatnonzero(fold == k) for k in (0, 1))
        made = train(
            flow, rows[fold > 1], validation=rows[choosing[:_CHOOSING]], recipe=recipe, seed=seed,
            stage="likelihood", **options,
        )  # fmt: skip
    density = ImageDensity(in_numpy(made.model))
    estimator.images_, estimator.architecture_ = form, architecture
    estimator.names_ = tuple(f"x{j}" for j in range(density.dim))
    estimator.context_names_, estimator.matched_ = (), None
    estimator.repeats_ = Repeats(len(rows), len(rows) - int(groups(rows).max()) - 1, ())
    told = ("steps", "batch", "rate", "decay")
    told += ("kinetic", "jacobian") if density.is_continuous else ()
    estimator.settings_ = {"members": 1} | {n: getattr(recipe, n) for n in told}
    _judge(estimator, density, rows, fold > 1, judging, made)


def _built(architecture: Architecture, dim: int, seed: int) -> Any:
    """In one program: built eagerly it would be dozens of small ones."""
    import equinox as eqx

    return eqx.filter_jit(lambda key: architecture.build(dim, key=key))(jax.random.key(seed))


def _judge(
    estimator: FlowDensity, density: ImageDensity, rows: np.ndarray, trained: np.ndarray,
    judging: np.ndarray, made: Fit,
) -> None:  # fmt: skip
    """The held-out score, what the solves show, the status."""
    few = min(_JUDGED, max(_LOOKED_AT, _JUDGED_PIXELS // density.dim))
    asked = rows[judging[:few]]
    drawn = density.drawn(asked, _EXACT_DRAWS if density.is_exact else _NOISY_DRAWS, estimator.seed)
    logs = drawn.logs.mean(0)
    seen = rows[trained]
    held = _compared(seen, asked, logs, density.levels, estimator.compare, estimator.seed)
    kept = np.sort(np.random.default_rng(estimator.seed).permutation(len(rows))[:100])
    form: Any = estimator.images_
    keep(estimator, density, form.back(rows[kept]), None)
    estimator.held_out_ = held
    estimator.seconds_ = {"likelihood": made.seconds}
    solves = examined(estimator, examine(density, asked, estimator.seed))
    bits, error = (v / density.dim / np.log(2) for v in (-held.mean, held.error))
    notes = (f"{bits:.4g} ± {error:.1g} bits per dimension on held-out images",)
    noise = float(np.median(drawn.logs.std(0, ddof=1))) / len(drawn.logs) ** 0.5
    notes += (
        f"log densities are means over {DRAWS} draws of the noise in [0, 1) that fills the grey "
        f"levels, with a standard error of {noise:.2g} nats per image (median)",
    )
    lost = 1 - float(drawn.ok.mean())
    if lost:
        notes += (f"{lost:.0%} of the adaptive solves gave up and were done on a fixed grid",)
    highest = int(rows.max())
    if 2 * (highest + 1) <= density.levels:
        notes += (
            f"the flow has {density.levels} grey levels, the images none above {highest}. Do: pass "
            f"levels={highest + 1} unless others will be asked for",
        )
    if estimator.repeats_ is not None:
        notes = (*estimator.repeats_.notes, *notes)
    status = judgement.status_of(made.status, held, solves, notes, judgement.IMAGES)
    finish(estimator, status, list(made.history), made.steps)


def _compared(
    seen: np.ndarray, asked: np.ndarray, logs: np.ndarray, levels: int, simple: bool, seed: int
) -> HeldOutDensity:
    """The flow beside simple densities of the same training images; copies count once."""
    same, beside = groups(asked), ()
    for one in baselines(seen, asked, levels, draws=DRAWS, seed=seed) if simple else ():
        gain, error = mean_of(logs - one.log_density, same)
        beside += (Beside(one.name, one.chosen, one.mean, gain, error),)
    return HeldOutDensity(*mean_of(logs, same), len(asked), beside, "image")


def examine(density: ImageDensity, x: np.ndarray, seed: int) -> judgement.Solves | None:
    """Some images solved adaptively and on finer grids, with the same noise; None without ODEs."""
    if not density.is_continuous:
        return None
    few = x[:_LOOKED_AT]
    adaptive = density.drawn(few, 1, seed)
    filled = dequantised(few, 1, seed)
    grid, finer = (density.on_grid(filled, k, seed) for k in (1, 2))
    nfe = judgement.Evaluations(float(adaptive.nfe.mean()), float(adaptive.nfe.max()))
    allowed = _BITS * density.dim * float(np.log(2))
    check = judgement.discretisation(
        grid, finer, adaptive.logs[0], int(nfe.mean), allowed, judgement.IMAGES
    )
    return judgement.Solves(nfe, None, check, ())
