#!/bin/sh
# What the desk does itself, by the name of the node.
set -eu
case $PLANSPEC_NODE in
  heat-warning) echo "warning=up to $1 degrees" | tee "$PLANSPEC_OUTPUT" ;;
  posters) echo "the machine for posters is broken"; exit 1 ;;
  take-back) rm -rf "${PRESS:?}/$MONTH"; echo "took back what was printed of $MONTH" ;;
  tell)
    case $1 in
      Succeeded) message="$MONTH is printed" ;;
      Failed) message="$MONTH could not be printed; taking back $2" ;;
      *) message="$MONTH was not printed" ;;
    esac
    echo "message=$message" | tee "$PLANSPEC_OUTPUT"
    ;;
esac
