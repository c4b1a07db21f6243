#!/usr/bin/env bash
# Strangers and liars at the ports of a master and a worker. $1: stagecc, $2: sources.
exec python3 "$(dirname "$0")/strangers.py" "$1"
