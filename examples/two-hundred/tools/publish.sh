#!/bin/sh
# Writes the page of the year.
printf '# The year of %s\n' "$1" > "$PLANSPEC_ARTIFACTS/year.md"
