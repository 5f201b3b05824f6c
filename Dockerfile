# A static binary, no shell, no git, not root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags="-s -w" -o /gimletd . && mkdir /data

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /gimletd /gimletd
COPY --from=build --chown=nonroot:nonroot /data /data
USER nonroot
WORKDIR /
VOLUME /data
EXPOSE 8888 8889
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s CMD ["/gimletd", "healthcheck"]
ENTRYPOINT ["/gimletd"]
CMD ["serve", "--config", "/etc/gimletd/config.yaml"]
