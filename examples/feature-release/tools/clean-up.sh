#!/bin/sh
# Takes away what a failed deployment of a version left below DEPLOY_DIR.
set -eu
removed=nothing
if [ -n "${DEPLOY_DIR:-}" ] && [ -d "$DEPLOY_DIR/$1" ]; then
  rm -rf "${DEPLOY_DIR:?}/$1"
  removed=$1
fi
printf 'removed %s\n' "$removed"
printf 'removed=%s\n' "$removed" >> "$PLANSPEC_OUTPUT"
