# syntax=docker/dockerfile:1
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG COMMIT=unknown
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT}" -o /eventd ./cmd/eventd \
 && mkdir -p /root-fs/etc/eventd /root-fs/var/lib/eventd

FROM scratch
ARG VERSION=dev
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="eventd" \
      org.opencontainers.image.description="Config-driven event router with a durable retry ledger, beside applications on NATS" \
      org.opencontainers.image.source="https://github.com/eventd-io/eventd" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /usr/share/zoneinfo /usr/share/zoneinfo
COPY --from=build --chown=65532:65532 /root-fs/ /
COPY --from=build /eventd /eventd
USER 65532:65532
WORKDIR /var/lib/eventd
# The only place that is written to: mount a persistent volume here and run with
# a read-only root filesystem.
VOLUME /var/lib/eventd
# 4222 NATS when embedded, 9180 API, 9181 metrics and health
EXPOSE 4222 9180 9181
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/eventd", "health"]
ENTRYPOINT ["/eventd"]
CMD ["-config", "/etc/eventd/routes.yaml"]
