#!/bin/sh
# For the image of `bentoml containerize`: the folders that BentoML and we write in, so that its root may be read-only.
set -eu
mkdir -p /home/bentoml/bentos /home/bentoml/envs /home/bentoml/tmp /home/bentoml/models /state
chown 1034:1034 /home/bentoml/bentos /home/bentoml/envs /home/bentoml/tmp /home/bentoml/models /state
