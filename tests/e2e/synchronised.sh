#!/bin/sh
# Synchronised batch norm: replicas train as one process with larger micro-batches does, in any cut and schedule.
exec python3 "$(dirname "$0")/synchronised.py" "$@"
