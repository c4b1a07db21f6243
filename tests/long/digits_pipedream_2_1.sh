#!/bin/sh
# ResNet-18 with 1F1B that never flushes, stashed weights, and two replicas of the first stage: PipeDream.
exec python3 "$2/tests/long/digits.py" "$1" "$2" 8 --stage_to_num_ranks 0:2,1:1 --schedule pipedream --batch 16 --micro-batches 2
