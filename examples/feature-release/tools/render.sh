#!/bin/sh
# Renders the search page: a template and a title.
set -eu
page="$PLANSPEC_ARTIFACTS/search.html"
awk -v title="$2" '{ gsub(/TITLE/, title); print }' "$1" > "$page"
printf 'rendered %s\n' "$1"
{
  printf 'page<<EOF\n'
  cat "$page"
  printf 'EOF\n'
} >> "$PLANSPEC_OUTPUT"
