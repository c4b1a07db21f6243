#!/bin/sh
# The MLP with replicas, data-parallel alone, uneven shares and neighbours of any ratio among them: the same bits
# on every repetition, and those of one process that adds up in the same groups.
exec python3 "$2/tests/e2e/replicas.py" "$1" "$2" "$2/examples/mlp/mlp.c" 6 \
    "0:2;0:3;0:2,1:1;0:3,1:1;0:2,1:3,2:1" --backend ref --batch 40 --micro-batches 5 --momentum 0.9 --lr 0.1
