"""ALIGNN under the protocol of `train.py`: messages between bonds over their angles, then between atoms over bonds.

Source: Choudhary and DeCost, npj Comput. Mater. 7, 185 (2021), arXiv:2106.01829. The line graph has a node for every
bond and an edge for every pair of bonds that share an atom, which carries their angle; both graphs are convolved by the
same edge-gated layer. Published settings: NEIGHBOURS 12, WIDTH 256, EMBED_WIDTH 64, RBF_COUNT 80, ANGLE_COUNT 40,
ANGLE_BLOCKS 4, BLOCKS 4, batches of 64, and then 4,026,753 parameters with the original's embedding of 92 element bits,
for which an embedding of the element and its tabulated properties stand here.

What differs: the line graph is dense, [n_nodes, k, k]: all pairs of the k bonds of one atom, where the original goes
from a bond to those that its far end has; angles are the Gaussians of a cosine; constants are smaller, since pairs are
k times as many as bonds; and it is trained as the seed is (L1 loss, a cosine that follows the clock, averaged weights,
clipped gradients).
"""

import copy
import math
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from evaluation_locked.client import Task
from evaluation_locked.elements import element_properties
from evaluation_locked.folding import fold
from evaluation_locked.neighbours import nearest_neighbours

# The graph
NEIGHBOURS = 8  # published: 12
RBF_COUNT = 32  # published: 80
RBF_MAX_ANGSTROM = 8.0
RBF_WIDTH = 1.0  # of each Gaussian, in units of the distance between two centres
ANGLE_COUNT = 16  # published: 40

# The network
WIDTH = 32  # published: 256
EMBED_WIDTH = 32  # published: 64
ANGLE_BLOCKS = 2  # published: 4
BLOCKS = 2  # published: 4

# The training
BATCH_SIZE = 32
LEARNING_RATE = 5e-3
WEIGHT_DECAY = 0.1
WARMUP = 0.03  # share of the budget
GRADIENT_NORM = 2.0
EMA_DECAY = 0.99
PREDICT_BATCH_SIZE = 64


class Graphs:
    """Crystals as flat tensors on the device; a batch is a gather of rows, without a loop over crystals."""

    def __init__(self, crystals, n_threads, device):
        nodes = fold(crystals, nearest_neighbours(crystals, NEIGHBOURS, n_threads=n_threads), n_threads=n_threads)
        first = nodes.n_nodes.cumsum() - nodes.n_nodes  # [n_crystals] the first node of each
        crystal = np.repeat(np.arange(len(crystals)), nodes.n_nodes)  # [n_nodes]
        self.n_nodes = torch.from_numpy(nodes.n_nodes)  # [n_crystals], kept where it is summed
        self.first = torch.from_numpy(first).to(device)
        self.device = device
        # Whatever stands in these two dictionaries arrives in `batch` under its name.
        self.atom = {
            "element": torch.from_numpy(crystals.atomic_numbers[nodes.atom].astype("int64")).to(device),  # [n_nodes]
            "share": torch.from_numpy(nodes.count / crystals.n_atoms[crystal])
            .float()
            .to(device),  # of its crystal's atoms
            "neighbour": torch.from_numpy(nodes.index - first[crystal][:, None]).to(device),  # [n_nodes, k]
            "distance": torch.from_numpy(nodes.distance).to(device),  # [n_nodes, k] angstrom
            "vector": torch.from_numpy(nodes.vector).to(device),  # [n_nodes, k, 3] angstrom
        }
        self.crystal = {
            "n_atoms": torch.from_numpy(crystals.n_atoms).to(device),  # [n_crystals]
            "space_group": torch.from_numpy(crystals.space_group.astype("int64")).to(device),  # [n_crystals]
            "lattice": torch.from_numpy(crystals.lattice_vectors()).float().to(device),  # [n_crystals, 3, 3] angstrom
        }

    def __len__(self):
        return len(self.n_nodes)

    def batch(self, rows):
        """Return the crystals `rows` (on the CPU, any order) as one graph of many parts."""
        counts, total = self.n_nodes[rows], int(self.n_nodes[rows].sum())
        rows, counts = rows.to(self.device), counts.to(self.device)
        crystal = torch.repeat_interleave(counts, output_size=total)  # [n_nodes] the crystal of each node
        start = counts.cumsum(0) - counts  # [n_crystals] first node of each crystal in this batch
        nodes = torch.arange(total, device=self.device) + (self.first[rows] - start)[crystal]
        batch = Data(num_nodes=total, crystal=crystal, n_crystals=len(rows))
        for name, values in self.atom.items():
            batch[name] = values.index_select(0, nodes)
        for name, values in self.crystal.items():
            batch[name] = values.index_select(0, rows)
        batch.neighbour = batch.neighbour + start[crystal][:, None]
        return batch


def gather(x, index):
    """Return x[index]; on a CPU the gradient of index_select is ten times as fast as that of x[index]."""
    return x.index_select(0, index.reshape(-1)).reshape(*index.shape, -1)


def crystal_mean(values, batch):
    """Return the mean of [n_nodes, any] values over the atoms of each crystal, [n_crystals, any]."""
    return scatter(values * batch.share[:, None], batch.crystal, 0, batch.n_crystals, reduce="sum")


class Gaussians(nn.Module):
    """Distances on a grid of Gaussians (SchNet, 1706.08566)."""

    def __init__(self, count, maximum):
        super().__init__()
        self.register_buffer("centres", torch.linspace(0.0, maximum, count))
        self.inverse_width = (count - 1) / maximum / RBF_WIDTH * math.sqrt(0.5 / math.log(2.0))

    def forward(self, values):  # [...] -> [..., count]
        # To the base 2: the exponential function of a CPU takes thirty times as long where it is next to nothing.
        return torch.exp2(-(((values[..., None] - self.centres) * self.inverse_width) ** 2))


def norm(layer, x):
    """Return a batch norm of the last dimension, whatever stands before it."""
    return layer(x.reshape(-1, x.shape[-1])).reshape(x.shape)


class Dense(nn.Module):
    """A linear layer, batch norm, SiLU."""

    def __init__(self, width):
        super().__init__()
        self.linear = nn.LazyLinear(width)
        self.norm = nn.BatchNorm1d(width)

    def forward(self, x):
        return F.silu(norm(self.norm, self.linear(x)))


class EdgeGated(nn.Module):
    """The convolution of both graphs: nodes take the gated mean of their neighbours, and edges are updated."""

    def __init__(self):
        super().__init__()
        self.gate_centre = nn.Linear(WIDTH, WIDTH)
        self.gate_neighbour = nn.Linear(WIDTH, WIDTH)
        self.gate_edge = nn.Linear(WIDTH, WIDTH)
        self.from_centre = nn.Linear(WIDTH, WIDTH)
        self.from_neighbour = nn.Linear(WIDTH, WIDTH)
        self.norm_nodes = nn.BatchNorm1d(WIDTH)
        self.norm_edges = nn.BatchNorm1d(WIDTH)

    def forward(self, x, edges, spread):
        """Return nodes [..., WIDTH] and edges [..., k, WIDTH]; `spread` takes nodes to the edges that end there."""
        z = self.gate_edge(edges) + self.gate_centre(x)[..., None, :] + spread(self.gate_neighbour(x))
        gates = torch.sigmoid(z)
        total = (gates * spread(self.from_neighbour(x))).sum(-2) / (gates.sum(-2) + 1e-6)
        update = F.silu(norm(self.norm_nodes, self.from_centre(x) + total))
        return x + update, edges + F.silu(norm(self.norm_edges, z))


class Network(nn.Module):
    """From a batch of crystals to one number each; lazy layers take their width from the first batch they see."""

    def __init__(self):
        super().__init__()
        self.embed_element = nn.Embedding(119, WIDTH)
        self.register_buffer("properties", torch.from_numpy(element_properties()))  # [119, 16]
        self.embed_properties = nn.Linear(self.properties.shape[1], WIDTH)
        self.gaussians = Gaussians(RBF_COUNT, RBF_MAX_ANGSTROM)
        self.cosines = Gaussians(ANGLE_COUNT, 2.0)
        self.embed_edge = nn.Sequential(Dense(EMBED_WIDTH), Dense(WIDTH))
        self.embed_angle = nn.Sequential(Dense(EMBED_WIDTH), Dense(WIDTH))
        self.angle_blocks = nn.ModuleList(nn.ModuleList([EdgeGated(), EdgeGated()]) for _ in range(ANGLE_BLOCKS))
        self.blocks = nn.ModuleList(EdgeGated() for _ in range(BLOCKS))
        self.head = nn.LazyLinear(1)

    def forward(self, batch):
        edge_parts = [self.gaussians(batch.distance)]  # each [n_nodes, k, any]
        edges = torch.cat(edge_parts, dim=-1)
        edges = self.embed_edge(edges)  # [n_nodes, k, WIDTH]
        direction = batch.vector / batch.distance[..., None]
        cosine = direction @ direction.transpose(1, 2)  # [n_nodes, k, k] of the angle between two bonds of an atom
        angles = self.embed_angle(self.cosines(1.0 + cosine))  # [n_nodes, k, k, WIDTH]

        node_parts = [self.embed_element(batch.element)]  # each [n_nodes, WIDTH]
        node_parts.append(self.embed_properties(self.properties[batch.element]))
        x = sum(node_parts)

        def to_bonds(values):  # [n_nodes, WIDTH] -> [n_nodes, k, WIDTH]
            return gather(values, batch.neighbour)

        def to_angles(values):  # [n_nodes, k, WIDTH] -> [n_nodes, 1, k, WIDTH]
            return values[:, None]

        for over_bonds, over_angles in self.angle_blocks:
            x, edges = over_bonds(x, edges, to_bonds)
            edges, angles = over_angles(edges, angles, to_angles)
        for block in self.blocks:
            x, edges = block(x, edges, to_bonds)

        pooled = [crystal_mean(x, batch)]  # each [n_crystals, any]
        state = torch.cat(pooled, dim=-1)
        output = self.head(state).squeeze(-1)  # [n_crystals]
        return output


def standardise(labels, kind):
    """Return what to subtract from labels and what to divide them by: their median and mean distance from it."""
    if kind == "classification":
        return 0.0, 1.0
    centre = labels.median().item()
    return centre, (labels - centre).abs().mean().item() or 1.0


def loss_of(output, label, kind):
    """Return the loss of standardised labels, or of classes 0 and 1."""
    if kind == "classification":
        return F.binary_cross_entropy_with_logits(output, label)
    return F.l1_loss(output, label)


def learning_rate(progress):
    """Return the learning rate at a share of the budget: a short warm-up, then a cosine to zero."""
    decay = 0.5 * (1.0 + torch.cos(torch.tensor(torch.pi * progress)).item())
    return LEARNING_RATE * min(1.0, progress / WARMUP + 0.01) * decay


@torch.no_grad()
def update_average(average, model, step):
    """Move the averaged weights and statistics a little towards the model's."""
    decay = min(EMA_DECAY, (1.0 + step) / (10.0 + step))  # the first weights are forgotten soon
    for old, new in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        old.lerp_(new, 1.0 - decay) if old.is_floating_point() else old.copy_(new)


@torch.no_grad()
def predict(model, graphs, centre, scale, kind):
    """Return [n_crystals] predictions in the unit of the labels, or probabilities."""
    model.eval()
    outputs = [model(graphs.batch(rows)) for rows in torch.arange(len(graphs)).split(PREDICT_BATCH_SIZE)]
    output = torch.cat(outputs).double().cpu()
    prediction = torch.sigmoid(output) if kind == "classification" else centre + scale * output
    return prediction.numpy()


def main():
    """Featurise, train until the budget is spent, predict."""
    task = Task.open()
    facts = task.facts
    torch.manual_seed(facts.seed)
    torch.set_num_threads(facts.n_threads)
    torch.set_flush_denormal(True)  # the tails of Gaussians are denormal numbers: five times slower on a CPU
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")

    graphs = Graphs(task.crystals, facts.n_threads, device)
    model = Network().to(device).eval()
    with torch.no_grad():
        model(graphs.batch(torch.arange(min(2, len(graphs)))))  # the lazy layers take their shapes
    average = copy.deepcopy(model)
    optimiser = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)

    labels = torch.from_numpy(task.start_training().copy())  # [n_crystals] float64; from here on the clock runs
    centre, scale = standardise(labels, facts.kind)
    target = ((labels - centre) / scale).float().to(device)
    model.train()
    order, step, longest = torch.zeros(0, dtype=torch.int64), 0, 0.0
    while task.seconds_left() > 4.0 * longest + 0.005 * facts.train_seconds:  # the budget is strict
        began = time.monotonic()
        if len(order) < min(BATCH_SIZE, len(graphs)):  # a smaller rest is dropped: it would upset the batch norm
            order = torch.randperm(len(graphs))
        rows, order = order[:BATCH_SIZE], order[BATCH_SIZE:]
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(task.progress())

        batch = graphs.batch(rows)
        with autocast:
            output = model(batch)
        loss = loss_of(output.float(), target[rows.to(device)], facts.kind)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_NORM)
        optimiser.step()
        step += 1
        update_average(average, model, step)
        longest = max(time.monotonic() - began, 0.98 * longest)
    if device.type == "cuda":
        torch.cuda.synchronize()

    print(f"{step} steps of {BATCH_SIZE}; the last loss is {loss.item():.4f} times {scale:.4g} {facts.unit}")

    def answer(crystals):  # asked more than once, in other company: a prediction depends on its own crystal alone
        judged = Graphs(crystals, facts.n_threads, device)
        return predict(average, judged, centre, scale, facts.kind)

    task.predict(answer)


if __name__ == "__main__":
    main()
