#!/bin/sh
# The last, smaller batch of an epoch: the same bits in every cut, the numbers of a batch of that size.
exec python3 "$2/tests/e2e/last_batch.py" "$1" "$2"
