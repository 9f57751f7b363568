#!/usr/bin/env python3
"""The workflows that `planspec init --github` writes, run by a real workflow runner with this repository's action.

The program of the release is a recorder here: what is looked at is what the workflows start, when, with which
arguments, checkout, token and outputs."""
import json, os, stat, sys, tempfile, unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from world import ACTION, BINARY, COMMIT, PROJECT, VERSION, World  # noqa: E402

RECORDER = r"""#!/usr/bin/env bash
set -euo pipefail
[ "$1" = --version ] && { echo "planspec recorder"; exit 0; }
{
  printf 'arguments: %s\n' "$*"
  printf 'event: %s\n' "$GITHUB_EVENT_NAME"
  printf 'branch: %s\n' "$(git branch --show-current)"
  printf 'parents: %s\n' "$(git log -1 --format=%P)"
  printf 'stored: %s\n' "$(git config --local --get-regexp 'http.*extraheader' || true)"
  printf 'token: %s\n' "$(printf %s "$GITHUB_TOKEN" | rev)"
} | sed 's/^/recorded /'
if [ "$GITHUB_EVENT_NAME" != pull_request ] && [ "$GITHUB_EVENT_NAME" != workflow_run ]; then
  git push --quiet origin HEAD:refs/heads/recorded
  echo "recorded pushed: yes"
fi
for word in "$@"; do
  case "$word" in --report=*) [ -e "${word#--report=}" ] || echo '{}' >"${word#--report=}" ;; esac
done
echo "result=done" >>"$GITHUB_OUTPUT"
"""


def recorded(text):
    """What the recorder printed, as the runner shows it."""
    lines = (line.split("recorded ", 1)[1] for line in text.splitlines() if "| recorded " in line)
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


class Workflows(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.NamedTemporaryFile("w", delete=False) as program:
            program.write(RECORDER)
        os.chmod(program.name, stat.S_IRWXU)
        cls.world = World(program.name)
        os.unlink(program.name)
        cls.world.push({"README": "app\n"})

    @classmethod
    def tearDownClass(cls):
        cls.world.end()

    def act(self, *arguments, **options):
        code, text = self.world.act(*arguments, **options)
        self.assertEqual(code, 0, text)
        self.assertNotIn("tok-bot", text)
        return recorded(text), text

    def comment(self, body, **more):
        return self.act("issue_comment", "planspec-apply.yml", {"action": "created", "issue": {"number": 1}, "comment": {"body": body}, **more})[0]

    def test_a_push_checks_the_branch_out_and_may_push_without_a_token_in_the_checkout(self):
        found, text = self.act("push", "planspec-apply.yml", {"ref": "refs/heads/main"})
        self.assertEqual(found["arguments"], "ci --max-duration=50m", text)
        self.assertEqual((found["branch"], found["stored"], found["token"]), ("main", "", "tob-kot"), text)
        self.assertEqual(found["pushed"], "yes", text)

    def test_the_schedule_and_a_person_may_start_a_pass(self):
        for event in ["schedule", "workflow_dispatch"]:
            found, text = self.act(event, "planspec-apply.yml", {})
            self.assertEqual((found["event"], found["branch"]), (event, "main"), text)
            self.assertNotIn("--allow-mass-delete", found["arguments"], text)
        # The way on from the host for deletions that a pass held back.
        found, text = self.act("workflow_dispatch", "planspec-apply.yml", {"inputs": {"allow-mass-delete": "true"}})
        self.assertEqual(found["arguments"], "ci --max-duration=50m --allow-mass-delete", text)

    def test_the_schedule_that_turns_itself_off_does_the_same_pass(self):
        world = self.world
        world.run([BINARY, "init", "--github", "--schedule", "auto", "--quiet", "--no-example", "--force", "--action", ACTION])
        self.addCleanup(world.run, [BINARY, "init", "--github", "--quiet", "--no-example", "--force", "--action", ACTION])
        self.addCleanup(os.remove, f"{world.work}/.github/workflows/planspec-schedule.yml")
        for event, workflow in [("schedule", "planspec-schedule.yml"), ("schedule", "planspec-apply.yml"), ("push", "planspec-apply.yml")]:
            found, text = self.act(event, workflow, {"ref": "refs/heads/main"})
            self.assertEqual(found["arguments"], "ci --max-duration=50m --schedule-workflow=planspec-schedule.yml", text)
            self.assertEqual((found["branch"], found["stored"], found["pushed"]), ("main", "", "yes"), text)

    def test_with_an_app_its_token_does_the_work_and_a_review_gets_no_key(self):
        world = self.world
        world.run([BINARY, "init", "--github", "--app", "--quiet", "--no-example", "--force", "--action", ACTION])
        self.addCleanup(world.run, [BINARY, "init", "--github", "--quiet", "--no-example", "--force", "--action", ACTION])
        app = {"more": ["--var", "PLANSPEC_APP_CLIENT_ID=Iv1.planspec", "-s", "PLANSPEC_APP_PRIVATE_KEY=rig-key"]}
        found, text = self.act("push", "planspec-apply.yml", {"ref": "refs/heads/main"}, **app)
        self.assertEqual((found["token"], found["pushed"]), ("ppa-kot", "yes"), text)
        head = {"ref": "feature", "repo": {"full_name": "acme/app"}}
        review = {
            "action": "submitted",
            "review": {"state": "approved"},
            "pull_request": {"number": 1, "head": head, "merged_at": "2026-01-01T00:00:00Z"},
        }
        found, text = self.act("pull_request_review", "planspec-apply.yml", review, **app)
        self.assertEqual(found["token"], "tob-kot", text)
        self.assertNotIn("rig-key", text)

    def elsewhere(self, host):
        """The workflows for a repository on another host than that of the releases; the server of this rig has that name, too."""
        world = self.world
        world.run([BINARY, "init", "--github", "--server", world.server, "--quiet", "--no-example", "--force", "--action", ACTION])
        self.addCleanup(world.run, [BINARY, "init", "--github", "--quiet", "--no-example", "--force", "--action", ACTION])
        with open(f"{world.root}/hosts", "w") as config:
            config.write(f'[url "{world.server.replace("//", "//x-access-token:tok-bot@")}/"]\n\tinsteadOf = {host}/\n')
        return ["--env", f"GITHUB_SERVER_URL={host}", "--env", f"GIT_CONFIG_GLOBAL={world.root}/hosts"]

    def test_on_another_host_the_release_is_taken_from_where_it_is_and_no_artifact_is_left(self):
        world = self.world
        head = world.push({"fork.txt": "x\n"}, branch="fork")
        pull = world.open_pull("fork")
        world.merge_result(pull["number"], "fork")
        world.git("switch", "--quiet", "main")
        pull["head"]["repo"]["full_name"] = "eve/app"
        opened = {"action": "opened", "number": pull["number"], "pull_request": pull}
        run = {"id": 7, "event": "pull_request", "conclusion": "success", "head_sha": head, "head_branch": "fork", "head_repository": {"full_name": "eve/app"}}
        for host in ["https://ghes.example", "https://github.com", "https://acme.ghe.com"]:
            there = {"more": self.elsewhere(host)}
            has_artifacts = host != "https://ghes.example"
            found, text = self.act("pull_request", "planspec-validate.yml", opened, ref=f"refs/pull/{pull['number']}/merge", **there)
            self.assertTrue(found["arguments"].startswith("ci --report=") and found["parents"].endswith(head), text)
            self.assertEqual("uploaded planspec-report" in text, has_artifacts, text)
            found, text = self.act("workflow_run", "planspec-report.yml", {"action": "completed", "workflow_run": run}, **there)
            self.assertEqual("arguments" in found, has_artifacts, text)
            found, text = self.act("push", "planspec-apply.yml", {"ref": "refs/heads/main"}, **there)
            self.assertEqual((found["arguments"], found["pushed"]), ("ci --max-duration=50m", "yes"), text)

    def test_a_release_of_another_host_without_its_attestation_is_never_run(self):
        world = self.world
        bundle = f"{world.root}/git/releases/planspec-v{VERSION}.sigstore.json"
        with open(bundle) as file:
            right = file.read()
        def put(text):
            with open(bundle, "w") as file:
                file.write(text)
        self.addCleanup(put, right)
        put(right.replace(COMMIT, "f" * 40))
        code, text = world.act("push", "planspec-apply.yml", {"ref": "refs/heads/main"}, more=self.elsewhere("https://ghes.example"))
        self.assertNotEqual(code, 0, text)
        self.assertIn("nothing of it is run", text)
        self.assertEqual(recorded(text), {}, text)

    def test_the_schedule_that_turns_itself_off_does_the_same_by_the_reusable_workflow(self):
        with open(os.path.join(PROJECT, "docs", "github.md")) as file:
            page = file.read()
        fourth = page.split("the fourth file calls the same\n  workflow")[1].split("```yaml\n")[1].split("  ```\n")[0]
        fourth = "".join(line.removeprefix("  ") for line in fourth.splitlines(True) if "cache-mode:" not in line)
        called = fourth.replace("OWNER/planspec/.github/workflows/planspec.yml@COMMIT", f"octo-org/planspec/.github/workflows/planspec.yml@{COMMIT}")
        place = ".github/workflows/planspec-schedule.yml"
        self.world.write({place: called})
        self.addCleanup(os.remove, f"{self.world.work}/{place}")
        token = {"more": ["-s", "PLANSPEC_TOKEN=tok-app"]}
        found, text = self.act("schedule", "planspec-schedule.yml", {}, **token)
        self.assertEqual(found["arguments"], "ci --max-duration=50m --schedule-workflow=planspec-schedule.yml", text)
        self.assertEqual((found["event"], found["branch"], found["token"], found["pushed"]), ("schedule", "main", "ppa-kot", "yes"), text)

    def test_the_short_file_of_the_documentation_does_the_same_by_the_reusable_workflow(self):
        with open(os.path.join(PROJECT, "docs", "github.md")) as file:
            page = file.read()
        short = page.split("## One short file instead\n")[1].split("```yaml\n")[1].split("```\n")[0]
        self.assertLess(len(short.splitlines()), 25)
        # A key of the host that this runner does not know yet.
        short = "".join(line for line in short.splitlines(True) if "cache-mode:" not in line)
        called = f"octo-org/planspec/.github/workflows/planspec.yml@{COMMIT}"
        place, caller = ".github/workflows/planspec.yml", short.replace("OWNER/planspec/.github/workflows/planspec.yml@COMMIT", called)
        self.world.write({place: caller})
        self.addCleanup(os.remove, f"{self.world.work}/{place}")
        found, text = self.act("push", "planspec.yml", {"ref": "refs/heads/main"})
        self.assertEqual(found["arguments"], "ci --max-duration=50m", text)
        self.assertEqual((found["branch"], found["stored"], found["token"], found["pushed"]), ("main", "", "tob-kot", "yes"), text)
        command = {"action": "created", "issue": {"number": 1}, "comment": {"body": "/planspec approve gate"}}
        self.assertEqual(self.act("issue_comment", "planspec.yml", command)[0]["event"], "issue_comment")
        command["comment"]["body"] = "looks good"
        self.assertEqual(self.act("issue_comment", "planspec.yml", command)[0], {})
        head = self.world.push({"short.txt": "x\n"}, branch="short")
        pull = self.world.open_pull("short")
        self.world.merge_result(pull["number"], "short")
        self.world.git("switch", "--quiet", "main")
        # It was committed with the change, and is not on the branch.
        self.world.write({place: caller})
        payload = {"action": "opened", "number": pull["number"], "pull_request": pull}
        found, text = self.act("pull_request", "planspec.yml", payload, ref=f"refs/pull/{pull['number']}/merge")
        self.assertTrue(found["arguments"].startswith("ci --report=") and found["parents"].endswith(head), text)
        self.assertNotIn("pushed", found, text)

    def test_only_comments_that_are_commands_start_a_job(self):
        self.assertEqual(self.comment("/planspec approve gate")["event"], "issue_comment")
        for body in ["looks good", " /planspec approve gate", "please /planspec approve gate", ""]:
            self.assertEqual(self.comment(body), {}, body)

    def test_only_approving_reviews_from_this_repository_start_a_job(self):
        def review(state, repository, branch="feature", merged="2026-01-01T00:00:00Z"):
            head = {"ref": branch, "repo": {"full_name": repository}}
            payload = {
                "action": "submitted",
                "review": {"state": state},
                "pull_request": {"number": 1, "head": head, "merged_at": merged},
            }
            return self.act("pull_request_review", "planspec-apply.yml", payload)[0]

        self.assertEqual(review("approved", "acme/app")["branch"], "main")
        # What is not merged yet has no gate that waits; its approvals are read after the merge.
        self.assertEqual(review("approved", "acme/app", merged=None), {})
        self.assertEqual(review("commented", "acme/app"), {})
        self.assertEqual(review("approved", "eve/app"), {})
        delivery = "planspec/work/team/ship/offer"
        self.assertEqual(review("changes_requested", "acme/app", delivery)["branch"], "main")
        self.assertEqual(review("changes_requested", "eve/app", delivery), {})

    def test_a_pull_request_is_looked_at_as_it_would_be_merged(self):
        world = self.world
        base = world.git("rev-parse", "main")
        head = world.push({"new.txt": "x\n"}, branch="feature")
        pull = world.open_pull("feature", "`$(touch /tmp/x)` ::error::x")
        world.merge_result(pull["number"], "feature")
        world.git("switch", "--quiet", "main")
        payload = {"action": "opened", "number": pull["number"], "pull_request": pull}
        found, text = self.act("pull_request", "planspec-validate.yml", payload, ref=f"refs/pull/{pull['number']}/merge")
        arguments, report = found["arguments"].split(" --report=")
        self.assertEqual((arguments, found["parents"]), ("ci", f"{base} {head}"), text)
        # It lies beside the checkout: what a change has in its place is not written over.
        self.assertFalse(report.startswith(world.work) or not report.startswith("/"), report)
        self.assertEqual(found["stored"], "", text)


if __name__ == "__main__":
    unittest.main(verbosity=2)
