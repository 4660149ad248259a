"""Muon for the matrices, AdamW for the rest, and a running mean of the weights."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def orthogonal(gradient: Tensor, steps: int = 5) -> Tensor:
    """The nearest half-orthogonal matrices, roughly, by Newton-Schulz (Jordan et al., "Muon", 2024); (..., m, n)."""
    tall = gradient.shape[-2] > gradient.shape[-1]
    x = gradient.mT if tall else gradient
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum whose step is made orthogonal; for matrices inside the network, never for embeddings."""

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, decay: float = 0.01
    ) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # noqa: ARG002
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for matrix in group["params"]:
                by_shape.setdefault(matrix.shape, []).append(matrix)
            for matrices in by_shape.values():
                self.apply(matrices, group)

    def apply(self, matrices: list[nn.Parameter], group: dict[str, float]) -> None:
        wanted = []
        for matrix in matrices:
            momentum = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
            momentum.lerp_(matrix.grad, 1 - group["momentum"])
            wanted.append(matrix.grad.lerp(momentum, group["momentum"]))
        rows, columns = matrices[0].shape
        rate = group["lr"] * max(1.0, rows / columns) ** 0.5
        for matrix, update in zip(matrices, orthogonal(torch.stack(wanted)), strict=True):
            matrix.mul_(1 - group["lr"] * group["decay"]).add_(update, alpha=-rate)


def optimisers(model: nn.Module, muon: float, adam: float) -> list[torch.optim.Optimizer]:
    """Muon for most matrices, AdamW for the rest; `base` in each group is its full learning rate.

    Queries and keys are among the rest: steps of Muon's size make attention so sharp that nothing more is learned.
    """
    apart = ("embed", "q_proj", "k_proj")
    inner = [p for name, p in model.named_parameters() if p.ndim == 2 and not any(part in name for part in apart)]
    outer = [p for name, p in model.named_parameters() if p.ndim != 2 or any(part in name for part in apart)]
    both = [Muon(inner, muon), torch.optim.AdamW(outer, adam, betas=(0.9, 0.98), weight_decay=0.0)]
    for optimiser in both:
        for group in optimiser.param_groups:
            group["base"] = group["lr"]
    return both


class Mean:
    """An exponential mean of the weights, which answers better than the weights of any one step."""

    def __init__(self, model: nn.Module, horizon: int) -> None:
        self.horizon = horizon
        self.steps = 0
        self.weights = {name: weight.detach().clone() for name, weight in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        self.steps += 1
        share = max(1 / self.horizon, 1 / (self.steps + 1))
        for name, weight in model.state_dict().items():
            self.weights[name].lerp_(weight, share)
