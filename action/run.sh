#!/usr/bin/env bash
# Runs `planspec ci` on the event of this job. Works with the bash 3.2 of macOS.
set -euo pipefail

arguments=(ci)
if [ -n "$PLANSPEC_MAX_DURATION" ]; then
  arguments+=("--max-duration=$PLANSPEC_MAX_DURATION")
fi
[ -z "$PLANSPEC_PARALLEL" ] || arguments+=("--jobs=$PLANSPEC_PARALLEL")
[ -z "$PLANSPEC_REPORT" ] || arguments+=("--report=$PLANSPEC_REPORT")
[ -z "$PLANSPEC_SCHEDULE_WORKFLOW" ] || arguments+=("--schedule-workflow=$PLANSPEC_SCHEDULE_WORKFLOW")
switch() {
  case "$2" in
    true) arguments+=("--$1") ;;
    false | "") ;;
    *) printf '::error title=planspec::%s\n' "the input \`$1\` is \`true\` or \`false\`" && exit 1 ;;
  esac
}
switch allow-mass-delete "$PLANSPEC_ALLOW_MASS_DELETE"
switch accept-status-history "$PLANSPEC_ACCEPT_STATUS_HISTORY"
while IFS= read -r line; do
  if [ -n "$line" ]; then
    arguments+=("$line")
  fi
done <<<"$PLANSPEC_ARGUMENTS"

# Git gets the token through its environment: it stands in no file of the checkout, no address and no argument.
if [ -n "$GITHUB_TOKEN" ]; then
  basic=$(printf 'x-access-token:%s' "$GITHUB_TOKEN" | base64 | tr -d '\n')
  printf '::add-mask::%s\n' "$basic"
  at=${GIT_CONFIG_COUNT:-0}
  export GIT_CONFIG_COUNT=$((at + 1))
  export "GIT_CONFIG_KEY_$at=http.$GITHUB_SERVER_URL/.extraheader"
  export "GIT_CONFIG_VALUE_$at=AUTHORIZATION: basic $basic"
fi

binary=$PLANSPEC_BINARY directory=$PLANSPEC_DIRECTORY
unset PLANSPEC_ACCEPT_STATUS_HISTORY PLANSPEC_ACTION_PATH PLANSPEC_ALLOW_MASS_DELETE PLANSPEC_ARGUMENTS PLANSPEC_BINARY
unset PLANSPEC_DIRECTORY PLANSPEC_MAX_DURATION PLANSPEC_PARALLEL PLANSPEC_REPORT PLANSPEC_SCHEDULE_WORKFLOW
cd -- "$directory"
exec "$binary" "${arguments[@]}"
