# The worker, with the reference model. Build in the root of the repository, for a GPU:
#   docker build -f deploy/docker/worker.Dockerfile -t localhost/ponder-worker:0.1.0 .
# and without CUDA, a tenth of the size; TORCH_CPU_INDEX is PyTorch's index of CPU wheels:
#   docker build -f deploy/docker/worker.Dockerfile -t localhost/ponder-worker:0.1.0-cpu \
#     --build-arg VARIANT=cpu --build-arg TORCH_CPU_INDEX=URL .
ARG VARIANT=cuda

FROM python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS builder
WORKDIR /src
COPY deploy/docker/build.lock ./
RUN python -m venv /opt/ponder \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes -r build.lock

# The CUDA libraries are Python packages that torch asks for; the driver is the node's.
FROM builder AS dependencies-cuda
WORKDIR /src
COPY deploy/docker/worker.lock ./
RUN /opt/ponder/bin/pip install --no-cache-dir --no-deps --require-hashes -r worker.lock

# torch by version only: PyTorch's index of CPU builds is no part of the lock.
FROM builder AS dependencies-cpu
WORKDIR /src
ARG TORCH_CPU_INDEX
COPY deploy/constraints.txt deploy/docker/worker-cpu.lock ./
RUN /opt/ponder/bin/pip install --no-cache-dir --no-deps --require-hashes -r worker-cpu.lock \
    && torch="$(grep '^torch==' constraints.txt)+cpu" \
    && /opt/ponder/bin/pip install --no-cache-dir --no-deps \
        ${TORCH_CPU_INDEX:+--extra-index-url "$TORCH_CPU_INDEX"} "$torch" \
    && /opt/ponder/bin/pip check

# hadolint ignore=DL3006
FROM dependencies-${VARIANT} AS package
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY proto proto
COPY router router
COPY classifier classifier
COPY workers workers
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/ponder/bin/pip install --no-cache-dir --no-deps /wheels/*.whl \
    && /opt/ponder/bin/python -c "import workers.process" \
    # torch imports setuptools in places, so only pip goes.
    && /opt/ponder/bin/pip uninstall --yes --quiet pip

FROM python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
COPY --from=package /opt/ponder /opt/ponder
# A place for models that does not depend on the version of Python.
RUN mkdir /models \
    && ln -s /opt/ponder/lib/python3.11/site-packages/workers/reference /models/ponder-reference
# What the NVIDIA container runtime makes visible: the driver for computing and nvidia-smi.
ENV PATH=/opt/ponder/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1 \
    NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 65532:65532
EXPOSE 50061
ENTRYPOINT ["python", "-m", "workers"]
