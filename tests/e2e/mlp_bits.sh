#!/bin/sh
# The MLP in one, two and three stages, both schedules, with momentum and clipping: the same bits.
exec python3 "$2/tests/e2e/same_bits.py" "$1" "$2" "$2/examples/mlp/mlp.c" 20 \
    1f1b:1,gpipe:1,1f1b:2,gpipe:2,zb-h1:1,zb-h1:2,1f1b:3,zb-h1:3,interleaved/2:2,gpipe:1:again,1f1b:3:again,zb-h1:3:again \
    --backend ref --batch 32 --micro-batches 4 \
    --momentum 0.9 --clip-norm 1 --lr 0.1
