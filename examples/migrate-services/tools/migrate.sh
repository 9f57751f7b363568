#!/bin/sh
# Moves one service: here a line of its configuration, for which a real migration would copy its data first.
set -e
file="services/$SERVICE.conf"
sed "s/database = old/database = $DATABASE/" "$file" > "$file.new"
mv "$file.new" "$file"
echo "file=$file" >> "$PLANSPEC_OUTPUT"
