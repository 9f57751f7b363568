#!/bin/sh
# Lists the pages below a folder.
set -eu
pages=$(find "$1" -name '*.md' | LC_ALL=C sort)
count=$(printf '%s\n' "$pages" | wc -l | tr -d ' ')
printf '%s pages\n' "$count"
{
  printf 'count=%s\n' "$count"
  printf 'pages<<EOF\n%s\nEOF\n' "$pages"
} >> "$PLANSPEC_OUTPUT"
