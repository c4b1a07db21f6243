#!/bin/sh
# ResNet-18 in three stages, between which activations and gradients travel as int8, then as bf16.
python3 "$2/tests/long/digits.py" "$1" "$2" 6 -n 3 --transfer int8 --batch 32 --micro-batches 4 &&
    exec python3 "$2/tests/long/digits.py" "$1" "$2" 6 -n 3 --transfer bf16 --batch 32 --micro-batches 4
