#!/usr/bin/env bash
# release.sh TAG TARGET FOLDER: builds one binary and packs it with its licences, as `action/binary.sh` expects to find it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
tag=$1 target=$2 folder=$3

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
[ "$tag" = "v$version" ] || { echo "the tag is $tag, but Cargo.toml says $version" >&2; exit 1; }

rustup target add "$target"
cargo build --profile dist --locked --target "$target"
mkdir -p "$folder"
cp "target/$target/dist/planspec" LICENSE-APACHE LICENSE-MIT README.md "$folder"
tar -czf "$folder/planspec-$tag-$target.tar.gz" -C "$folder" planspec LICENSE-APACHE LICENSE-MIT README.md
