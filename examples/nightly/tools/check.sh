# Refuses orders of a shop whose amount is not a number.
set -eu
awk -F, 'NR > 1 && $2 !~ /^[0-9]+$/ { print "line " NR ": " $0; bad = 1 } END { exit bad }' "data/$SHOP.csv"
