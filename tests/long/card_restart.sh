#!/usr/bin/env bash
# Programs of the cuda backend on a device that is not there, killed and started again. $1: stagecc, $2: sources.
tests=$(dirname "$1")/tests
[ -e "$tests/libcudart_of_tests.a" ] || { echo "stagecc was built without CUDA's headers: skipped"; exit 77; }
exec python3 "$2/tests/e2e/card_restart.py" "$1" "$2" "$tests"
