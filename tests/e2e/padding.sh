#!/bin/sh
# What a sample is padded with changes nothing.
exec python3 "$2/tests/e2e/padding.py" "$1" "$2"
