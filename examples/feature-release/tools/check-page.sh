#!/bin/sh
# Checks PAGE and NOTES: the form is there, every element is closed, nothing of the template is left.
set -eu
for element in html head title body h1 form button; do
  opened=$(printf '%s' "$PAGE" | grep -o "<$element[ >]" | wc -l)
  closed=$(printf '%s' "$PAGE" | grep -o "</$element>" | wc -l)
  [ "$opened" -eq "$closed" ] || { printf '<%s> is not closed\n' "$element"; exit 1; }
done
if printf '%s' "$PAGE" | grep TITLE; then exit 1; fi
printf '%s' "$NOTES" | grep 'New:'
