#!/usr/bin/env python3
"""PyTorch's side of bench/resnet50.py and bench/gpt.py, at its best CPU setting: one process per call.

  torch_models.py resnet50|gpt THREADS STEPS      {"version": …, "step_s": […]}

The models are those of examples/resnet and examples/gpt. ResNet-50 runs channels_last with in-place
relu and the foreach form of SGD; the GPT runs fused attention and fused AdamW. The caller sets the
allocator and the threads of OpenMP (bench/against_torch.py).
"""
import dataclasses
import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn


class Bottleneck(nn.Module):
    def __init__(self, channels, width, stride):
        super().__init__()
        self.narrow, self.norm1 = nn.Conv2d(channels, width, 1, bias=False), nn.BatchNorm2d(width)
        self.spatial, self.norm2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.wide, self.norm3 = nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width)
        self.projection = None
        if stride != 1 or channels != 4 * width:
            self.projection = nn.Sequential(nn.Conv2d(channels, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width))

    def forward(self, x):
        y = F.relu(self.norm1(self.narrow(x)), inplace=True)
        y = F.relu(self.norm2(self.spatial(y)), inplace=True)
        y = self.norm3(self.wide(y))
        y += self.projection(x) if self.projection else x
        return F.relu(y, inplace=True)


class ResNet50(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64)
        blocks, channels = [], 64
        for stage, depth in enumerate((3, 4, 6, 3)):
            for i in range(depth):
                blocks.append(Bottleneck(channels, 64 << stage, 2 if stage and not i else 1))
                channels = 4 * (64 << stage)
        self.blocks, self.logits = nn.Sequential(*blocks), nn.Linear(channels, 1000)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.norm(self.stem(x)), inplace=True), 3, 2, 1)
        return self.logits(self.blocks(x).mean((2, 3)))


@dataclasses.dataclass
class Sizes:
    batch: int = 4
    t: int = 128
    dim: int = 768
    heads: int = 12
    layers: int = 12
    vocabulary: int = 256
    dropout: float = 0.1
    tied: bool = False


class Block(nn.Module):
    def __init__(self, z):
        super().__init__()
        self.z = z
        self.norm1, self.norm2 = nn.LayerNorm(z.dim), nn.LayerNorm(z.dim)
        self.qkv, self.mix = nn.Linear(z.dim, 3 * z.dim), nn.Linear(z.dim, z.dim)
        self.up, self.down, self.dropout = nn.Linear(z.dim, 4 * z.dim), nn.Linear(4 * z.dim, z.dim), nn.Dropout(z.dropout)

    def forward(self, x):
        z = self.z
        q, k, v = (t.view(z.batch, z.t, z.heads, z.dim // z.heads).transpose(1, 2) for t in self.qkv(self.norm1(x)).split(z.dim, 2))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=z.dropout)
        x = x + self.dropout(self.mix(a.transpose(1, 2).reshape(z.batch, z.t, z.dim)))
        return x + self.dropout(self.down(F.gelu(self.up(self.norm2(x)), approximate="tanh")))


class GPT(nn.Module):
    def __init__(self, z):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(z.vocabulary, z.dim), nn.Parameter(torch.randn(z.t, z.dim) * 0.02)
        self.blocks, self.norm = nn.Sequential(*(Block(z) for _ in range(z.layers))), nn.LayerNorm(z.dim)
        self.logits, self.dropout = nn.Linear(z.dim, z.vocabulary, bias=False), nn.Dropout(z.dropout)
        if z.tied:
            nn.init.normal_(self.tokens.weight, std=0.02)
            self.logits.weight = self.tokens.weight

    def forward(self, x):
        return self.logits(self.norm(self.blocks(self.dropout(self.tokens(x) + self.positions))))


def resnet50():
    model = ResNet50().train().to(memory_format=torch.channels_last)
    x = torch.randn(16, 3, 224, 224).to(memory_format=torch.channels_last)
    y = torch.randint(0, 1000, (16,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, foreach=True)
    return model, optimizer, lambda: F.cross_entropy(model(x), y), None


def gpt():
    z = Sizes()
    model = GPT(z).train()
    x, y = torch.randint(0, z.vocabulary, (z.batch, z.t)), torch.randint(0, z.vocabulary, (z.batch, z.t))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    return model, optimizer, lambda: F.cross_entropy(model(x).view(-1, z.vocabulary), y.view(-1)), 1.0


def main():
    torch.set_num_threads(int(sys.argv[2]))
    torch.manual_seed(0)
    model, optimizer, loss_of, clip = {"resnet50": resnet50, "gpt": gpt}[sys.argv[1]]()
    seconds = []
    for _ in range(int(sys.argv[3])):
        begin = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), clip, foreach=True)
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - begin)
    print(json.dumps({"version": torch.__version__, "step_s": seconds}))


if __name__ == "__main__":
    main()
