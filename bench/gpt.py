#!/usr/bin/env python3
"""A GPT of GPT-2's smallest size (12 blocks, 768 features, 128 tokens, batch 4), float32, AdamW: tokens/s
beside PyTorch's.

  goal: >= 1.3 x PyTorch
    bench/gpt.py [ROUNDS [STEPS]]
"""
import sys

import against_torch
import common

OPTIONS = ["-D", "LAYERS=12", "-D", "DIM=768", "-D", "HEADS=12", "-D", "T=128", "--batch", 4]


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    steps = int(sys.argv[2]) if len(sys.argv) > 2 else 6
    data = f"text:{common.SOURCE / 'docs/ir.md'}"
    figures, _ = against_torch.compare("gpt", "examples/gpt/gpt.c", data, OPTIONS, 4 * 128, "tokens", rounds, steps)
    common.store("gpt", {"model": "GPT, 12 blocks of 768 features, 4 x 128 tokens, dropout 0.1, AdamW, float32", **figures})


main()
