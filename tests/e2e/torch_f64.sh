#!/bin/sh
# Loss and gradients against PyTorch (f64).
exec python3 "$2/tests/e2e/torch.py" "$1" "$2" f64
