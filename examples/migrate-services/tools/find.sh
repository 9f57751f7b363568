#!/bin/sh
# The services that still use the old database, as a list in JSON.
set -e
list=""
for file in $(grep -l "database = old" services/*.conf); do
  list="$list,\"$(basename "$file" .conf)\""
done
echo "{\"services\": [${list#,}]}" > "$PLANSPEC_OUTPUT"
