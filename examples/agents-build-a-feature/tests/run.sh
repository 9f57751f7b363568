# What people expect of the discount.
status=0
check() {
  paid=$(sh shop/discount.sh "$1")
  [ "$paid" = "$2" ] || { echo "of $1, $2 is to be paid, not $paid"; status=1; }
}
check 99 99
check 100 90
check 200 180
grep -q 'percent' shop/MANUAL.md || { echo "the manual says nothing"; status=1; }
exit $status
