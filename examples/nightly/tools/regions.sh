# The sum of each region, as an artifact.
set -eu
awk -F, 'NR > 1 { sum[$1] += $2 } END { for (region in sum) print region, sum[region] }' "$1" |
  sort > "$PLANSPEC_ARTIFACTS/regions.txt"
