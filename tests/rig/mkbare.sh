#!/bin/sh
# mkbare.sh ROOT OWNER/NAME: a bare repository that protects branches like a Git host, and can be slowed down.
# Files in it steer it: `protected.list` (one reference a line), `bypass.list` (logins that may push there
# nevertheless), `hold` (seconds that every push waits between its checks and its update, to widen races).
set -eu
r="$1/$2.git"
mkdir -p "$r"
git init --quiet --bare --initial-branch=main "$r"
git -C "$r" config http.receivepack true
git -C "$r" config receive.denyNonFastForwards false
git -C "$r" config uploadpack.allowFilter true
git -C "$r" config uploadpack.allowAnySHA1InWant true
mkdir -p "$r/hooks"
cat > "$r/hooks/pre-receive" <<'H'
#!/bin/sh
[ -f hold ] && sleep "$(cat hold)"
while read -r old new ref; do
  if grep -qxF "$ref" protected.list 2>/dev/null && ! grep -qxF "${REMOTE_USER:-nobody}" bypass.list 2>/dev/null; then
    echo "error: GH006: Protected branch update failed for $ref." >&2
    echo "error: Changes must be made through a pull request." >&2
    exit 1
  fi
done
H
chmod +x "$r/hooks/pre-receive"
echo "$r"
