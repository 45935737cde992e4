# The inference service, functions/predict: by itself, and as the container of a version on Vertex AI.
#
#   docker build --build-arg BASE=python:3.11-slim@sha256:… -t IMAGE .
#
# Give BASE with its digest (`docker buildx imagetools inspect python:3.11-slim` tells it): a tag may be other bytes
# tomorrow. None stands here, as there was no network to look it up where this was written. All Python packages are
# pinned by requirements-dev.txt, of which only those named below, and what they need, are installed.
ARG BASE=python:3.11-slim

FROM ${BASE} AS packages
WORKDIR /build
COPY requirements-dev.txt ./
RUN python -m venv /opt/packages \
 && /opt/packages/bin/pip install --no-cache-dir --constraint requirements-dev.txt \
      cloudevents flask functions-framework google-auth google-cloud-pubsub google-cloud-storage google-crc32c \
      google-genai gunicorn httpcore httpx msgspec numpy onnxruntime requests sqlglot

FROM ${BASE}
RUN useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin predict
COPY --from=packages /opt/packages /opt/packages
COPY shared/modeldrop /app/shared/modeldrop
COPY functions/predict /app/functions/predict
# THREADS: requests that wait for an LLM take no processor, and health must be answered meanwhile.
ENV PATH=/opt/packages/bin:$PATH \
    PYTHONPATH=/app/shared \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    LOG_EXECUTION_ID=true \
    THREADS=64
WORKDIR /app
USER 10001
EXPOSE 8080
# Vertex AI says where to listen in AIP_HTTP_PORT, Cloud Run in PORT.
CMD ["sh", "-c", "exec functions-framework --target predict --source functions/predict/main.py --host 0.0.0.0 --port ${AIP_HTTP_PORT:-${PORT:-8080}}"]
