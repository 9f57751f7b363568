#!/bin/sh
# Writes a page, or a text for people: FOLDER and TYPE (html, md). It is named after the node, and kept as an artifact.
set -eu
page="site/$1/$PLANSPEC_NODE.$2"
mkdir -p "site/$1"
case $2 in
  html) printf '<title>%s</title>\n' "$PLANSPEC_NODE" > "$page" ;;
  md) printf '# %s\n\n## What the numbers mean\n\nThe wall, and the place on it.\n' "$PLANSPEC_NODE" > "$page" ;;
esac
cp "$page" "$PLANSPEC_ARTIFACTS"
printf 'wrote %s\n' "$page"
# Two nodes of the audio guide declare an output.
case $PLANSPEC_NODE in
  write-texts) printf 'texts=%s\n' "$page" >> "$PLANSPEC_OUTPUT" ;;
  read-out) printf 'minutes=4\n' >> "$PLANSPEC_OUTPUT" ;;
esac
