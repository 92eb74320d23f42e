"""What the numbers of a latent ODE say in words."""

from __future__ import annotations

from ..records import Status
from ..sequences.held_out import Scores
from ..sequences.learning import Learned

_SAME = 0.02  # standard deviations that a finer solve may move a path


def status_of(learned: Learned, notes: tuple[str, ...], moved: float) -> Status:
    """Whether the model can be used, the cause where not, and a remedy."""
    training, held = learned.fit.status, learned.held
    notes = (*notes, *about(held))
    if not moved <= _SAME:
        notes = (
            *notes, f"a finer solve moves the paths by up to {moved:.2g} sd: raise resolution"
        )  # fmt: skip
    if not training.ok:
        return Status(
            training.kind, training.message, training.cause, training.remedy, False, notes
        )
    if held is None:
        return Status(
            "trained", f"Trained {learned.fit.steps} steps", notes=(
                *notes, "too few series to hold any out: nothing says how good it is, and the "
                "intervals are the model's own",
            ),
        )  # fmt: skip
    weak = [k for k, e in held.errors.items() if not e.error < e.best_naive[1]]
    if "after" in weak or "between" in weak:
        kind = "after" if "after" in weak else "between"
        found = held.errors[kind]
        name, naive = found.best_naive
        return Status(
            "not converged",
            f"held-out observations {kind} what was seen are missed by {found.error:.3g} sd, by "
            f"{naive:.3g} sd naively ({name})",
            "too few steps, or series that do not share one equation",
            "raise steps, latent or width", False, notes,
        )  # fmt: skip
    main = ", ".join(f"{e.error:.2g} sd {k}" for k, e in held.errors.items())
    message = f"Trained {learned.fit.steps} steps: held-out series are missed by {main}"
    return Status("converged", message, notes=notes)


def about(held: Scores | None) -> tuple[str, ...]:
    """The held-out series, one line per kind of question."""
    if held is None:
        return ()
    words = [f"{held.series} held-out series, {kind} what was seen: {e}"
             for kind, e in held.errors.items()]  # fmt: skip
    if held.accuracy is not None and held.majority is not None:
        line = f"classes of held-out series: {held.accuracy:.1%} right, {held.majority:.1%} naively"
        words.append(line + ("" if held.auc is None else f", area under the curve {held.auc:.3f}"))
    return tuple(words)
