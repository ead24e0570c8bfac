"""Muon for the matrices, Adam for the embedding and the norms, without a branch, so that a CUDA graph can hold it."""

import math

import torch

MUON_MOMENTUM, MUON_DECAY = 0.95, 0.01
# Beta 1 is 0.9, beta 2 0.95.
ADAM_NEW, ADAM_NEW_SQUARE, ADAM_EPS = 0.1, 0.05, 1e-8
LARGEST_NORM = 1.0


def orthogonal(updates, dtype):
    """The nearest orthogonal matrices, by Newton and Schulz's iteration with K. Jordan's coefficients (Muon, 2024)."""
    x = (updates / (updates.norm(dim=(1, 2), keepdim=True) + 1e-7)).to(dtype)
    tall = x.size(1) > x.size(2)
    x = x.mT if tall else x
    for _ in range(5):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return (x.mT if tall else x).float()


class Optimizer:
    def __init__(self, model):
        device = next(model.parameters()).device
        self.dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.parameters = list(model.parameters())
        is_matrix = lambda name, parameter: parameter.dim() == 2 and "embed" not in name
        by_shape = {}
        for name, parameter in model.named_parameters():
            if is_matrix(name, parameter):
                by_shape.setdefault(tuple(parameter.shape), []).append(parameter)
        # Matrices of one shape are updated together.
        self.stacks = [(shape, some, torch.zeros(len(some), *shape, device=device)) for shape, some in by_shape.items()]
        self.others = [parameter for name, parameter in model.named_parameters() if not is_matrix(name, parameter)]
        self.first = [torch.zeros_like(parameter) for parameter in self.others]
        self.second = [torch.zeros_like(parameter) for parameter in self.others]
        self.muon_rate, self.adam_rate, self.steps = (torch.zeros((), device=device) for _ in range(3))
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self):
        """Uses the gradients and zeroes them."""
        gradients = [parameter.grad for parameter in self.parameters]
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        torch._foreach_mul_(gradients, (LARGEST_NORM / (norm + 1e-6)).clamp(max=1.0))
        for shape, some, momentum in self.stacks:
            gradient = torch.stack([parameter.grad for parameter in some])
            momentum.mul_(MUON_MOMENTUM).add_(gradient)
            update = orthogonal(gradient + MUON_MOMENTUM * momentum, self.dtype)
            torch._foreach_mul_(some, 1 - self.muon_rate * MUON_DECAY)
            torch._foreach_add_(some, list((update * (-self.muon_rate * 0.2 * math.sqrt(max(shape)))).unbind(0)))
        self.steps.add_(1)
        bias1, bias2 = 1 - (1 - ADAM_NEW) ** self.steps, 1 - (1 - ADAM_NEW_SQUARE) ** self.steps
        for parameter, first, second in zip(self.others, self.first, self.second):
            first.lerp_(parameter.grad, ADAM_NEW)
            second.lerp_(parameter.grad.square(), ADAM_NEW_SQUARE)
            parameter.sub_(self.adam_rate * (first / bias1) / ((second / bias2).sqrt() + ADAM_EPS))
        for gradient in gradients:
            gradient.zero_()

    @torch.no_grad()
    def forget(self):
        """As if no step had been taken, apart from the parameters."""
        moments = [momentum for _, _, momentum in self.stacks]
        for tensor in (*self.first, *self.second, self.steps, *moments):
            tensor.zero_()
