# Stands for a query to your log store.
set -eu
echo "errors=412" >> "$PLANSPEC_OUTPUT"
echo "412 errors of $SERVICE in the last five minutes, first at the deployment of 14:02"
