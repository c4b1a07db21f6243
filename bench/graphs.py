#!/usr/bin/env python3
"""Profiled graphs of any size, as deep networks have them: milliseconds, megabytes, parameters that grow as images shrink.

    bench/graphs.py chain N [SEED]    N layers, one after another
    bench/graphs.py dag N [SEED]      N layers in residual blocks, inception blocks and NASNet cells: branches side by side,
                                      skip connections over one block and over two
prints graph.txt; the same arguments make the same graph.
"""
import random
import sys

LEVELS = 5  # the images' sides are halved so often, and channels doubled

# kind: milliseconds forward and backward of a layer, parameters at the first level in bytes; each within a factor of two
KINDS = {
    "Conv2d": (1.2, 2.4, 36e3),
    "SeparableConv2d": (0.5, 0.8, 9e3),
    "BatchNorm2d": (0.4, 0.5, 5e2),
    "ReLU": (0.3, 0.2, 0),
    "MaxPool2d": (0.3, 0.5, 0),
    "Add": (0.1, 0.1, 0),
    "Concat": (0.2, 0.2, 0),
}


class Graph:
    def __init__(self, layers, seed):
        self.random = random.Random(seed)
        self.layers = layers
        self.nodes, self.edges = [], []

    def add(self, kind, *inputs, width=1.0):
        """A layer whose activations have `width` times the channels of its level; returns its number."""
        forward, backward, parameters = KINDS[kind]
        level = min(len(self.nodes) * LEVELS // self.layers, LEVELS - 1)
        scale = [self.random.uniform(0.5, 2) for _ in range(3)]
        number = len(self.nodes) + 1
        self.nodes.append(f"node{number} -- {kind}(level={level}) -- forward_compute_time={forward * scale[0]:.3f}, "
                          f"backward_compute_time={backward * scale[1]:.3f}, activation_size={16e6 * width / 2**level:.3f}, "
                          f"parameter_size={parameters * scale[2] * 4**level:.3f}")
        self.edges += [f"\tnode{i} -- node{number}" for i in inputs]
        return number

    def row(self, x, *kinds, width=1.0):
        for kind in kinds:
            x = self.add(kind, x, width=width)
        return x

    def room(self, layers):
        return len(self.nodes) + layers <= self.layers

    def text(self):
        return "\n".join(self.nodes + self.edges) + "\n"


def residual(g, x, before):
    narrow = g.row(x, "Conv2d", "BatchNorm2d", "ReLU", "Conv2d", "BatchNorm2d", "ReLU", width=0.25)
    return g.add("ReLU", g.add("Add", g.row(narrow, "Conv2d", "BatchNorm2d"), x))


def inception(g, x, before):
    branches = [g.row(x, *["Conv2d", "BatchNorm2d", "ReLU"] * depth, width=0.25) for depth in (1, 2, 3)]
    return g.add("Concat", *branches, g.row(x, "MaxPool2d", "Conv2d", "BatchNorm2d", "ReLU", width=0.25))


def cell(g, x, before):
    """Five pairs of branches of what came last, of what came before it, and of earlier pairs (Zoph et al., CVPR 2018)."""
    ready = [g.row(i, "ReLU", "Conv2d", "BatchNorm2d", width=0.2) for i in (x, before)]
    for _ in range(5):
        pair = []
        for i in g.random.sample(ready, 2):
            separable = ["ReLU", "SeparableConv2d", "BatchNorm2d"] * g.random.choice((0, 1, 2))
            pair.append(g.row(i, *separable or ["MaxPool2d"], width=0.2))
        ready.append(g.add("Add", *pair, width=0.2))
    return g.add("Concat", *ready[2:])


def chain(layers, seed=1):
    g = Graph(layers, seed)
    x = g.add("Conv2d")
    while g.room(1):
        x = g.add(g.random.choice(("Conv2d", "BatchNorm2d", "ReLU")), x)
    return g.text()


def dag(layers, seed=1):
    g = Graph(layers, seed)
    before = x = g.add("Conv2d")
    while g.room(46):
        before, x = x, g.random.choice((residual, inception, cell))(g, x, before)
    while g.room(1):
        x = g.add("Conv2d", x)
    return g.text()


if __name__ == "__main__":
    sys.stdout.write({"chain": chain, "dag": dag}[sys.argv[1]](*map(int, sys.argv[2:])))
