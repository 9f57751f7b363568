# The shops that have sent their orders, as an output: one file each.
set -eu
shops=$(ls data | sed -n 's/\(.*\)\.csv$/"\1"/p' | paste -sd, -)
echo "shops:=[$shops]" >> "$PLANSPEC_OUTPUT"
