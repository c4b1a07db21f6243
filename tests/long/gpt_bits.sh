#!/bin/sh
# The character GPT with dropout: 50 steps in 1, 2, 3 and 5 stages, both schedules, and resumed half way: the same bits.
exec python3 "$2/tests/e2e/same_bits.py" "$1" "$2" "$2/examples/gpt/gpt.c" 50 \
    1f1b:1,gpipe:1,1f1b:2,gpipe:2,1f1b:3,gpipe:3,zb-h1:3,interleaved/2:2,1f1b:5,gpipe:5,1f1b:3:resume \
    --micro-batches 4 --momentum 0.9 --clip-norm 1 --lr 0.01 --batch 8 \
    --optimizer sgd -D LAYERS=4 -D DIM=64 -D T=32 --data "text:$2/docs/ir.md"
