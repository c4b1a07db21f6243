#!/bin/sh
# ResNet-18 with 1F1B that never flushes and stashed weights, in three stages.
exec python3 "$2/tests/long/digits.py" "$1" "$2" 6 -n 3 --schedule pipedream --batch 16 --micro-batches 1
