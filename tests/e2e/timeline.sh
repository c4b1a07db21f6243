#!/usr/bin/env bash
# What the ranks of a real job did when, as the page tells and shows it. $1: stagecc, $2: the sources.
exec python3 "$(dirname "$0")/timeline.py" "$1"
