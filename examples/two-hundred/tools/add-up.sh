#!/bin/sh
# Adds figures up; each must be a number.
set -eu
total=0
for value in "$@"; do
  case $value in '' | *[!0-9]*) printf 'not a number: %s\n' "$value"; exit 1 ;; esac
  total=$((total + value))
done
printf 'total=%s\n' "$total" >> "$PLANSPEC_OUTPUT"
