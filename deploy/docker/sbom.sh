#!/usr/bin/env bash
# `make sboms`: what is in each image, as CycloneDX (JSON), from the lock file that it installs from.
# Not in it: the packages of the base image, and torch of the worker's CPU variant, which no lock has.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

out=${1:-build/sbom}
mkdir -p "$out"
for lock in router worker worker-cpu trainer; do
    .venv/bin/uv tool run --quiet --from 'cyclonedx-bom[validation]==7.5.0' cyclonedx-py requirements \
        --pyproject pyproject.toml --mc-type application --spec-version 1.6 --output-format JSON \
        --output-reproducible --output-file "$out/$lock.cdx.json" "deploy/docker/$lock.lock"
    echo "$out/$lock.cdx.json"
done
