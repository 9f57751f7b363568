# Stands in for an agent that runs the tests and corrects the code. It finds the work of both others in its working tree.
sh tests/run.sh || sed -i.orig 's/-gt 100/-ge 100/' shop/discount.sh
rm -f shop/discount.sh.orig
# Agents also like to make tests easier. Here that changes nothing: the tests are restored before the work is judged.
echo true > tests/easy.sh
git add --all && git commit --quiet -m "Give the discount from 100 on"
echo '{"usage": {"tokens": 3100, "cost": 0.05, "turns": 3}}' > "$PLANSPEC_RESULT"
