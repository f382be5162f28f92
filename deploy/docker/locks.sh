#!/usr/bin/env bash
# `make locks`: writes the lock files that the images install from, by hash, for Linux on x86-64.
# Versions are those of constraints.txt; run it after changing that file or pyproject.toml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

overrides=$(mktemp)
trap 'rm -f "$overrides"' EXIT

without() {  # PACKAGE...: leaves them out of the locks that follow
    printf "%s; sys_platform == 'never'\n" "$@" > "$overrides"
}

lock() {  # NAME EXTRA...: the project with these extras, and the requirements on standard input
    local name=$1 extra extras=()
    shift
    for extra in "$@"; do extras+=(--extra "$extra"); done
    .venv/bin/uv pip compile --quiet --no-header --no-annotate --generate-hashes --no-build \
        --python-version 3.11 --python-platform x86_64-manylinux_2_28 \
        --constraints deploy/constraints.txt --overrides "$overrides" \
        --output-file "deploy/docker/$name.lock" ${extras:+pyproject.toml} "${extras[@]}" -
}

# Routers and trainers use the CPU: that build of ONNX Runtime is a fifth of the other's size.
onnxruntime=$(sed -n 's/^onnxruntime-gpu==/onnxruntime==/p' deploy/constraints.txt)
without onnxruntime-gpu
echo "$onnxruntime" | lock router router otlp
echo "$onnxruntime" | lock trainer retrain
lock worker worker upstream otlp < /dev/null
echo hatchling | lock build

# All but torch, whose CPU build is in no index that has hashes; what it needs is named here.
without torch
printf "%s\n" filelock fsspec jinja2 networkx setuptools sympy typing-extensions \
    | lock worker-cpu worker upstream otlp
