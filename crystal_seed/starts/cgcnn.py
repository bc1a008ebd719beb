"""CGCNN under the protocol of `train.py`: gated convolutions on the nearest neighbours, mean pooling, nothing else.

Source: Xie and Grossman, Phys. Rev. Lett. 120, 145301 (2018), arXiv:1710.10324. Published settings, all kept here: 12
neighbours, 41 Gaussians from 0 to 8 angstrom, atoms as 92 bits of tabulated properties, width 64, 3 convolutions with
batch norm on messages and on their sum, softplus, mean pooling, a head of 128: 80,833 parameters.

What differs: the bits are made here from a table of our own (pymatgen's values, the published ranges and numbers of
bins); neighbours are not cut off at 8 angstrom; the first product is split before the gather, which changes no number;
and it is trained as the seed is (L1 loss, AdamW, a cosine that follows the clock, averaged weights, clipped gradients),
where the original minimises squared errors with SGD.
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
NEIGHBOURS = 12
RBF_COUNT = 41
RBF_MAX_ANGSTROM = 8.0
RBF_WIDTH = 0.7071  # of each Gaussian, in units of the distance between two centres: exp(-(d - c)^2 / 0.2^2)

# The network
WIDTH = 64
BLOCKS = 3
HEAD_WIDTH = 128
DROPOUT = 0.0

# The training
BATCH_SIZE = 32
LEARNING_RATE = 5e-3
WEIGHT_DECAY = 0.05
WARMUP = 0.03  # share of the budget
GRADIENT_NORM = 2.0
EMA_DECAY = 0.995
PREDICT_BATCH_SIZE = 256

# Of H to Lr: electronegativity (Pauling, 1/100), radius (pm), first ionisation energy and electron affinity (eV / 100),
# molar volume (cm^3 / 10); an empty place is a value that nobody has measured.
ELEMENTS = """
220:25:1360:75:114 :31:2459:-52:210 98:145:539:62:130 157:105:932:-52:48 204:85:830:28:44 255:70:1126:126:53
304:65:1453:-7:135 344:60:1362:146:174 398:50:1742:340:112 :38:2156:-122:132 93:180:514:55:238 131:150:765:-42:140
161:125:599:43:100 190:110:815:139:121 219:100:1049:75:170 258:100:1036:208:155 316:100:1297:361:174
:71:1576:-102:226 82:220:434:50:459 100:180:611:2:262 136:160:656:18:150 154:140:683:8:106 163:135:675:53:83
166:140:677:68:72 155:140:743:-52:74 183:140:790:15:71 188:135:788:66:67 191:135:764:116:66 190:135:773:124:71
165:135:939:-62:92 181:130:600:30:118 201:125:790:123:136 218:115:979:80:130 255:115:975:202:164
296:115:1181:336:198 300:88:1400:-102:280 82:235:418:49:558 95:200:569:5:339 122:180:622:31:199 133:155:663:43:140
160:145:676:92:108 216:145:709:75:94 190:135:712:55:86 220:130:736:105:82 228:135:746:114:83 220:140:834:56:86
193:160:758:130:103 169:155:899:-72:130 178:155:579:38:158 196:145:734:111:163 205:145:861:105:182
210:140:901:197:205 266:140:1045:306:257 260:108:1213:-82:359 79:260:389:47:709 89:215:521:14:382 110:195:558:56:224
112:185:554:60:207 113:185:547:11:208 114:185:552:10:206 113:185:558:13:202 117:185:564:16:200 120:185:567:12:290
120:180:615:21:199 110:175:586:13:193 122:175:594:2:190 123:175:602:34:187 124:175:611:31:185 125:175:618:103:191
110:175:625:-2:248 127:175:543:24:178 130:155:683:18:134 150:145:755:33:108 236:135:786:82:95 190:135:783:6:89
220:130:844:108:84 220:135:897:156:85 228:135:896:213:91 254:135:923:231:102 200:150:1044:-52:141 162:190:611:32:172
233:180:742:36:183 202:160:729:94:213 200:190:842:141:230 220::932:242: 220:120:1075:-72:505 70::407:49:
90:215:528:10:411 110:195:538:35:226 130:180:631:61:198 150:180:589:55:152 138:175:619:31:125 136:175:627:48:116
128:175:603:-50:123 130:175:597:10:176 130::599:28:180 130::620:-172:168 130::628:-101:165 130::637:-30:285
130::650:35: 130::658:98: 130::663:-233: 130::496:-31:
"""


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


def bits_of(values, low, high, count):
    """Return [n, count] rows with a one in the bin of each value between low and high, and none where it is unknown."""
    values = torch.as_tensor(values, dtype=torch.float32)
    index = ((values - low) / (high - low) * count).nan_to_num().long().clamp(0, count - 1)
    return F.one_hot(index, count) * ~values.isnan()[:, None]


def element_bits():
    """Return [119, 92]: group, period, block, valence electrons and five properties of each element, in bins."""
    noble = [0, 2, 10, 18, 36, 54, 86, 118]
    group, period, block, valence = [], [], [], []
    for number in range(119):
        row = max(sum(number > last for last in noble), 1)
        filled, left = number - noble[row - 1], noble[row] - number  # electrons since the last noble gas, to the next
        kind = "s" if filled <= 2 else "p" if left < 6 else "d" if left < 16 else "f"
        group.append(18 - left if kind in "pd" or number == 2 else filled if kind == "s" else 3)
        period.append(row)
        block.append("spdf".index(kind))
        valence.append(min(18 - left - 10 if kind == "p" else filled, 12))
    table = torch.full((119, 5), torch.nan)
    rows = [[float(value or "nan") for value in row.split(":")] for row in ELEMENTS.split()]
    table[1 : 1 + len(rows)] = torch.tensor(rows)
    parts = [
        bits_of(group, 0.5, 18.5, 18),
        bits_of(period, 0.5, 8.5, 8),
        bits_of(table[:, 0] / 100, 0.5, 4.0, 10),
        bits_of(table[:, 1], 25.0, 250.0, 10),
        bits_of(valence, 0.5, 12.5, 12),
        bits_of((table[:, 2] / 100).log(), 1.3, 3.3, 10),
        bits_of(table[:, 3] / 100, -3.0, 3.7, 10),
        bits_of(block, -0.5, 3.5, 4),
        bits_of((table[:, 4] / 10).log(), 1.5, 4.3, 10),
    ]
    return torch.cat(parts, dim=1).float()


class GatedConvolution(nn.Module):
    """Each atom adds up gated messages from its neighbours (equation 5 of the paper)."""

    def __init__(self):
        super().__init__()
        # W [e, xi, xj] = We e + Wi xi + Wj xj: the two atom parts are multiplied before the gather, once per atom.
        self.from_centre = nn.Linear(WIDTH, 2 * WIDTH)
        self.from_neighbour = nn.Linear(WIDTH, 2 * WIDTH, bias=False)
        self.from_edge = nn.LazyLinear(2 * WIDTH, bias=False)
        self.norm_messages = nn.BatchNorm1d(2 * WIDTH)
        self.norm = nn.BatchNorm1d(WIDTH)

    def forward(self, x, edges, batch):
        z = self.from_edge(edges) + self.from_centre(x)[:, None]
        z = z + gather(self.from_neighbour(x), batch.neighbour)  # [n_atoms, k, 2 WIDTH]
        z = self.norm_messages(z.reshape(-1, 2 * WIDTH)).reshape(z.shape)
        gate, core = z.chunk(2, dim=-1)
        messages = torch.sigmoid(gate) * F.softplus(core)  # [n_atoms, k, WIDTH]
        total = messages.sum(1)  # [n_atoms, WIDTH]
        total = self.norm(total)
        return F.softplus(x + total)


class Network(nn.Module):
    """From a batch of crystals to one number each; lazy layers take their width from the first batch they see."""

    def __init__(self):
        super().__init__()
        self.register_buffer("bits", element_bits())  # [119, 92]
        self.embed_bits = nn.Linear(92, WIDTH)
        self.gaussians = Gaussians(RBF_COUNT, RBF_MAX_ANGSTROM)
        self.blocks = nn.ModuleList(GatedConvolution() for _ in range(BLOCKS))
        self.head = nn.Sequential(
            nn.Softplus(),
            nn.LazyLinear(HEAD_WIDTH),
            nn.Softplus(),
            nn.Dropout(DROPOUT),
            nn.Linear(HEAD_WIDTH, 1),
        )

    def forward(self, batch):
        edge_parts = [self.gaussians(batch.distance)]  # each [n_atoms, k, any]
        edges = torch.cat(edge_parts, dim=-1)

        node_parts = [self.embed_bits(self.bits[batch.element])]  # each [n_atoms, WIDTH]
        x = sum(node_parts)
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
