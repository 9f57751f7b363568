#!/bin/sh
# Writes the button that starts sign-in with Google, for the framework that the plan asks for, and uses it on the page.
set -eu
framework=$(sed -n 's/.*"framework": *"\([a-z]*\)".*/\1/p' "$PLANSPEC_INPUTS")
component="google-button.$framework.js"
sed "s/FRAMEWORK/$framework/" app/button.template > "app/$component"
printf '\nimport "./%s";\n' "$component" >> app/login.js
printf 'wrote %s for %s\n' "$component" "$framework"
printf 'component=%s\n' "$component" >> "$PLANSPEC_OUTPUT"
