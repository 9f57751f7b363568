#!/bin/sh
# Counts what the controller has to look at.
set -eu
printf '%s months of %s\n' "$(find "planspec/$1" -name 'month-*.yaml' | wc -l | tr -d ' ')" "$1"
