#!/bin/sh
# The MLP with every codec, in both backends, under both synchronous schedules, and with replicas.
model=$2/examples/mlp/mlp.c
python3 "$2/tests/e2e/transfer.py" "$1" "$2" "$model" 30 exact:3:1f1b,bf16:3:1f1b:gpipe,f16:3:1f1b,int8:3:1f1b:gpipe \
    --backend ref --batch 32 --micro-batches 4 --momentum 0.5 --lr 0.1 &&
    exec python3 "$2/tests/e2e/transfer.py" "$1" "$2" "$model" 30 exact:2+1+2:1f1b,int8:2+1+2:1f1b:gpipe,f16:2+1+2:1f1b \
        --batch 32 --micro-batches 4 --momentum 0.5 --lr 0.1
