#!/usr/bin/env bash
# homebrew.sh ADDRESS TAG SHA256SUMS: the Homebrew formula of a release, with the checksums that were released beside the archives.
set -euo pipefail
address=$1 tag=$2 sums=$3
template=$(dirname "${BASH_SOURCE[0]}")/planspec.rb.in

# All three become part of a program.
[[ $address =~ ^https://[A-Za-z0-9.-]+/[A-Za-z0-9._/-]+$ ]] || { echo "this is no address of a repository: $address" >&2; exit 1; }
[[ $tag =~ ^v[0-9]+\.[0-9]+\.[0-9]+(-[A-Za-z0-9.]+)?$ ]] || { echo "this is no tag of a release: $tag" >&2; exit 1; }
filled=$(sed "s|@HOME@|$address|g; s|@VERSION@|${tag#v}|g" "$template")
while [[ $filled =~ @SUM\ ([a-z0-9_-]+)@ ]]; do
  target=${BASH_REMATCH[1]}
  sum=$(sed -n "s/^\([0-9a-f]\{64\}\) [ *]planspec-$tag-$target\.tar\.gz\$/\1/p" "$sums")
  [ -n "$sum" ] || { echo "$sums has no checksum for $target" >&2; exit 1; }
  filled=${filled//"@SUM $target@"/$sum}
done
printf '%s\n' "$filled"
