#!/bin/sh
# The readings of a STATION, which writes them in UNIT. The line to the hill is bad: it takes a second call.
set -eu
station=$1 unit=$2
if [ "$station" = hill ] && [ "$PLANSPEC_ATTEMPT" -lt 2 ]; then
  echo "the line is dead"
  exit 1
fi
awk -v unit="$unit" '{
  for (i = 1; i <= NF; i++) {
    celsius = unit == "fahrenheit" ? ($i - 32) / 1.8 : $i
    sum += celsius
    if (i == 1 || celsius > highest) highest = celsius
    list = list (i > 1 ? "," : "") sprintf("%.1f", celsius)
  }
  printf "mean=%.1f\nhighest=%.1f\nreadings=[%s]\n", sum / NF, highest, list
}' "data/$station.txt" | tee "$PLANSPEC_OUTPUT"
