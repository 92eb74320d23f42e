"""One step of training of the latent ODE of the spirals, against torchdiffeq's `latent_ode.py`.

The peer is that example's model in torch, solved as there (dopri5, rtol 1e-7, atol 1e-9, gradient
through the solver), on one thread. Both have the same trained weights and take steps of Adam on all
1000 spirals. Ours takes the coarsest grid whose latent path is no further from a float64 solve at
1e-9 than the peer's; the error is the root mean square over spirals, times and dimensions. On a
machine that others use run it with `--processor-time`.
"""

from __future__ import annotations

import numpy as np

from tenkai.fit import fit

from .harness import Contender, Race
from .latent import material


def prepare(quick: bool) -> Race:
    """Ours on the grid that matches the peer, and the peer."""
    from .latent.torch_latent import TorchLatent

    x = material.spirals(100 if quick else 1000)
    model = material.trained(x, 20 if quick else 500)
    z0 = material.beginnings(model, x)
    peer = TorchLatent(model)
    exact = peer.exact(z0)
    off = error(peer.solved(z0), exact)
    evaluations = peer.field.count
    steps, mine = next(
        (n, found)
        for n in ((10, 40) if quick else (*range(40, 120, 10), *range(120, 400, 20), 400))
        if (found := error(material.solved(model, z0, n), exact)) <= off or quick or n == 400
    )
    rows, units, few = material.packed(x, steps), 2 if quick else 60, 1 if quick else 3
    return Race(
        "training step", "error of the latent path",
        [
            Contender(
                f"tenkai, {material.evaluations(rows)} evaluations of the field",
                lambda: fit(model, material.negative_elbo, rows, rule=material.RULE, steps=units),
                units, lambda: mine,
            ),
            Contender(
                f"torchdiffeq, {evaluations}",
                lambda: TorchLatent(model).train(x, few), few, lambda: off,
            ),
        ],
        2 if quick else 5,
    )  # fmt: skip


def error(found: np.ndarray, exact: np.ndarray) -> float:
    """Root mean square."""
    return float(np.sqrt(np.mean((found - exact) ** 2)))
