#!/bin/sh
# Writes the release notes: a version, and how many pages can be searched.
set -eu
notes="$PLANSPEC_ARTIFACTS/release-notes.md"
printf '# Handbook %s\n\nNew: search over all %s pages.\n' "$1" "$2" > "$notes"
printf 'wrote the notes of %s\n' "$1"
{
  printf 'notes<<EOF\n'
  cat "$notes"
  printf 'EOF\n'
} >> "$PLANSPEC_OUTPUT"
