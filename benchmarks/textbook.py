"""What a tutorial of PyTorch Geometric writes for crystals, and the same function in our layout."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch_geometric.data import Data
from torch_geometric.nn import CGConv, global_mean_pool

from evaluation_locked.neighbours import nearest_neighbours

if TYPE_CHECKING:
    from evaluation_locked.crystals import Crystals

WIDTH, LAYERS, NEIGHBOURS, RADIUS_ANGSTROM, N_GAUSSIANS = 64, 4, 12, 5.0, 32


def gaussians(distance: torch.Tensor) -> torch.Tensor:
    """Return [..., N_GAUSSIANS] Gaussians of distances in angstrom, from 0 to the radius."""
    centres = torch.linspace(0.0, RADIUS_ANGSTROM, N_GAUSSIANS, device=distance.device)
    return torch.exp(-0.5 * ((distance[..., None] - centres) * (N_GAUSSIANS - 1) / RADIUS_ANGSTROM) ** 2)


class Textbook(nn.Module):
    """What a tutorial of PyTorch Geometric writes; `convolutions` are its own `CGConv`."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(119, WIDTH)
        self.convolutions = nn.ModuleList(CGConv(WIDTH, dim=N_GAUSSIANS) for _ in range(LAYERS))
        self.head = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.SiLU(), nn.Linear(WIDTH, 1))

    def forward(self, batch: Data) -> torch.Tensor:
        x, edges = self.embed(batch.element), gaussians(batch.distance)
        for convolution in self.convolutions:
            x = convolution(x, batch.edge_index, edges)
        return self.head(global_mean_pool(x, batch.batch, batch.num_graphs)).squeeze(-1)


class SameFunction(nn.Module):
    """The textbook's function on [n_nodes, k] neighbours, with the linear layers split before the gather."""

    def __init__(self, textbook: Textbook) -> None:
        super().__init__()
        self.embed, self.head = textbook.embed, textbook.head
        self.from_centre, self.from_neighbour, self.from_edge = (nn.ModuleList() for _ in range(3))
        for convolution in textbook.convolutions:
            # CGConv multiplies [x of the centre, x of the neighbour, edge]; gate and core are two layers there.
            both = torch.cat([convolution.lin_f.weight, convolution.lin_s.weight]).split([WIDTH, WIDTH, N_GAUSSIANS], 1)
            bias = torch.cat([convolution.lin_f.bias, convolution.lin_s.bias])
            for layers, weight in zip((self.from_centre, self.from_neighbour, self.from_edge), both, strict=True):
                layer = nn.Linear(weight.shape[1], 2 * WIDTH, bias=layers is self.from_centre)
                layer.weight.data.copy_(weight)
                layers.append(layer)
            self.from_centre[-1].bias.data.copy_(bias)

    def forward(self, batch: Data) -> torch.Tensor:
        x, edges = self.embed(batch.element), gaussians(batch.distance)
        within = (batch.distance <= RADIUS_ANGSTROM)[..., None]
        for centre, neighbour, edge in zip(self.from_centre, self.from_neighbour, self.from_edge, strict=True):
            z = edge(edges)  # [n_nodes, k, 2 WIDTH]
            z += neighbour(x).index_select(0, batch.neighbour.reshape(-1)).reshape(z.shape)
            z += centre(x)[:, None]
            gate, core = z.chunk(2, dim=-1)
            x = x + (torch.sigmoid(gate) * functional.softplus(core) * within).sum(1)
        pooled = torch.zeros(batch.n_crystals, WIDTH, device=x.device, dtype=x.dtype).index_add(
            0, batch.crystal, x * batch.share[:, None]
        )
        return self.head(pooled).squeeze(-1)


def textbook_data(crystals: Crystals) -> list[Data]:
    """Return a `Data` for each crystal: its atoms, and edges from at most 12 neighbours within 5 angstrom."""
    table = nearest_neighbours(crystals, NEIGHBOURS, n_threads=torch.get_num_threads())
    made, offsets = [], crystals.offsets
    for start, end in itertools.pairwise(offsets):
        atom, place = np.nonzero(table.within(RADIUS_ANGSTROM)[start:end])
        made.append(
            Data(
                element=torch.from_numpy(crystals.atomic_numbers[start:end].astype(np.int64)),
                # PyG's messages flow from row 0 to row 1: from the neighbour to the centre.
                edge_index=torch.from_numpy(np.stack([table.index[start:end][atom, place] - start, atom])),
                distance=torch.from_numpy(table.distance[start:end][atom, place]),
                num_nodes=int(end - start),
            )
        )
    return made
