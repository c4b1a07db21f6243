#!/usr/bin/env python3
"""Makes resize_reference.inc: images resized by PyTorch for test_data.c.

Run with PyTorch 2 from PyPI:  python3 resize_reference.py
"""
import os

import torch
import torch.nn.functional as F

HEIGHT, WIDTH = 5, 4


def main():
    pixels = torch.tensor([(37 * i * i + 11 * i) % 256 for i in range(HEIGHT * WIDTH)])
    image = ((pixels.double() / 255 - 0.5) / 0.5).reshape(1, 1, HEIGHT, WIDTH)
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "resize_reference.inc"), "w") as f:
        f.write(f"// By resize_reference.py with torch {torch.__version__.split('+')[0]}.\n")
        for h, w in [(7, 9), (3, 2), (10, 8), (5, 4), (1, 1)]:
            out = F.interpolate(image, (h, w), mode="bilinear", align_corners=False)
            text = ["%.9g" % v for v in out.flatten().tolist()]
            lines = [", ".join(text[i:i + 7]) for i in range(0, len(text), 7)]
            f.write("{%d, %d,\n {%s}},\n" % (h, w, ",\n  ".join(lines)))


main()
