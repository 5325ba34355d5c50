# One recipe for every device: BASE_IMAGE brings Python and, for CUDA and MLU, the vendor's own torch, which is kept.
#   bash docker/build.sh cpu|cuda|mlu       names the base image and fills in commit and version; by hand:
#   CPU   docker build -t crnn-bench .
#   CUDA  docker build -t crnn-bench --build-arg KEEP_TORCH=1 --build-arg BASE_IMAGE=<a PyTorch image> .
#   MLU   docker build -t crnn-bench --build-arg KEEP_TORCH=1 --build-arg BASE_IMAGE=<Cambricon's PyTorch image> .
# Nothing here needs BuildKit: hosts of older cards have older engines.
ARG BASE_IMAGE=python:3.11-slim-bookworm
FROM ${BASE_IMAGE}

# Cambricon's images keep their torch in a virtual environment; on others the path does not exist and changes nothing.
ENV PATH=/torch/venv3/pytorch/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    CRNN_VENV=/opt/crnn-bench/venv

# Requirements first: a change of the sources alone does not install them again. Wheels only, so no compiler comes in.
# KEEP_TORCH=1 refuses a base image without torch, instead of installing one that would not know the cards.
# EXTRAS="serve render" brings the web server of models.serve and the font collection of models.render, too.
ARG KEEP_TORCH=
ARG EXTRAS=
ARG PIP_EXTRA_INDEX_URL=
WORKDIR /opt/crnn-bench/src
COPY requirements*.txt requirements*.lock env.sh ./
COPY run_scripts/setup.sh run_scripts/
RUN CRNN_EXTRAS="${EXTRAS}" PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: bash -c 'source run_scripts/setup.sh'

# /data, /checkpoints and results/runs are where a run reads and writes; mount them. 1000 is the user when nothing is mounted.
RUN mkdir -p /data /checkpoints results/runs && chown -R 1000:1000 /data /checkpoints results
COPY . .
RUN python3 -m compileall -q bench models crnn_bench

ENV PATH=${CRNN_VENV}/bin:${PATH} \
    CRNN_EXTRAS=${EXTRAS} \
    PYTORCH_TRAIN_CHECKPOINT=/checkpoints \
    CRNN_SAMPLE=/data/sample \
    HOME=/tmp
USER 1000:1000

# Last, because they change with every commit.
ARG COMMIT=
ARG VERSION=
ARG BASE_IMAGE
ARG BASE_DIGEST=
ENV HARNESS_COMMIT=${COMMIT} \
    HARNESS_BASE_IMAGE=${BASE_IMAGE}
LABEL org.opencontainers.image.title="crnn-bench" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      org.opencontainers.image.base.name="${BASE_IMAGE}" \
      org.opencontainers.image.base.digest="${BASE_DIGEST}"

# Do the devices that were passed in answer? Seldom, because the question costs a second of a processor.
HEALTHCHECK --interval=10m --timeout=60s --start-period=1m CMD ["/opt/crnn-bench/venv/bin/python", "-m", "bench.health"]
CMD ["bash", "run_scripts/CRNN_Infer.sh"]
