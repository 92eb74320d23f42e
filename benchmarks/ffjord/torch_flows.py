"""The flow in torch: FFJORD's own code over torchdiffeq, and zuko's transformation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tenkai.flows import ContinuousFlow

from ..harness import peer

torch = peer("torch")


def _tensor(array: Any) -> Any:
    return torch.tensor(np.asarray(array, np.float32))


class Layer(torch.nn.Module):
    """``(W x + b) sigmoid(g t + c) + v t``, made of linear layers as in FFJORD's code."""

    def __init__(self, ours: Any):
        super().__init__()
        n_out, n_in = ours.linear.weight.shape
        self.main, self.gate = torch.nn.Linear(n_in, n_out), torch.nn.Linear(1, n_out)
        self.drift = torch.nn.Linear(1, n_out, bias=False)
        with torch.no_grad():
            self.main.weight.copy_(_tensor(ours.linear.weight))
            self.main.bias.copy_(_tensor(ours.linear.bias))
            self.gate.weight.copy_(_tensor(ours.gate.weight))
            self.gate.bias.copy_(_tensor(ours.gate.bias))
            self.drift.weight.copy_(_tensor(ours.drift)[:, None])

    def forward(self, t: Any, x: Any) -> Any:
        t = t.view(1, 1)
        return self.main(x) * torch.sigmoid(self.gate(t)) + self.drift(t)


class Net(torch.nn.Module):
    """The field of a continuous flow of ours, with its weights."""

    def __init__(self, flow: ContinuousFlow):
        super().__init__()
        self.layers = torch.nn.ModuleList(Layer(layer) for layer in flow.field.layers)

    def forward(self, t: Any, y: Any) -> Any:
        for layer in self.layers[:-1]:
            y = torch.tanh(layer(t, y))
        return self.layers[-1](t, y)


class Augmented(torch.nn.Module):
    """``d(y, -log det)/dt``, divergence by autograd: a loop over the columns, or Hutchinson's."""

    def __init__(self, net: Net, exact: bool):
        super().__init__()
        self.net, self.exact, self.e, self.count = net, exact, None, 0

    def forward(self, t: Any, state: Any) -> Any:
        y, self.count = state[0], self.count + 1
        with torch.enable_grad():
            y = y.requires_grad_(True)
            t = t.detach().requires_grad_(True)
            dy = self.net(t, y)
            if self.exact:
                divergence = sum(
                    torch.autograd.grad(dy[:, i].sum(), y, create_graph=True)[0][:, i]
                    for i in range(y.shape[1])
                )
            else:
                (back,) = torch.autograd.grad(dy, y, self.e, create_graph=True)
                divergence = (back * self.e).sum(1)
        return dy, -divergence.view(-1, 1)


def _log_normal(z: Any) -> Any:
    return -0.5 * (z**2).sum(1) - 0.5 * z.shape[1] * math.log(2 * math.pi)


class Torch:
    """A trainable flow; `log_prob(x, e)` of rows, `e` None for the exact trace."""

    def __init__(self, flow: ContinuousFlow, exact: bool, tolerance: float = 1e-5):
        self.net, self.end = Net(flow), float(flow.end)
        self.exact, self.tolerance = exact, tolerance
        self.nfe = 0

    def log_prob(self, x: Any, e: Any) -> Any:
        raise NotImplementedError

    def train(self, x: np.ndarray, batch: int, rate: float = 1e-3) -> Callable[[int], None]:
        """Steps of Adam on ``-mean log p`` of rows drawn from `x`."""
        data, rule = torch.tensor(x), torch.optim.Adam(self.net.parameters(), lr=rate)

        def run(steps: int) -> None:
            for _ in range(steps):
                rule.zero_grad()
                rows = data[torch.randint(len(data), (batch,))]
                noise = None if self.exact else torch.randint(0, 2, rows.shape).float() * 2 - 1
                (-self.log_prob(rows, noise).mean()).backward()
                rule.step()

        return run

    def log_densities(self, x: np.ndarray, noise: np.ndarray | None) -> np.ndarray:
        """``log p`` of every row, as in training."""
        e = None if noise is None else torch.tensor(noise)
        return self.log_prob(torch.tensor(x), e).detach().numpy().astype(np.float64)


class TorchDiffEq(Torch):
    """dopri5 with the continuous adjoint, as in FFJORD's code."""

    def log_prob(self, x: Any, e: Any) -> Any:
        field = Augmented(self.net, self.exact)
        field.e = e
        times = torch.tensor([self.end, 0.0])
        solved = peer("torchdiffeq").odeint_adjoint(
            field, (x, torch.zeros(len(x), 1)), times, method="dopri5",
            rtol=self.tolerance, atol=self.tolerance,
        )  # fmt: skip
        self.nfe = field.count
        z, change = (part[1] for part in solved)
        return _log_normal(z) - change[:, 0]


class Zuko(Torch):
    """`FreeFormJacobianTransform` with this net as its field; it draws its own noise."""

    def log_prob(self, x: Any, e: Any) -> Any:
        self.nfe = 0

        def field(t: Any, y: Any) -> Any:
            self.nfe += 1
            return self.net(t, y)

        move = peer("zuko.transforms").FreeFormJacobianTransform(
            field, self.end, 0.0, self.net.parameters(),
            atol=self.tolerance, rtol=self.tolerance, exact=self.exact,
        )  # fmt: skip
        z, log_det = move.call_and_ladj(x)
        return _log_normal(z) + log_det
