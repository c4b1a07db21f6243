#!/usr/bin/env python3
"""Prints the rows of tests/ir/window_sizes.inc: output sizes that PyTorch gives for random windows."""
import random

import torch
import torch.nn.functional as F

random.seed(5)
print("// Made by tests/ir/window_sizes.py with PyTorch: {op, in, kernel, stride, padding, dilation,\n"
      "// ceil_mode, out}, each [height, width]; out {0, 0} is an error.")
rows = 0
while rows < 48:
    op = random.choice(["conv2d", "max_pool2d", "avg_pool2d"])
    size = random.randint(1, 20), random.randint(1, 20)
    kernel = random.randint(1, 5), random.randint(1, 5)
    stride = random.randint(1, 4), random.randint(1, 4)
    dilation = (1, 1) if op == "avg_pool2d" else (random.randint(1, 3), random.randint(1, 3))
    ceil = op != "conv2d" and random.random() < 0.7
    padding = tuple(random.randint(0, 3 if op == "conv2d" else k // 2) for k in kernel)
    x = torch.zeros(2, 3, *size)
    try:
        if op == "conv2d":
            y = F.conv2d(x, torch.zeros(4, 3, *kernel), None, stride, padding, dilation)
        elif op == "max_pool2d":
            y = F.max_pool2d(x, kernel, stride, padding, dilation, ceil_mode=ceil)
        else:
            y = F.avg_pool2d(x, kernel, stride, padding, ceil_mode=ceil)
        out = tuple(y.shape[2:])
    except RuntimeError:
        if random.random() < 0.8:
            continue
        out = (0, 0)
    pairs = ", ".join("{%d, %d}" % p for p in (size, kernel, stride, padding, dilation))
    print("{OP_%s, %s, %d, {%d, %d}}," % ((op.upper(), pairs, ceil) + out))
    rows += 1
