#!/bin/sh
# Looks words up in INDEX; every one must be there.
set -eu
for word in "$@"; do
  line=$(printf '%s\n' "$INDEX" | grep "^$word	") || { printf 'not found: %s\n' "$word"; exit 1; }
  printf '%s\n' "$line"
done
printf 'found=%s\n' "$#" >> "$PLANSPEC_OUTPUT"
