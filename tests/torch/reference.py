#!/usr/bin/env python3
"""Makes the PyTorch reference numbers of tests/torch (stored beside this script).

For each model: one batch of data, the state before each of 10 steps of SGD with momentum, the
loss and all gradients of that step in float32; and the losses of a free run of 10 steps in float64.
Run with PyTorch 2 from PyPI:  python3 reference.py    (numbers stored: torch 2.x, CPU, one thread)
"""
import json
import os

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
STEPS, LR, MOMENTUM = 10, 0.05, 0.9
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(20, 32), nn.Linear(32, 24), nn.Linear(24, 7)

    def forward(self, x):
        return self.fc3(torch.tanh(self.fc2(F.relu(self.fc1(x)))))


class Cnn(nn.Module):
    """Batch norm, a residual block, a strided projection, both kinds of pooling."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.bn2 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv3, self.bn3 = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=True), nn.BatchNorm2d(32)
        self.down = nn.Conv2d(16, 32, 1, stride=2, bias=False)
        self.fc = nn.Linear(32, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.relu(self.bn2(self.conv2(x)) + x)
        x = F.relu(self.bn3(self.conv3(x)) + self.down(x))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


class Block(nn.Module):
    def __init__(self, dim, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.q, self.k, self.v, self.proj = (nn.Linear(dim, dim) for _ in range(4))
        self.up, self.down = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)

    def forward(self, x):
        n, t, c = x.shape
        h = self.ln1(x)
        q, k, v = (p(h).view(n, t, self.heads, c // self.heads).transpose(1, 2) for p in (self.q, self.k, self.v))
        s = q @ k.transpose(-1, -2) * (c // self.heads) ** -0.5
        s = s.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), float("-inf"))
        a = (s.softmax(-1) @ v).transpose(1, 2).reshape(n, t, c)
        x = x + self.proj(a)
        return x + self.down(F.gelu(self.up(self.ln2(x)), approximate="tanh"))


class Transformer(nn.Module):
    VOCAB, T, DIM, HEADS = 13, 8, 16, 2

    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(self.VOCAB, self.DIM)
        self.wpe = nn.Parameter(torch.randn(self.T, self.DIM) * 0.1)
        self.blocks = nn.ModuleList(Block(self.DIM, self.HEADS) for _ in range(2))
        self.lnf = nn.LayerNorm(self.DIM)
        self.head = nn.Linear(self.DIM, self.VOCAB, bias=False)

    def forward(self, ids):
        x = self.wte(ids) + self.wpe
        for block in self.blocks:
            x = block(x)
        return self.head(self.lnf(x)).flatten(0, 1)


def image_batch(n, *shape, classes):
    return torch.randn(n, *shape), torch.randint(0, classes, (n,), dtype=torch.int32)


MODELS = {
    "mlp": (Mlp, lambda: image_batch(16, 20, classes=7)),
    "cnn": (Cnn, lambda: image_batch(8, 3, 8, 8, classes=5)),
    "transformer": (
        Transformer,
        lambda: (torch.randint(0, 13, (4, 8), dtype=torch.int32), torch.randint(0, 13, (4, 8), dtype=torch.int32)),
    ),
}


def state_of(model):
    return {k: v.detach().clone().contiguous() for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}


def loss_of(model, x, y):
    return F.cross_entropy(model(x), y.flatten().long())


def steps(model, x, y, on_step):
    optimizer = torch.optim.SGD(model.parameters(), lr=LR, momentum=MOMENTUM)
    for step in range(STEPS):
        before = state_of(model)
        optimizer.zero_grad()
        loss = loss_of(model, x, y)
        loss.backward()
        on_step(step, before, loss, {k: p.grad.clone().contiguous() for k, p in model.named_parameters()})
        optimizer.step()


def main():
    for name, (make, data) in MODELS.items():
        torch.manual_seed(1)
        folder = os.path.join(HERE, name)
        os.makedirs(folder, exist_ok=True)
        model, (x, y) = make(), data()
        np.save(os.path.join(folder, "x.npy"), x.numpy())
        np.save(os.path.join(folder, "y.npy"), y.numpy())
        start = state_of(model)
        single, double = [], []

        def record(step, before, loss, grads):
            save_file(before, os.path.join(folder, f"state-{step}.safetensors"))
            save_file(grads, os.path.join(folder, f"grads-{step}.safetensors"))
            single.append(loss.item())

        steps(model, x, y, record)
        model = make().double()
        model.load_state_dict({k: v.double() if v.is_floating_point() else v for k, v in start.items()}, strict=False)
        xd = x.double() if x.is_floating_point() else x
        steps(model, xd, y, lambda step, before, loss, grads: double.append(loss.item()))
        with open(os.path.join(folder, "losses.json"), "w") as f:
            json.dump({"torch": torch.__version__, "lr": LR, "momentum": MOMENTUM, "float32": single, "float64": double}, f, indent=1)
            f.write("\n")
        print(name, single[0], single[-1], double[-1])


if __name__ == "__main__":
    main()
