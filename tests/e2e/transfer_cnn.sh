#!/bin/sh
# A residual network, whose images lie in blocks of channels and whose skips cross stages.
exec python3 "$2/tests/e2e/transfer.py" "$1" "$2" "$2/examples/resnet/resnet.c" 5 exact:3:1f1b,int8:3:gpipe:1f1b \
    -D DEPTH=18 -D IMAGE=8 -D CHANNELS=1 -D CLASSES=10 --batch 8 --micro-batches 2 --lr 0.01
