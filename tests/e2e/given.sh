#!/usr/bin/env bash
# A master and plans that people give. $1: stagecc, $2: sources.
exec python3 "$(dirname "$0")/given.py" "$1"
