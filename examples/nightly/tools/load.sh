# The sum of the orders of a shop, as an output of its task.
set -eu
sum=$(awk -F, 'NR > 1 { sum += $2 } END { print sum }' "data/$SHOP.csv")
echo "sum:=$sum" >> "$PLANSPEC_OUTPUT"
