#!/bin/sh
# Computing again: the memory that the plan says, the limit kept, the same bits.
exec python3 "$2/tests/e2e/recompute.py" "$1" "$2"
