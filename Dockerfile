# One image for every component of Airflow: API server, scheduler, DAG processor, triggerer, workers.
FROM python:3.11-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /opt/sagwatch
COPY requirements.lock ./
# --no-deps: the lock names everything, and every hash is checked.
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --no-deps --require-hashes -r requirements.lock \
    && /opt/venv/bin/pip check

FROM python:3.11-slim-bookworm
RUN groupadd --gid 50000 sagwatch \
    && useradd --no-log-init --uid 50000 --gid sagwatch --home-dir /var/lib/sagwatch --create-home --shell /usr/sbin/nologin sagwatch \
    && install -d -o sagwatch -g sagwatch /var/lib/sagwatch/data /var/lib/sagwatch/logs /var/lib/sagwatch/airflow
COPY --from=build /opt/venv /opt/venv
WORKDIR /opt/sagwatch
COPY dags ./dags
COPY plugins ./plugins
COPY include ./include
COPY LICENSE README.md ./
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/sagwatch/include \
    PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/var/lib/sagwatch/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/sagwatch/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/sagwatch/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    SAGWATCH_SITES=/opt/sagwatch/include/sites \
    SAGWATCH_DATA=/var/lib/sagwatch/data \
    NUMBA_CACHE_DIR=/var/lib/sagwatch/numba \
    MPLCONFIGDIR=/var/lib/sagwatch/matplotlib
USER 50000:50000
# No task waits for the compiler; another kind of processor compiles once more, a minute.
RUN python -c "from sagwatch.engine.solve import warm_up; warm_up()"
ENTRYPOINT ["airflow"]
CMD ["version"]
