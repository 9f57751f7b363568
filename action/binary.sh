#!/usr/bin/env bash
# Finds the planspec binary: the one that was named, one built from this source, or a release whose provenance is right.
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
    --proto "=${server%%:*}" --proto-redir =https --output "$2" --url "$1" ||
    fail "cannot download $1"
}

# The C library: a container may have musl, or none at all, and a program that is linked with glibc does not start there.
library() {
  if { ldd --version 2>&1 || true; } | grep -qiE 'glibc|gnu libc'; then echo gnu; else echo musl; fi
}

target() {
  case "$(uname -s)/$(uname -m)" in
    Linux/x86_64) echo "x86_64-unknown-linux-$(library)" ;;
    Linux/aarch64 | Linux/arm64) echo "aarch64-unknown-linux-$(library)" ;;
    Darwin/x86_64) echo x86_64-apple-darwin ;;
    Darwin/arm64) echo aarch64-apple-darwin ;;
    *) return 1 ;;
  esac
}

# The version that the source beside this action says; the action's commit pins it.
own_version() {
  sed -n 's/^version = "\(.*\)"$/v\1/p' "$PLANSPEC_ACTION_PATH/../Cargo.toml" | head -n 1
}

# Whoever may write to a repository can replace a release together with its checksums. The attestation is signed by the host,
# and says from which commit which workflow built the archive.
check_provenance() {
  local archive=$1 version=$2 repository=$3 from=$4
  case "$PLANSPEC_PROVENANCE" in
    required | "") ;;
    checksum)
      printf '::notice title=planspec::%s\n' "${archive##*/} is only compared with its checksum, as \`provenance\` asks"
      return
      ;;
    *) fail "the input \`provenance\` is \`required\` or \`checksum\`" ;;
  esac
  command -v gh >/dev/null 2>&1 ||
    fail "the provenance of ${archive##*/} cannot be verified without \`gh\`; install it on the runner, or set \`provenance: checksum\`"
  local wanted=(--repo "$repository" --signer-workflow "$repository/.github/workflows/release.yml"
    --source-ref "refs/tags/$version" --deny-self-hosted-runners)
  # The workflow pins a commit of this action, and that commit decides: a tag can be moved, and then names another one.
  if [ -z "$PLANSPEC_VERSION" ] && [[ $PLANSPEC_ACTION_REF =~ ^[0-9a-f]{40}$ ]]; then
    wanted+=(--source-digest "$PLANSPEC_ACTION_REF")
  fi
  # The host tells attestations only to those it knows. Where the job is on another one, its token is worth nothing here, and the
  # attestation that lies beside the archive is verified in the same way.
  if [ "$server" != "$GITHUB_SERVER_URL" ]; then
    download "$from/planspec-$version.sigstore.json" "$folder/attestation.json"
    wanted+=(--bundle "$folder/attestation.json")
  fi
  GH_HOST=${server#*://} GH_TOKEN=$PLANSPEC_TOKEN gh attestation verify "$archive" "${wanted[@]}" >"$folder/attestation.log" 2>&1 || {
    # Lines of another program: none of them may become a command of the runner.
    sed 's/^/  /; s/::/: :/g' "$folder/attestation.log"
    fail "the provenance of ${archive##*/} is not that of $version of $repository; nothing of it is run"
  }
}

# The names that go into the address are of a known form: neither `..` nor `?` nor a space gets into it.
released() {
  local version=${PLANSPEC_VERSION:-$(own_version)} repository=$PLANSPEC_ACTION_REPOSITORY place archive wanted
  [[ $version =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || fail "the input \`version\` is not of the form v1.2.3"
  [[ $repository =~ ^[A-Za-z0-9-]+/[A-Za-z0-9_-][A-Za-z0-9._-]*$ ]] ||
    fail "which repository's releases? Set the input \`repository\`, or \`build: true\`, or \`binary\`"
  place=$(target) || fail "there is no release for $(uname -s) on $(uname -m); set \`build: true\`"
  archive=planspec-$version-$place.tar.gz
  local from=$server/$repository/releases/download/$version
  download "$from/SHA256SUMS" "$folder/SHA256SUMS"
  wanted=$(awk -v name="$archive" '$2 == name { print $1 }' "$folder/SHA256SUMS")
  [[ $wanted =~ ^[0-9a-f]{64}$ ]] || fail "SHA256SUMS of $version does not name $archive"
  download "$from/$archive" "$folder/$archive"
  [ "$(digest "$folder/$archive")" = "$wanted" ] ||
    fail "$archive is not what SHA256SUMS of $version says; nothing of it is run"
  check_provenance "$folder/$archive" "$version" "$repository" "$from"
  tar -xzf "$folder/$archive" -C "$folder" planspec
  binary=$folder/planspec
}

built() {
  command -v cargo >/dev/null 2>&1 || fail "\`build: true\` needs cargo"
  cargo build --quiet --release --locked --manifest-path "$PLANSPEC_ACTION_PATH/../Cargo.toml" --target-dir "$folder"
  binary=$folder/release/planspec
}

# GitHub Enterprise Server holds no releases of planspec: there, `server` names the host that does.
server=${PLANSPEC_SERVER:-$GITHUB_SERVER_URL}
[[ $server =~ ^https?://[A-Za-z0-9.:-]+$ ]] || fail "the input \`server\` is not an address such as https://host.example"
# The job's token belongs to the job's own host, and is sent to no other.
[ "$server" = "$GITHUB_SERVER_URL" ] || PLANSPEC_TOKEN=
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
