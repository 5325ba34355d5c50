# One recipe for every device: BASE_IMAGE brings Python and, for CUDA and MLU, the vendor's own torch, which is kept.
#   CPU   docker build -t crnn-bench .
#   CUDA  docker build -t crnn-bench --build-arg BASE_IMAGE=pytorch/pytorch:2.11.0-cuda13.0-cudnn9-runtime .
#   MLU   docker build -t crnn-bench --build-arg BASE_IMAGE=<Cambricon's pytorch image> .
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}

ARG COMMIT=
LABEL org.opencontainers.image.title="crnn-bench" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.revision="${COMMIT}"
ENV HARNESS_COMMIT=${COMMIT} \
    PYTHONUNBUFFERED=1 \
    CRNN_VENV=/opt/crnn-bench/venv

# Cambricon's images keep their torch in a virtual environment of their own; on others the path does not exist.
ENV PATH=/torch/venv3/pytorch/bin:${PATH}

# Requirements first: a change of the sources alone does not install them again.
WORKDIR /opt/crnn-bench/src
COPY requirements.txt requirements-torch.txt requirements-dev.txt env.sh ./
COPY run_scripts/setup.sh run_scripts/
RUN bash -c 'source run_scripts/setup.sh' && rm -rf /root/.cache

COPY . .
RUN useradd --create-home --uid 1000 bench 2>/dev/null || true; \
    mkdir -p /data /checkpoints results/runs && chown -R 1000:1000 /data /checkpoints results
USER 1000:1000
ENV PYTORCH_TRAIN_CHECKPOINT=/checkpoints \
    CRNN_SAMPLE=/data/sample

HEALTHCHECK --interval=1m --timeout=20s CMD ["/opt/crnn-bench/venv/bin/python", "-m", "bench.device"]
CMD ["bash", "run_scripts/CRNN_Infer.sh"]
