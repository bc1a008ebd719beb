"""coGN under the protocol of `train.py`: deep messages on nearest neighbours, edges never updated, mean pooling.

Source: Ruff et al., Digital Discovery 3, 594 (2024), arXiv:2302.14102; the best published network on matbench_mp_gap
that learned from nothing else. Published settings: NEIGHBOURS 24, WIDTH 128, BLOCKS 5, MESSAGE_LAYERS 5, BATCH_SIZE 64,
LEARNING_RATE 5e-4, and then 697,601 parameters: an embedding of the element beside its z-scored mass, radius,
electronegativity and ionisation energy and 14 bits of oxidation states; 32 Gaussians; no norm, gate or dropout.

What differs: the constants below are smaller, so that a minute on a CPU sees the crystals more than once; the tables
are pymatgen's; ties in distance are cut off at the last neighbour and not kept; cells are not folded to their
asymmetric unit; the first product of a message is split before the gather, which changes no number; and it is trained
as the seed is (AdamW, a cosine that follows the clock, averaged weights, clipped gradients).
"""

import copy
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch_geometric.data import Data
from torch_geometric.utils import scatter

from evaluation_locked.client import Task
from evaluation_locked.neighbours import nearest_neighbours

# The graph
NEIGHBOURS = 12  # published: 24
RBF_COUNT = 32
RBF_MAX_ANGSTROM = 8.0
RBF_WIDTH = 1.0  # of each Gaussian, in units of the distance between two centres

# The network
WIDTH = 64  # published: 128
BLOCKS = 3  # published: 5
MESSAGE_LAYERS = 2  # published: 5

# The training
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
WARMUP = 0.03  # share of the budget
GRADIENT_NORM = 2.0
EMA_DECAY = 0.995
PREDICT_BATCH_SIZE = 256

# Of H to Lr: mass (u / 10), radius (pm), electronegativity (Pauling, 1/100), first ionisation energy (eV / 100) and
# oxidation states; an empty place is a value that nobody has measured.
ELEMENTS = """
10:25:220:1360:-1,1 40:31::2459: 69:145:98:539:1 90:105:157:932:2 108:85:204:830:1,2,3
120:70:255:1126:-4,-3,-2,-1,1,2,3,4 140:65:304:1453:-3,-2,-1,1,2,3,4,5 160:60:344:1362:-2,-1,1,2 190:50:398:1742:-1
202:38::2156: 230:180:93:514:-1,1 243:150:131:765:1,2 270:125:161:599:1,3 281:110:190:815:-4,-3,-2,-1,1,2,3,4
310:100:219:1049:-3,-2,-1,1,2,3,4,5 321:100:258:1036:-2,-1,1,2,3,4,5,6 355:100:316:1297:-1,1,2,3,4,5,6,7
399:71::1576: 391:220:82:434:-1,1 401:180:100:611:2 450:160:136:656:1,2,3 479:140:154:683:-1,2,3,4
509:135:163:675:-1,1,2,3,4,5 520:140:166:677:-2,-1,1,2,3,4,5,6 549:140:155:743:-3,-2,-1,1,2,3,4,5,6,7
558:140:183:790:-2,-1,1,2,3,4,5,6 589:135:188:788:-1,1,2,3,4,5 587:135:191:764:-1,1,2,3,4 635:135:190:773:1,2,3,4
654:135:165:939:1,2 697:130:181:600:1,2,3 726:125:201:790:-4,1,2,3,4 749:115:218:979:-3,2,3,5
790:115:255:975:-2,2,4,6 799:115:296:1181:-1,1,3,4,5,7 838:88:300:1400: 855:235:82:418:1 876:200:95:569:2
889:180:122:622:1,2,3 912:155:133:663:1,2,3,4 929:145:160:676:-1,2,3,4,5 959:145:216:709:-2,-1,1,2,3,4,5,6
980:135:190:712:-3,-1,1,2,3,4,5,6,7 1011:130:220:736:-2,1,2,3,4,5,6,7,8 1029:135:228:746:-1,1,2,3,4,5,6
1064:140:220:834:2,4 1079:160:193:758:1,2,3 1124:155:169:899:1,2 1148:155:178:579:1,2,3 1187:145:196:734:-4,2,4
1218:145:205:861:-3,3,5 1276:140:210:901:-2,2,4,5,6 1269:140:266:1045:-1,1,3,5,7 1313:108:260:1213:
1329:260:79:389:1 1373:215:89:521:2 1389:195:110:558:2,3 1401:185:112:554:2,3,4 1409:185:113:547:2,3,4
1442:185:114:552:2,3 1450:185:113:558:3 1504:185:117:564:2,3 1520:185:120:567:2,3 1572:180:120:615:1,2,3
1589:175:110:586:1,3,4 1625:175:122:594:2,3 1649:175:123:602:3 1673:175:124:611:3 1689:175:125:618:2,3
1730:175:110:625:2,3 1750:175:127:543:3 1785:155:130:683:2,3,4 1809:145:150:755:-1,2,3,4,5
1838:135:236:786:-2,-1,1,2,3,4,5,6 1862:135:190:783:-3,-1,1,2,3,4,5,6,7 1902:130:220:844:-2,-1,1,2,3,4,5,6,7,8
1922:135:220:897:-3,-1,1,2,3,4,5,6 1951:135:228:896:-2,2,4,5,6 1970:135:254:923:-1,1,2,3,5 2006:150:200:1044:1,2,4
2044:190:162:611:1,3 2072:180:233:742:-4,2,4 2090:160:202:729:-3,3,5 2100:190:200:842:-2,2,4,6
2100::220:932:-1,1,3,5 2200:120:220:1075: 2230::70:407:1 2260:215:90:528:2 2270:195:110:538:3 2320:180:130:631:2,3,4
2310:180:150:589:3,4,5 2380:175:138:619:3,4,5,6 2370:175:136:627:3,4,5,6,7 2440:175:128:603:3,4,5,6,7
2430:175:130:597:2,3,4,5,6 2470::130:599:3,4 2470::130:620:3,4 2510::130:628:2,3,4 2520::130:637:2,3
2570::130:650:2,3 2580::130:658:2,3 2590::130:663:2,3 2620::130:496:3
"""
LOWEST_STATE = -4  # of the 14 bits


class Graphs:
    """Crystals as flat tensors on the device; a batch is a gather of rows, without a loop over crystals."""

    def __init__(self, crystals, n_threads, device):
        table = nearest_neighbours(crystals, NEIGHBOURS, n_threads=n_threads)
        self.n_atoms = torch.from_numpy(crystals.n_atoms.copy())  # [n_crystals], kept where it is summed
        self.first = torch.from_numpy(crystals.offsets[:-1].copy()).to(device)  # [n_crystals]
        first_of_atom = torch.repeat_interleave(self.first, self.n_atoms.to(device))  # [n_atoms]
        self.device = device
        # Whatever stands in these two dictionaries arrives in `batch` under its name.
        self.atom = {
            "element": torch.from_numpy(crystals.atomic_numbers.astype("int64")).to(device),  # [n_atoms]
            "neighbour": torch.from_numpy(table.index).to(device) - first_of_atom[:, None],  # [n_atoms, k]
            "distance": torch.from_numpy(table.distance).to(device),  # [n_atoms, k] angstrom
            "vector": torch.from_numpy(table.vector).to(device),  # [n_atoms, k, 3] angstrom
        }
        self.crystal = {
            "space_group": torch.from_numpy(crystals.space_group.astype("int64")).to(device),  # [n_crystals]
            "lattice": torch.from_numpy(crystals.lattice_vectors()).float().to(device),  # [n_crystals, 3, 3] angstrom
        }

    def __len__(self):
        return len(self.n_atoms)

    def batch(self, rows):
        """Return the crystals `rows` (on the CPU, any order) as one graph of many parts."""
        counts, total = self.n_atoms[rows], int(self.n_atoms[rows].sum())
        rows, counts = rows.to(self.device), counts.to(self.device)
        crystal = torch.repeat_interleave(counts, output_size=total)  # [n_atoms] the crystal of each atom
        start = counts.cumsum(0) - counts  # [n_crystals] first atom of each crystal in this batch
        atoms = torch.arange(total, device=self.device) + (self.first[rows] - start)[crystal]
        batch = Data(num_nodes=total, crystal=crystal, n_crystals=len(rows), n_atoms=counts)
        for name, values in self.atom.items():
            batch[name] = values.index_select(0, atoms)
        for name, values in self.crystal.items():
            batch[name] = values.index_select(0, rows)
        batch.neighbour = batch.neighbour + start[crystal][:, None]
        return batch


def gather(x, index):
    """Return x[index]; on a CPU the gradient of index_select is ten times as fast as that of x[index]."""
    return x.index_select(0, index.reshape(-1)).reshape(*index.shape, -1)


class Gaussians(nn.Module):
    """Distances on a grid of Gaussians (SchNet, 1706.08566)."""

    def __init__(self, count, maximum):
        super().__init__()
        self.register_buffer("centres", torch.linspace(0.0, maximum, count))
        self.inverse_width = (count - 1) / maximum / RBF_WIDTH

    def forward(self, values):  # [...] -> [..., count]
        return torch.exp(-0.5 * ((values[..., None] - self.centres) * self.inverse_width) ** 2)


def element_properties():
    """Return [119, 18]: z-scores of four properties, 0 where unknown, and a bit for each oxidation state."""
    rows = [row.split(":") for row in ELEMENTS.split()]
    values = torch.tensor([[float(value or "nan") for value in row[:4]] for row in rows])
    z_scores = (values - values.nanmean(0)) / (values - values.nanmean(0)).square().nanmean(0).sqrt()
    properties = torch.zeros(119, 18)
    properties[1 : 1 + len(rows), :4] = z_scores.nan_to_num()
    for number, row in enumerate(rows, start=1):
        for state in row[4].split(",") if row[4] else ():
            properties[number, 4 + int(state) - LOWEST_STATE] = 1.0
    return properties


class Messages(nn.Module):
    """Each atom adds up what a deep network says of each edge and both of its atoms, and of the sum another."""

    def __init__(self):
        super().__init__()
        # W [e, xi, xj] = We e + Wi xi + Wj xj: the two atom parts are multiplied before the gather, once per atom.
        self.from_centre = nn.Linear(WIDTH, WIDTH)
        self.from_neighbour = nn.Linear(WIDTH, WIDTH, bias=False)
        self.from_edge = nn.Linear(WIDTH, WIDTH, bias=False)
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(MESSAGE_LAYERS - 1))
        self.update = nn.Linear(WIDTH, WIDTH)

    def forward(self, x, edges, batch):
        z = self.from_edge(edges) + self.from_centre(x)[:, None]
        z = z + gather(self.from_neighbour(x), batch.neighbour)
        for layer in self.layers:
            z = layer(F.silu(z))
        messages = F.silu(z)  # [n_atoms, k, WIDTH]
        total = messages.sum(1)  # [n_atoms, WIDTH]
        update = F.silu(self.update(total))
        return x + update


class Network(nn.Module):
    """From a batch of crystals to one number each; lazy layers take their width from the first batch they see."""

    def __init__(self):
        super().__init__()
        self.embed_element = nn.Embedding(119, WIDTH)
        self.register_buffer("properties", element_properties())  # [119, 18]
        self.embed_node = nn.Linear(WIDTH + 18, WIDTH)
        self.gaussians = Gaussians(RBF_COUNT, RBF_MAX_ANGSTROM)
        self.embed_edge = nn.LazyLinear(WIDTH)
        self.blocks = nn.ModuleList(Messages() for _ in range(BLOCKS))
        self.head = nn.LazyLinear(1)

    def forward(self, batch):
        edge_parts = [self.gaussians(batch.distance)]  # each [n_atoms, k, any]
        edges = torch.cat(edge_parts, dim=-1)
        edges = self.embed_edge(edges)  # [n_atoms, k, WIDTH]

        node_parts = [self.embed_element(batch.element)]  # each [n_atoms, WIDTH]
        x = sum(node_parts)
        x = self.embed_node(torch.cat([x, self.properties[batch.element]], dim=-1))
        for block in self.blocks:
            x = block(x, edges, batch)

        pooled = [scatter(x, batch.crystal, 0, batch.n_crystals, reduce="mean")]  # each [n_crystals, any]
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
