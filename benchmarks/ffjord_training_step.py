"""One step of likelihood training of a continuous flow, against three peers at tolerance 1e-5.

Everyone has the same trained weights, draws its batch from the same rows of `moons` and takes one
step of Adam. Peers: FFJORD's code over torchdiffeq (dopri5, continuous adjoint), diffrax as in its
example (one row at a time under vmap, Tsit5), zuko's `FreeFormJacobianTransform`. Ours takes the
coarsest fixed grid whose log density is no further from a solve at 1e-9 than the peer's; errors are
root mean squares over 512 rows. Against a peer with Hutchinson's noise ours has it too, and both
are judged with the same noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tenkai.fit import fit
from tenkai.flows import ContinuousFlow, Hutchinson
from tenkai.flows.objectives import likelihood

from .ffjord import material
from .ffjord.material import DEFAULT, TOY, Net
from .harness import Contender, Race

PEERS = ("torchdiffeq", "diffrax", "zuko")
CASES = (
    (TOY, 512, (*PEERS, "torchdiffeq, Hutchinson", "diffrax, Hutchinson")),
    (TOY, 100, PEERS),
    (DEFAULT, 512, PEERS),
)


def prepare(quick: bool) -> Sequence[Race]:
    """A race per net, batch and peer."""
    cases = [(TOY, 100, ("torchdiffeq",))] if quick else CASES
    return [race(net, batch, peer, quick) for net, batch, peers in cases for peer in peers]


def race(net: Net, batch: int, name: str, quick: bool) -> Race:
    """Ours on the grid that matches this peer, and the peer."""
    flow, x = material.trained(net, "moons", quick), material.rows("moons")
    judged = material.rows("moons", seed=1, count=512)
    signs = np.random.default_rng(0).choice(np.float32([-1, 1]), judged.shape)
    noise = signs if "Hutchinson" in name else None
    peer = theirs(name, flow)
    exact = material.reference(flow, judged, noise)
    off = material.error(peer.log_densities(judged, noise), exact)
    steps = material.coarsest(flow, judged, noise, exact, off)
    ours = material.on_grid(flow, steps, None if noise is None else Hutchinson())
    found = material.log_densities(material.on_grid(flow, steps), judged, noise)
    mine = material.error(found, exact)
    data, units = material.packed(x), 2 if quick else 20

    def train() -> None:
        fit(ours, likelihood(batch), data, rule=material.RULE, steps=units)

    run, few = peer.train(x, batch), 1 if quick else 2
    return Race(
        "training step", "error of log p, nats",
        [
            Contender(f"tenkai, {steps} steps", train, units, lambda: mine),
            Contender(name, lambda: run(few), few, lambda: off),
        ],
        2 if quick else 5,
        title=f"{net.name}, batch {batch}, against {name}",
    )  # fmt: skip


def theirs(name: str, flow: ContinuousFlow) -> Any:
    """The peer of that name, with our weights."""
    exact = "Hutchinson" not in name
    if name.startswith("diffrax"):
        from .ffjord.diffrax_flow import DiffraxFlow

        return DiffraxFlow(flow, exact)
    from .ffjord.torch_flows import TorchDiffEq, Zuko

    return (Zuko if name.startswith("zuko") else TorchDiffEq)(flow, exact)
