# The sum of all orders, as an output of the task.
set -eu
total=$(awk -F, 'NR > 1 { sum += $2 } END { print sum }' "$1")
echo "total=$total $CURRENCY" >> "$PLANSPEC_OUTPUT"
