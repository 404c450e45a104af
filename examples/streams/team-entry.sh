#!/bin/sh
# The start of a team's container: the wheels that adapters need, then the command.
# Wheels are named in requirements-team.txt beside docker-compose.yml; they lie in the state, once for each list.
set -eu
list=/app/requirements.txt
if [ -f "$list" ] && [ -s "$list" ]; then
  wheels="${OKAWARI_HOME:?}/wheels/$(cksum <"$list" | cut -d' ' -f1)"
  if [ ! -e "$wheels/.whole" ]; then
    python -m pip install --quiet --disable-pip-version-check --no-cache-dir --target "$wheels" -r "$list"
    touch "$wheels/.whole"
  fi
  export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$wheels"
fi
exec "$@"
