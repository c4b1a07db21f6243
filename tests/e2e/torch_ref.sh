#!/bin/sh
# Loss and gradients against PyTorch (ref).
exec python3 "$2/tests/e2e/torch.py" "$1" "$2" ref
