#!/bin/sh
# Every op: gradients against finite differences, c against ref in double, optimizers.
exec python3 "$2/tests/ops/ops.py" "$1"
