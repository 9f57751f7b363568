# The sum of each region, as an artifact.
set -eu
cat data/*.csv | awk -F, '$2 ~ /^[0-9]+$/ { sum[$1] += $2 } END { for (region in sum) print region, sum[region] }' |
  sort > "$PLANSPEC_ARTIFACTS/regions.txt"
