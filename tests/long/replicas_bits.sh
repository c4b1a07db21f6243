#!/bin/sh
# ResNet-18 in 2-1 and 1-2 as one process in groups computes it: batch norm's running statistics, library kernels and their layouts.
exec python3 "$2/tests/e2e/replicas.py" "$1" "$2" "$2/examples/resnet/resnet.c" 3 "0:2,1:1;0:1,1:2" \
    -D DEPTH=18 -D IMAGE=32 -D CLASSES=10 --batch 12 --micro-batches 3 --threads 1
