#!/usr/bin/env bash
# Finds the planspec binary: the one that was named, one built from this source, or a release whose checksum is right.
# Its path becomes the output `path`. Works with the bash 3.2 of macOS.
set -euo pipefail

fail() {
  printf '::error title=planspec::%s\n' "$1"
  exit 1
}

# `sha256sum` on Linux, `shasum` on macOS.
digest() {
  if command -v sha256sum >/dev/null 2>&1; then
    sha256sum "$1"
  else
    shasum -a 256 "$1"
  fi | cut -d ' ' -f 1
}

# Only over the protocol of the server itself, and after a redirection only over HTTPS.
download() {
  curl --fail --silent --show-error --location --retry 3 --retry-delay 2 --max-time 300 \
    --proto "=${GITHUB_SERVER_URL%%:*}" --proto-redir =https --output "$2" --url "$1" ||
    fail "cannot download $1"
}

target() {
  case "$(uname -s)/$(uname -m)" in
    Linux/x86_64) echo x86_64-unknown-linux-gnu ;;
    Linux/aarch64 | Linux/arm64) echo aarch64-unknown-linux-gnu ;;
    Darwin/x86_64) echo x86_64-apple-darwin ;;
    Darwin/arm64) echo aarch64-apple-darwin ;;
    *) return 1 ;;
  esac
}

# The version that the source beside this action says; the action's commit pins it.
own_version() {
  sed -n 's/^version = "\(.*\)"$/v\1/p' "$PLANSPEC_ACTION_PATH/../Cargo.toml" | head -n 1
}

# The names that go into the address are of a known form: neither `..` nor `?` nor a space gets into it.
released() {
  local version=${PLANSPEC_VERSION:-$(own_version)} repository=$PLANSPEC_ACTION_REPOSITORY place archive wanted
  [[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || fail "the input \`version\` is not of the form v1.2.3"
  [[ $repository =~ ^[A-Za-z0-9-]+/[A-Za-z0-9_-][A-Za-z0-9._-]*$ ]] ||
    fail "which repository's releases? Set the input \`repository\`, or \`build: true\`, or \`binary\`"
  place=$(target) || fail "there is no release for $(uname -s) on $(uname -m); set \`build: true\`"
  archive=planspec-$version-$place.tar.gz
  local from=$GITHUB_SERVER_URL/$repository/releases/download/$version
  download "$from/SHA256SUMS" "$folder/SHA256SUMS"
  wanted=$(awk -v name="$archive" '$2 == name { print $1 }' "$folder/SHA256SUMS")
  [[ $wanted =~ ^[0-9a-f]{64}$ ]] || fail "SHA256SUMS of $version does not name $archive"
  download "$from/$archive" "$folder/$archive"
  [ "$(digest "$folder/$archive")" = "$wanted" ] ||
    fail "$archive is not what SHA256SUMS of $version says; nothing of it is run"
  tar -xzf "$folder/$archive" -C "$folder" planspec
  binary=$folder/planspec
}

built() {
  command -v cargo >/dev/null 2>&1 || fail "\`build: true\` needs cargo"
  cargo build --quiet --release --locked --manifest-path "$PLANSPEC_ACTION_PATH/../Cargo.toml" --target-dir "$folder"
  binary=$folder/release/planspec
}

folder=$(mktemp -d "${RUNNER_TEMP:-${TMPDIR:-/tmp}}/planspec.XXXXXX")
binary=$PLANSPEC_BINARY
if [ -z "$binary" ]; then
  case "$PLANSPEC_BUILD" in
    true) built ;;
    false | "") released ;;
    *) fail "the input \`build\` is \`true\` or \`false\`" ;;
  esac
fi
[ -f "$binary" ] && [ -x "$binary" ] || fail "there is no program at the path of the input \`binary\`"
# A line break in the path would make a second output.
case "$binary" in *$'\n'*) fail "the input \`binary\` has more than one line" ;; esac
# The next step may work in another directory.
binary=$(cd "$(dirname "$binary")" && pwd)/$(basename "$binary")
"$binary" --version
printf 'path=%s\n' "$binary" >>"$GITHUB_OUTPUT"
