#!/bin/sh
# The MLP with replicas, data-parallel alone, uneven shares and neighbours of any ratio among them: the same bits
# on every repetition, and those of one process that adds up in the same groups. The norm that clips is of the sums. A
# checkpoint goes on with other replicas.
run() { python3 "$2/tests/e2e/replicas.py" "$1" "$2" "$2/examples/mlp/mlp.c" 6 "$3" --backend ref --batch 40 --micro-batches 5 "$4" "$5" --lr 0.1; }
run "$1" "$2" "0:2;0:3;0:2,1:1;0:3,1:1;0:2,1:3,2:1" --momentum 0.9 &&
    run "$1" "$2" "0:2,1:1>0:1,1:1>0:1,1:1,2:1>0:1,1:2>0:5;0:1,1:3" --clip-norm 0.1
