#!/bin/sh
# All models of examples/ that have a twin, in three stages: the losses that PyTorch gets from the same weights.
exec python3 "$2/tests/e2e/models.py" "$1" "$2" train
