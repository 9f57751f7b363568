#!/bin/sh
# Prints a MONTH in so many COPIES, into a folder below PRESS. There is paper for 500.
set -eu
mkdir -p "$PRESS/$1"
copy=0
while [ "$copy" -lt "$2" ]; do
  copy=$((copy + 100))
  [ "$copy" -le 500 ] || { echo "no paper after 500 copies"; exit 1; }
  echo "copies up to $copy" > "$PRESS/$1/$copy"
done
echo "printed $2 copies"
echo "printed=$2" >> "$PLANSPEC_OUTPUT"
