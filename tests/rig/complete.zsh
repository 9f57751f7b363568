# Types lines into an interactive zsh, presses Tab after each, and writes what then stands on the line.
# Usage: zsh -f complete.zsh OUT SETUP LINE…
zmodload zsh/zpty
out=$1 setup=$2; shift 2
: > $out
zpty z zsh -f
zpty -w z "$setup"
zpty -w z 'dump() { print -r -- "$BUFFER|" >> '$out'; zle kill-buffer }; zle -N dump; bindkey "^[q" dump; print -r ready >> '$out
wait_for() { local -i n=0; while (( $(wc -l < $out) < $1 && n++ < 3000 )); do zpty -r -t z junk; sleep 0.02; done }
wait_for 1
local -i lines=1
for line in "$@"; do
  zpty -w -n z "$line"$'\t\033q'
  wait_for $((++lines))
done
zpty -d z
