#!/bin/sh
# The character GPT with dropout in 1, 2, 3 and 5 stages: the same bits.
exec python3 "$2/tests/e2e/same_bits.py" "$1" "$2" "$2/examples/gpt/gpt.c" 6 \
    1f1b:1,1f1b:2,gpipe:3,zb-h1:5,interleaved/2:2,gpipe:2:again -D LAYERS=4 -D DIM=64 -D T=32 --data "text:$2/README.md" \
    --batch 8 --micro-batches 4 --clip-norm 1
