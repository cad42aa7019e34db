#!/bin/sh
# Everything there is to measure on this machine's GPU; see benchmarks/gpu.py.
exec "${PYTHON:-python3}" "$(dirname "$0")/gpu.py" "$@"
