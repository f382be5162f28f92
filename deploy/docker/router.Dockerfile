# The router: neither torch nor scikit-learn. Build in the root of the repository:
#   docker build -f deploy/docker/router.Dockerfile -t localhost/ponder-router:0.1.0 .
FROM python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b AS builder
WORKDIR /src
COPY deploy/docker/build.lock deploy/docker/router.lock ./
# Packages first: they change less often than the source. Every file is checked against its hash.
RUN python -m venv /opt/ponder \
    && /opt/ponder/bin/pip install --no-cache-dir --no-deps --require-hashes -r router.lock \
    && python -m venv /opt/build \
    && /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes -r build.lock
COPY pyproject.toml README.md LICENSE ./
COPY proto proto
COPY router router
COPY classifier classifier
COPY workers workers
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /opt/ponder/bin/pip install --no-cache-dir --no-deps /wheels/*.whl \
    && /opt/ponder/bin/python -c "import router.bootstrap" \
    # What is never needed again, and would only be one more thing to patch.
    && /opt/ponder/bin/pip uninstall --yes --quiet setuptools pip

FROM python:3.11.16-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b
COPY --from=builder /opt/ponder /opt/ponder
ENV PATH=/opt/ponder/bin:$PATH HOME=/tmp PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8800
ENTRYPOINT ["python", "-m", "router"]
