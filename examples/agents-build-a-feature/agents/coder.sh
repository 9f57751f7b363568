# Stands in for an agent that writes code. It makes a mistake: an order of exactly 100 gets nothing.
cat > shop/discount.sh <<'END'
# Prints what is left to pay of a sum.
if [ "$1" -gt 100 ]; then
  echo $(($1 * 9 / 10))
else
  echo "$1"
fi
END
echo '{"usage": {"tokens": 5200, "cost": 0.08, "turns": 4}}' > "$PLANSPEC_RESULT"
