"""What the numbers of a variational autoencoder say in words."""

from __future__ import annotations

import numpy as np

from ...records import Status
from .evaluation import HeldOutELBO


def status_of(held: HeldOutELBO, training: Status) -> Status:
    """Whether the model can be used, its cause where not, and a remedy."""
    notes = (str(held),)
    if not training.ok:
        return Status(
            training.kind, training.message, training.cause, training.remedy, False, notes
        )
    if not np.isfinite(held.elbo):
        return Status(
            "diverged", "the ELBO of the held-out rows is not finite",
            "the posterior or the likelihood ran away", "lower learning_rate, or fewer layers",
            False, notes,
        )  # fmt: skip
    if held.active == 0:
        return Status(
            "posterior collapse", "no latent variable carries information about a row",
            "the divergence won before the decoder read z, or the columns are independent",
            "raise warm_up, lower latent, or train longer", False, notes,
        )  # fmt: skip
    if max(held.elbo, held.log_likelihood) < held.independent + held.elbo_se:
        return Status(
            "not converged",
            f"held-out rows are no likelier (ELBO {held.elbo:.4g}) than under independent columns "
            f"({held.independent:.4g})",
            "too few steps or rows, or overfitting", "raise steps, width, or decay", False, notes,
        )  # fmt: skip
    early = training.kind == "early"
    how = "until held-out rows saw no gain" if early else "all steps"
    if not early:
        notes = (*notes, "it may still gain: raise steps")
    return Status("converged", f"Trained {how}: ELBO {held.elbo:.4g} nats per row", notes=notes)
