#!/bin/sh
# The MLP in bf16: the same bits in every cut and synchronous schedule, computed again and resumed; with replicas those of
# one process that adds up in the same groups; without flushes those of weights as old as theory says, of which forward
# and backward share a copy. int8 is half of what travels, and close.
grep -q avx512_bf16 /proc/cpuinfo || exit 77
set -e
mlp=$2/examples/mlp/mlp.c
python3 "$2/tests/e2e/same_bits.py" "$1" "$2" "$mlp" 6 1f1b:1,zb-h1:3,interleaved/2:2,1f1b:3:again,gpipe:2:resume \
    --batch 32 --micro-batches 4 --momentum 0.9 --clip-norm 1 --lr 0.1 --dtype bf16
python3 "$2/tests/e2e/replicas.py" "$1" "$2" "$mlp" 4 "0:2,1:1>0:1,1:2" --batch 40 --micro-batches 5 --clip-norm 0.1 --lr 0.1 --dtype bf16
python3 "$2/tests/e2e/stale.py" "$1" "$2" "$mlp" 12 pipedream:3:2:6 --lr 0.05 --momentum 0.5 --dtype bf16
python3 "$2/tests/e2e/transfer.py" "$1" "$2" "$mlp" 30 exact:3:1f1b,int8:3:1f1b:gpipe --batch 32 --micro-batches 4 --momentum 0.5 --lr 0.1 --dtype bf16
