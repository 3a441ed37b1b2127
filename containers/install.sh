#!/bin/sh
# Install what is locked, one build of torch, and the package, in the folder of a checkout. Both recipes run it.
set -eu
case "$1" in
  cuda) index="" ;; # What pip takes by itself on Linux.
  cpu) index="--index-url https://download.pytorch.org/whl/cpu" ;;
  *) echo "build of torch: expected cpu or cuda, found '$1'" >&2 && exit 2 ;;
esac
python -m pip install --no-cache-dir --require-hashes --no-deps --requirement requirements.lock
# shellcheck disable=SC2086
python -m pip install --no-cache-dir --constraint constraints.txt $index torch torchvision
python -m pip install --no-cache-dir --no-deps --no-build-isolation --editable .
