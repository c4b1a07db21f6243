#!/bin/sh
# Convolutions and batch norm on the C backend: weights in their kernels' own layouts have versions too,
# and so have the copies for backward.
exec python3 "$2/tests/e2e/stale.py" "$1" "$2" "$2/tests/torch/cnn.c" 16 \
    pipedream:3:1:256,pipedream-vertical:2:1:5,pipedream-2bw:3:4:256 \
    --lr 0.02 --momentum 0.9 --data synthetic:96
