#!/bin/sh
# Says how it went. In a team's own plan this would send a message.
set -eu
case $2 in
  Succeeded) message="Handbook $1 is deployed" ;;
  Failed) message="Handbook $1 could not be deployed; clean-up $3" ;;
  *) message="Handbook $1 was not deployed ($2)" ;;
esac
printf '%s\n' "$message"
printf 'message=%s\n' "$message" >> "$PLANSPEC_OUTPUT"
