# trendmark with all features. Build it with `docker build --tag trendmark .`; `docker-compose.yml`
# does that.

FROM rust:1.89-slim-bookworm AS build
# A C and C++ compiler, make and perl for librdkafka, OpenSSL, SQLite and Zstandard.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends build-essential perl \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY Cargo.toml Cargo.lock ./
COPY benches benches
COPY dataflows dataflows
COPY src src
RUN cargo install --path . --locked --features full --root /usr/local

FROM debian:bookworm-slim
# The certificates are for TLS to brokers and schema registries.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 10001 trendmark
COPY --from=build /usr/local/bin/trendmark /usr/local/bin/trendmark
USER trendmark
WORKDIR /home/trendmark
ENTRYPOINT ["trendmark"]
CMD ["--help"]
