#!/usr/bin/env bash
# Every op of the cuda backend under the runtime that drives a device, without one. $1: stagecc, $2: sources.
tests=$(dirname "$1")/tests
[ -e "$tests/libcudart_of_tests.a" ] || { echo "stagecc was built without CUDA's headers: skipped"; exit 77; }
exec python3 "$2/tests/long/ops_card.py" "$1" "$2" "$tests"
