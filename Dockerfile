# An image for JupyterHub and for docker run; the default model is inside, so it needs no network later.
#   docker build -t several-tokens .
# PyTorch without its libraries for GPUs (several GB), with the index of CPU builds that pytorch.org names:
#   docker build --build-arg PIP_ARGS="--extra-index-url ADDRESS" -t several-tokens .
#   docker run -p 8888:8888 several-tokens
FROM python:3.11-slim

ARG PIP_ARGS=""
RUN useradd --create-home --uid 1000 learner
ENV COURSE_CACHE=/opt/course-models HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false PIP_NO_CACHE_DIR=1
WORKDIR /opt/several-tokens

# The list of packages comes first: while it stays the same, a change of a lesson installs nothing again.
COPY pyproject.toml README.md LICENSE ./
COPY course_utils ./course_utils
RUN pip install ${PIP_ARGS} -e . "jupyterhub>=5,<6" \
    && several-tokens fetch smollm2 \
    && chmod -R a+rX /opt/course-models

COPY --chown=learner:learner . .
RUN chown learner:learner /opt/several-tokens
USER learner
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"]
