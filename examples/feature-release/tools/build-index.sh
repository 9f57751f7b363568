#!/bin/sh
# Builds the index: each word of MIN_LETTERS letters or more, a tab, and the pages of PAGES that hold it.
set -eu
index="$PLANSPEC_ARTIFACTS/search-index.tsv"
printf '%s\n' "$PAGES" | while read -r page; do
  tr -cs '[:alpha:]' '\n' < "$page" | tr '[:upper:]' '[:lower:]' | LC_ALL=C sort -u |
    awk -v page="${page##*/}" -v least="$MIN_LETTERS" 'length($0) >= least { print $0 "\t" page }'
done | LC_ALL=C sort | awk -F '\t' '
  $1 == word { line = line " " $2; next }
  { if (word != "") print line; word = $1; line = $0 }
  END { if (word != "") print line }' > "$index"
terms=$(wc -l < "$index" | tr -d ' ')
printf '%s words indexed\n' "$terms"
{
  printf 'terms=%s\n' "$terms"
  printf 'index<<EOF\n'
  cat "$index"
  printf 'EOF\n'
} >> "$PLANSPEC_OUTPUT"
