#!/bin/sh
# A gRPC client with grpcurl; the service supports reflection, so no proto file is needed.
# usage: examples/clients/over_grpc.sh PICTURE [127.0.0.1:50051] [MODEL]
# over TLS: GRPCURL_TLS="-cacert ca.crt" (and "-cert client.crt -key client.key" if the service requires it)
set -eu
picture=${1:?"usage: $0 PICTURE [ADDRESS] [MODEL]"} address=${2:-127.0.0.1:50051} model=${3:-}
exec <"$picture"
# grpcurl's JSON has bytes in base64; it is sent on stdin, since a picture is too long for a command line
printf '{"image": "%s", "model": "%s"}' "$(base64 | tr -d '\n')" "$model" |
  grpcurl ${GRPCURL_TLS:--plaintext} -emit-defaults -d @ "$address" okawari.v1.Predictor/Predict
