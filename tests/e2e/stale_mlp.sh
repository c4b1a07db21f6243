#!/bin/sh
# The MLP under every asynchronous schedule: bit for bit what one process computes with weights as old as
# theory says, with drains, a resumed run, and several micro-batches a step. Double-buffered weights are as
# old in any number of stages. Replicas add up in groups, with weights as old as each has them,
# and half of eight have nothing to add in the last step of an epoch.
python3 "$2/tests/e2e/stale.py" "$1" "$2" "$2/examples/mlp/mlp.c" 24 \
    pipedream:3:1:256,pipedream:3:1:6,pipedream:3:2:8,pipedream-vertical:3:1:256,pipedream-2bw:3:4:256,pipedream:2-1:2:256,pipedream:1-2-1:4:6,pipedream:3-1:6:8,pipedream:2:4:256 \
    --backend ref --lr 0.05 --momentum 0.5 &&
    python3 "$2/tests/e2e/stale.py" "$1" "$2" "$2/examples/mlp/mlp.c" 12 pipedream:3:2:256 \
        --backend ref --recompute always &&
    python3 "$2/tests/e2e/stale.py" "$1" "$2" "$2/examples/mlp/mlp.c" 26 pipedream:8-1:8:23 --backend ref --lr 0.05 &&
    exec python3 "$2/tests/e2e/same_bits.py" "$1" "$2" "$2/examples/mlp/mlp.c" 20 \
        pipedream-2bw:1,pipedream-2bw:2,pipedream-2bw:3 --backend ref --batch 32 --micro-batches 4 \
        --lr 0.05 --momentum 0.5
