#!/usr/bin/env bash
# A fourth worker, for which other programs are built while three train. $1: stagecc, $2: sources.
exec python3 "$(dirname "$0")/../e2e/master.py" "$1" fourth
