# Stands in for an agent that writes documentation, at the same time.
echo 'Orders of 100 or more are reduced by 10 percent.' > shop/MANUAL.md
echo '{"usage": {"tokens": 900, "cost": 0.01, "turns": 1}}' > "$PLANSPEC_RESULT"
