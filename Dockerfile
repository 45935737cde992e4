# The inference service, functions/predict: by itself, and as the container of a version on Vertex AI.
#
#   docker build --build-arg BASE=python:3.11-slim@sha256:… -t IMAGE .
#
# BASE must name its digest, as a tag may be other bytes tomorrow; docs/inference.md says how to get one. None stands
# here, as no registry could be asked where this was written. All Python packages are pinned by requirements-dev.txt, of
# which only those named below, and what they need, are installed.
ARG BASE

FROM ${BASE} AS packages
ARG BASE
RUN case "$BASE" in *@sha256:????????????????????????????????????????????????????????????????) ;; \
    *) echo "BASE must be an image with its digest, python:3.11-slim@sha256:…, not '$BASE'" >&2; exit 1 ;; esac
WORKDIR /build
COPY requirements-dev.txt ./
RUN python -m venv /opt/packages \
 && /opt/packages/bin/pip install --no-cache-dir --constraint requirements-dev.txt \
      cloudevents flask functions-framework google-auth google-cloud-pubsub google-cloud-storage google-crc32c \
      google-genai gunicorn httpcore httpx msgspec numpy onnxruntime redis requests sqlglot

FROM ${BASE}
RUN useradd --system --no-log-init --uid 10001 --no-create-home --shell /usr/sbin/nologin predict
COPY --from=packages /opt/packages /opt/packages
COPY shared/modeldrop /app/shared/modeldrop
COPY functions/predict /app/functions/predict
# Files come with the modes they have where it is built, which may be for their owner's eyes alone.
RUN chmod -R a+rX /app
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
