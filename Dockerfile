# pykbroker in the place of apache/kafka and apache/kafka-native: the same variables, folders and commands (docs/DOCKER.md).
#   docker build -t pykbroker . && docker run -p 9092:9092 pykbroker
ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
COPY pyproject.toml README.md /src/
# What it depends on is a layer of its own, which stays as it is when only the sources change.
RUN python -m venv /opt/pykbroker && mkdir /src/wire /src/pykbroker && touch /src/wire/__init__.py /src/pykbroker/__init__.py && \
    /opt/pykbroker/bin/pip install --no-cache-dir '/src[cluster,console]' && rm -r /src/wire /src/pykbroker
COPY wire /src/wire
COPY pykbroker /src/pykbroker
RUN /opt/pykbroker/bin/pip install --no-cache-dir --no-deps --force-reinstall /src

FROM python:${PYTHON}-slim
LABEL org.opencontainers.image.title="pykbroker" \
      org.opencontainers.image.description="A Kafka broker in Python that stock Kafka clients cannot tell from Apache Kafka"
COPY --from=build /opt/pykbroker /opt/pykbroker
COPY docker/run docker/configure docker/launch docker/bash-config docker/ensure /etc/kafka/docker/
COPY docker/kafka-tools /opt/kafka/bin/kafka-tools
# /etc/confluent: where the scripts of libraries that start confluentinc/cp-kafka look. They change files there.
RUN useradd --create-home --uid 1000 appuser && \
    mkdir -p /var/lib/kafka/data /mnt/shared/config /etc/kafka/secrets /opt/kafka/config && \
    ln -s kafka /etc/confluent && \
    for tool in broker-api-versions cluster storage topics; do \
        ln -s kafka-tools /opt/kafka/bin/kafka-$tool && ln -s kafka-tools /opt/kafka/bin/kafka-$tool.sh; \
    done && \
    ln -s kafka-tools /opt/kafka/bin/zookeeper-server-start && \
    chown -R appuser:root /etc/kafka /opt/kafka /var/lib/kafka /mnt/shared && \
    chmod -R g=u /etc/kafka /opt/kafka /var/lib/kafka /mnt/shared
ENV PATH=/opt/pykbroker/bin:/opt/kafka/bin:$PATH
USER appuser
WORKDIR /home/appuser
VOLUME ["/var/lib/kafka/data", "/mnt/shared/config", "/etc/kafka/secrets"]
# 9644 is where docs/DOCKER.md has HTTP: metrics, health and the console, with KAFKA_PYKBROKER_HTTP_LISTENER.
EXPOSE 9092 9644
CMD ["/etc/kafka/docker/run"]
