#!/bin/sh
# Fails when a total is above the budget.
printf '%s of %s\n' "$1" "$2"
[ "$1" -le "$2" ]
