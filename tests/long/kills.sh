#!/usr/bin/env bash
# Every process killed at every instruction, and at random. $1: stagecc, $2: sources.
exec python3 "$(dirname "$0")/kills.py" "$1" "$2"
