#!/bin/sh
# ResNet-18 with two replicas of the first stage.
exec python3 "$2/tests/long/digits.py" "$1" "$2" 8 --stage_to_num_ranks 0:2,1:1 --batch 32 --micro-batches 4
