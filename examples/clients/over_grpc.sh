#!/bin/sh
# Ask over gRPC with grpcurl: the service tells its own calls (reflection), no proto file is needed.
# usage: examples/clients/over_grpc.sh PICTURE [127.0.0.1:50051] [MODEL]
# over TLS: GRPCURL_TLS="-cacert ca.crt" (and "-cert client.crt -key client.key" where the service wants one)
set -eu
picture=${1:?"usage: $0 PICTURE [ADDRESS] [MODEL]"} address=${2:-127.0.0.1:50051} model=${3:-}
exec <"$picture"
# bytes travel as base64 in grpcurl's JSON, on standard input because a picture is too long for a command line
printf '{"image": "%s", "model": "%s"}' "$(base64 | tr -d '\n')" "$model" |
  grpcurl ${GRPCURL_TLS:--plaintext} -emit-defaults -d @ "$address" okawari.v1.Predictor/Predict
