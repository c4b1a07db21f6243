"""Numbers that a model of ours and its PyTorch twin both begin with, made alike on both sides.

A tensor is a piece of one fixed sequence of random numbers, repeated: which piece follows from its shape and
from how many tensors of that shape came before it. So no names need to match, and order matters only among
equals.
"""
import array
import math
import random

PERIOD = 4099  # prime, so that rows of a matrix differ
BASE = [random.Random(f"pattern {i}").uniform(-1, 1) for i in range(PERIOD)]


def numbers(count, start, scale, middle=0.0):
    piece = array.array("f", (middle + scale * v for v in BASE))
    begin = start % PERIOD
    return (piece * (1 + (begin + count) // PERIOD))[begin : begin + count]


class Pattern:
    """of(SHAPE, ROLE) in the model's order; role: weight, norm (a scale near 1) or bias."""

    def __init__(self):
        self.seen = {}

    def of(self, shape, role):
        shape = tuple(shape)
        while shape[:1] == (1,) and len(shape) > 1:
            shape = shape[1:]
        key = (shape, role)
        before = self.seen[key] = self.seen.get(key, -1) + 1
        start = 1009 * before + 17 * sum(shape)
        if role == "weight":
            return numbers(math.prod(shape), start, math.sqrt(6 / max(1, math.prod(shape[1:]))) if len(shape) > 1 else 1)
        return numbers(math.prod(shape), start, 0.1, 1.0 if role == "norm" else 0.0)


def image_batch(n, channels, size, classes):
    return numbers(n * channels * size * size, 5, 1.0), [(7 * i + 3) % classes for i in range(n)]


def token_batch(n, length, vocabulary):
    draw = random.Random("tokens")
    return tuple([draw.randrange(vocabulary) for _ in range(n * length)] for _ in range(2))
