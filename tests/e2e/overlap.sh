#!/bin/sh
# Buckets are given away and added up within backward, as traces show, and the bits are those of one process.
python3 "$2/tests/e2e/overlap.py" "$1" "$2" &&
    python3 "$2/tests/e2e/replicas.py" "$1" "$2" "$2/tests/e2e/wide.c" 2 "0:2;0:2,1:1;0:1,1:3" --batch 32 --micro-batches 4 --lr 0.1 &&
    python3 "$2/tests/e2e/replicas.py" "$1" "$2" "$2/tests/e2e/wide.c" 2 "0:2,1:1" --batch 32 --micro-batches 4 --lr 0.1 --schedule zb-h1
