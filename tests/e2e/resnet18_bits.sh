#!/bin/sh
# ResNet-18 on the C backend in 1, 2, 3 and 5 stages: the same bits.
exec python3 "$2/tests/e2e/same_bits.py" "$1" "$2" "$2/examples/resnet/resnet.c" 6 \
    1f1b:1,1f1b:2,gpipe:3,zb-h1:5,1f1b:2:again -D DEPTH=18 -D IMAGE=16 -D CHANNELS=1 -D CLASSES=10 \
    --batch 16 --micro-batches 4 --momentum 0.9 --clip-norm 1 --lr 0.01
