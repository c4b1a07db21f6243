#!/usr/bin/env bash
# Programs under an agent's limits, and states that go from one plan to another. $1: stagecc, $2: sources.
exec python3 "$(dirname "$0")/supervised.py" "$1" "$2"
