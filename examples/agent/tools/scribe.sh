#!/bin/sh
# Stands in for an agent: reads the brief on standard input, leaves a file, and gives its outputs.
set -eu
brief=$(cat)
title=$(printf '%s\n' "$brief" | sed -n '1s/^# Task: //p')
echo "working on: $title"
printf '%s\n' "$brief" > "$PLANSPEC_ARTIFACTS/brief.md"
{
  echo "title=$title"
  echo "lines=$(printf '%s\n' "$brief" | grep -c .)"
} >> "$PLANSPEC_OUTPUT"
