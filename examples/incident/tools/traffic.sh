# Stands for the call that moves traffic at your load balancer: traffic.sh SERVICE TARGET
set -eu
echo "traffic of $1 goes to $2"
