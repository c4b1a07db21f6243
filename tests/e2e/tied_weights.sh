#!/bin/sh
# Weights that are tied across stages: each of them has a copy, and the bits are those of one stage, with clipping and over
# checkpoints; with replicas those of one process that adds up in the same groups.
same="python3 $2/tests/e2e/same_bits.py $1 $2"
$same "$2/tests/e2e/tied.c" 12 1f1b:1,1f1b:2,gpipe:4:resume,1f1b:5 --backend ref --batch 24 --micro-batches 4 --clip-norm 1 &&
    $same "$2/examples/gpt/gpt.c" 4 1f1b:1,1f1b:3 -D TIED=1 -D LAYERS=2 -D DIM=32 -D T=16 --data "text:$2/README.md" \
        --batch 8 --micro-batches 4 &&
    exec python3 "$2/tests/e2e/replicas.py" "$1" "$2" "$2/tests/e2e/tied.c" 6 "0:2,1:1,2:3;0:1,1:2" --backend ref \
        --batch 40 --micro-batches 5
