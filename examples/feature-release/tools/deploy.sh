#!/bin/sh
# Deploys a version to a channel: packs the site, and puts it below DEPLOY_DIR if that is set.
# Doing it twice leaves the same: the version has a folder of its own, and a link names the current one.
set -eu
version=$1 channel=$2
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
cp site/*.md "$site"
printf '%s\n' "$PAGE" > "$site/search.html"
printf '%s\n' "$INDEX" > "$site/search-index.tsv"
printf '%s\n' "$NOTES" > "$site/release-notes.md"
(cd "$site" && tar cf - *) | gzip -n > "$PLANSPEC_ARTIFACTS/site.tar.gz"

where=${DEPLOY_DIR:-$PLANSPEC_ARTIFACTS}
mkdir -p "$where/$version"
cp "$site"/* "$where/$version"
case $channel in
  stable | beta) ln -sfn "$version" "$where/$channel" ;;
  *) printf 'there is no channel %s\n' "$channel"; exit 1 ;;
esac
printf 'version %s is now %s\n' "$version" "$channel"
printf 'address=%s/search.html\n' "$channel" >> "$PLANSPEC_OUTPUT"
