# The sum of what was loaded, as an output: one number for each shop is among the inputs.
set -eu
total=$(grep -o '[0-9][0-9]*' "$PLANSPEC_INPUTS" | paste -sd+ - | sed 's/^/echo $((/; s/$/))/' | sh)
echo "total=$total $CURRENCY" >> "$PLANSPEC_OUTPUT"
