"""A stand-in for `speechbrain.nnet.linear`."""

from __future__ import annotations

import torch


class Linear(torch.nn.Module):
    def __init__(self, n_neurons: int, input_size: int) -> None:
        super().__init__()
        self.w = torch.nn.Linear(input_size, n_neurons)
