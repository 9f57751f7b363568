#!/bin/sh
# Writes the button that starts sign-in with Google, for the framework that the plan asks for.
set -eu
framework=$(sed -n 's/.*"framework": *"\([a-z]*\)".*/\1/p' "$PLANSPEC_INPUTS")
target="$PLANSPEC_ARTIFACTS/google-button.$framework.js"
sed "s/FRAMEWORK/$framework/" app/button.template > "$target"
printf 'wrote %s for %s\n' "$(basename "$target")" "$framework"
printf 'component=%s\n' "$(basename "$target")" >> "$PLANSPEC_OUTPUT"
