# How many orders a shop has sent; none at all is a mistake of the shop.
set -eu
orders=$(($(wc -l < "data/$SHOP.csv") - 1))
echo "$SHOP: $orders orders"
test "$orders" -gt 0
