#!/bin/sh
# Measure this machine and write docs/performance.md anew; about five minutes on two cores.
#
#   benchmarks/measure.sh [NAME]
#
# NAME is the folder under benchmarks/results (default: after the processor). PYTHON says which
# Python, one with the extras dev or cpu,bench,training,export,simulation. Nothing else should run
# meanwhile: the page says how busy the machine was.
set -eu

cd "$(dirname "$0")/.."
python=${PYTHON:-python}
name=${1:-$($python -c 'from gliomart.bench import machine; print(machine.slug())')}
results=benchmarks/results/$name
studies=$(mktemp -d)
trap 'rm -rf "$studies"' EXIT
mkdir -p "$results"

# Other engines, the machine's own pace and a busy neighbour, on the simulated study.
$python -m gliomart.cli bench --provider cpu --repeats 10 --load --compare --rounds 40 \
    --out "$results/slices-256.json" --plot "$results/slices-256.png"

# Raw DICOM of 512 × 512, and a series as long as an isotropic one.
$python -m gliomart_training.simulated_study "$studies/slices-512" --slices 24 --size 512
$python -m gliomart.cli bench "$studies/slices-512" --provider cpu --repeats 5 \
    --out "$results/slices-512.json"
$python -m gliomart_training.simulated_study "$studies/series-176" --slices 176
$python -m gliomart.cli bench "$studies/series-176" --provider cpu --repeats 3 --overlays none \
    --out "$results/series-176.json"

# What a scanner installs, and nothing else: libraries that are there are imported by others.
$python -m venv "$studies/lean"
"$studies/lean/bin/pip" install --quiet '.[cpu]'
PYTHONPATH= "$studies/lean/bin/gliomart" bench --provider cpu --repeats 2 --out "$results/lean.json"

$python docs/performance.py
echo "written: $results, docs/performance.md"
