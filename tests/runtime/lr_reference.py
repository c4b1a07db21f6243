#!/usr/bin/env python3
"""Makes lr_reference.inc: learning rates of PyTorch's schedulers for test_lr.c.

Run with PyTorch 2 from PyPI:  python3 lr_reference.py
"""
import os
import warnings

import torch
from torch.optim.lr_scheduler import (CosineAnnealingLR, LinearLR, PolynomialLR, SequentialLR,
                                      StepLR)

STEPS = 24
warnings.simplefilter("ignore")

# Name, our schedule, PyTorch's, warm-up. T is what our schedule falls over.
CASES = [
    ("step 5, gamma 0.3", dict(name="step", gamma=0.3, steps=5),
     lambda o: StepLR(o, 5, gamma=0.3), 0),
    ("step 4 after 6 of warm-up", dict(name="step", gamma=0.1, steps=4),
     lambda o: StepLR(o, 4, gamma=0.1), 6),
    ("cosine over 24", dict(name="cosine", steps=24, final=0.001),
     lambda o: CosineAnnealingLR(o, 24, eta_min=0.001), 0),
    ("cosine over the 19 after warm-up", dict(name="cosine", steps=0, total=24, final=0),
     lambda o: CosineAnnealingLR(o, 19), 5),
    ("polynomial, power 2, over 24", dict(name="polynomial", power=2, steps=24),
     lambda o: PolynomialLR(o, 24, power=2), 0),
    ("polynomial over 12, then zero", dict(name="polynomial", power=0.9, steps=12),
     lambda o: PolynomialLR(o, 12, power=0.9), 0),
    ("constant after 4 of warm-up", dict(name="constant"), None, 4),
]


def rates(make, warmup):
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    parts, at = [], []
    if warmup:  # lr (s + 1) / warmup
        parts.append(LinearLR(optimizer, start_factor=1 / warmup, end_factor=1,
                              total_iters=warmup - 1))
        at.append(warmup)
    parts.append(make(optimizer) if make else LinearLR(optimizer, 1, 1, 1))
    schedule = SequentialLR(optimizer, parts, at) if warmup else parts[0]
    out = []
    for _ in range(STEPS):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return out


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "lr_reference.inc"), "w") as f:
        f.write(f"// By lr_reference.py with torch {torch.__version__.split('+')[0]}.\n")
        for name, ours, make, warmup in CASES:
            fields = dict(lr=0.1, warmup=warmup, **ours)
            text = ", ".join(f'.{k} = "{v}"' if k == "name" else f".{k} = {v}"
                             for k, v in fields.items())
            f.write('{"%s",\n {%s},\n {' % (name, text))
            f.write(",\n  ".join(", ".join(f"{r:.17g}" for r in rates(make, warmup)[i:i + 4])
                                 for i in range(0, STEPS, 4)))
            f.write("}},\n")


main()
