#!/bin/sh
# An HTTP client with curl; it fails with the HTTP status.
# usage: examples/clients/over_http.sh PICTURE [http://127.0.0.1:3000] [MODEL]
set -eu
picture=${1:?"usage: $0 PICTURE [URL] [MODEL]"} url=${2:-http://127.0.0.1:3000} model=${3:-}
exec curl --silent --show-error --fail-with-body --form "image=@$picture" ${model:+--form "model=$model"} "$url/predict"
