# Stands for your health check: healthy.sh SERVICE
set -eu
echo "$1 answers in 80 ms"
