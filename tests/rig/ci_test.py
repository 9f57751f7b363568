#!/usr/bin/env python3
"""`planspec ci` in the workflows that `planspec init --github` writes: the built program, a real workflow runner, a real
remote, and an emulator of the host."""
import json, os, sys, threading, unittest, urllib.error, urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from world import BINARY, PROJECT, World  # noqa: E402


def documented():
    """How many requests docs/github.md says that each kind of job makes."""
    with open(f"{PROJECT}/docs/github.md") as page:
        rows = page.read().split("| Event | Requests |\n|---|---|\n")[1].split("\n\n")[0].splitlines()
    return {what.strip(): int(count) for _, what, count, _ in (row.split("|") for row in rows)}


COSTS = documented()

BASE = """\
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: {name: ship, namespace: team}
spec:
  description: Build, ask, ship
  graph:
    nodes:
      - {id: build, kind: Task}
      - {id: look, kind: Gate, dependsOn: [build], gateRef: {name: look}}
      - {id: ship, kind: Task, dependsOn: [look]}
---
apiVersion: planspec.io/v1alpha1
kind: Gate
metadata: {name: look, namespace: team}
spec: {gateType: approval, targetRef: {kind: Plan, name: ship}, reviewers: ["user:alice"]}
---
apiVersion: planspec.io/v1alpha1
kind: Binding
metadata: {name: default, namespace: team}
spec:
  rules:
    - {selector: {planRef: {name: ship}}, target: {provider: "tool://sh", config: {command: echo done}}}
"""
RUN = """\
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: {name: NAME, namespace: team}
spec: {planRef: {name: PLAN}}
"""


class PullRequests(unittest.TestCase):
    def setUp(self):
        self.world = World(BINARY)
        self.world.push({"plan.yaml": BASE})

    def tearDown(self):
        self.world.end()

    def asked(self, what):
        """Shows what a run cost, and compares it with what docs/github.md says."""
        asked = self.world.requests()
        print(f"  {what}: {len(asked)} requests", *asked, sep="\n    ", flush=True)
        self.assertEqual(len(asked), COSTS[what], asked)

    def validate(self, pull, branch, token="tok-bot", action="synchronize"):
        world, number = self.world, pull["number"]
        world.git("fetch", "--quiet", "origin")
        world.merge_result(number, branch)
        world.git("switch", "--quiet", "main")
        pull = world.ask("GET", f"/repos/acme/app/pulls/{number}")
        payload = {"action": action, "number": number, "pull_request": pull}
        return world.act("pull_request", "planspec-validate.yml", payload, ref=f"refs/pull/{number}/merge", token=token)

    def apply(self, event="push", payload=None, actor="wendy"):
        return self.world.act(event, "planspec-apply.yml", payload or {"ref": "refs/heads/main"}, actor=actor)

    def comments(self, number):
        return [comment["body"] for comment in self.all_comments(number)]

    def all_comments(self, number):
        return self.world.ask("GET", f"/repos/acme/app/issues/{number}/comments")

    def command(self, body, token, actor, number=1):
        comment = self.world.ask("POST", f"/repos/acme/app/issues/{number}/comments", {"body": body}, token)
        issue = {"number": number, "state": "open", "pull_request": {"url": f"{self.world.api}/repos/acme/app/pulls/{number}"}}
        return self.apply("issue_comment", {"action": "created", "issue": issue, "comment": comment}, actor)

    def status(self, name="ship-1"):
        return self.world.git("--git-dir", self.world.bare, "show", f"planspec/status:team/executions/{name}.yaml")

    def test_opened_broken_fixed_merged_and_approved(self):
        world = self.world
        world.push({"run.yaml": RUN.replace("NAME", "ship-1").replace("PLAN", "ship")}, "feature")
        pull = world.open_pull("feature")
        code, text = self.validate(pull, "feature", action="opened")
        self.assertEqual(code, 0, text)
        self.asked("a push to the pull request")
        [comment] = self.comments(1)
        self.assertIn("ship-1", comment)
        # Broken: the job, which is the check, fails; annotations name the line, the one comment changes.
        world.git("switch", "--quiet", "feature")
        sha = world.push({"run.yaml": RUN.replace("NAME", "ship-1").replace("PLAN", "shop")}, "feature")
        code, text = self.validate(pull, "feature")
        self.assertNotEqual(code, 0, text)
        self.assertIn("run.yaml", text)
        self.asked("a push to the pull request")
        [broken] = self.comments(1)
        self.assertNotEqual(broken, comment)
        # Fixed, by a forced push.
        world.git("switch", "--quiet", "feature")
        world.git("reset", "--quiet", "--hard", "HEAD~1")
        sha = world.push({"run.yaml": RUN.replace("NAME", "ship-1").replace("PLAN", "ship"), "x": "y"}, "feature", force=True)
        code, text = self.validate(pull, "feature")
        self.assertEqual(code, 0, text)
        self.assertEqual(len(self.comments(1)), 1)
        self.asked("a push to the pull request")
        # Merged: the status branch is on the remote, and the gate waits.
        world.git("switch", "--quiet", "main")
        world.git("merge", "--quiet", "--no-ff", "-m", "Merge pull request #1 from acme/feature", "feature")
        merged = world.git("rev-parse", "HEAD")
        world.git("push", "--quiet", "origin", "main")
        world.ask("POST", "/_ctl/repos/acme/app/merges", {"number": 1, "sha": merged})
        code, text = self.apply()
        self.assertEqual(code, 0, text)
        self.asked("its merge, with the pass")
        self.assertIn("phase: Blocked", self.status())
        self.assertEqual(world.git("--git-dir", world.bare, "rev-parse", "main"), merged)
        # What merging would do is hidden now that it has happened.
        preview = self.all_comments(1)[0]
        self.assertEqual(world.ask("GET", "/_ctl/hidden"), [preview["id"]])
        # The wrong person, then the right one.
        before = self.status()
        self.assertEqual(len(self.comments(1)), 2, text)
        self.assertIn("ship-1", self.comments(1)[1])
        code, refused = self.command("/planspec approve look", "tok-write", "wendy")
        self.assertEqual(self.status(), before)
        self.asked("a command that is refused")
        code, text = self.command("/planspec approve look fine by me", "tok-admin", "alice")
        self.assertEqual(code, 0, text)
        self.assertIn("phase: Succeeded", self.status())
        self.asked("a command that is carried out, with the pass")
        # Nothing is left to do, and nothing is recorded.
        tip = world.git("--git-dir", world.bare, "rev-parse", "planspec/status")
        code, text = self.apply("schedule", {})
        self.assertEqual((code, world.git("--git-dir", world.bare, "rev-parse", "planspec/status")), (0, tip), text)
        self.asked("a scheduled pass within an hour of the end of an Execution, for each pull request")

    def test_a_forced_push_is_compared_anew_with_the_base_as_it_is_now(self):
        world = self.world
        world.push({"run.yaml": RUN.replace("NAME", "ship-1").replace("PLAN", "ship")}, "feature")
        pull = world.open_pull("feature")
        code, text = self.validate(pull, "feature", action="opened")
        self.assertEqual(code, 0, text)
        [before] = self.all_comments(1)
        # The base goes on: what the branch wants is another thing there, by a plan that it does not have.
        world.git("switch", "--quiet", "main")
        other = BASE.split("---")[0].replace("name: ship,", "name: other,")
        base = world.push({"other.yaml": other})
        world.git("switch", "--quiet", "feature")
        world.git("commit", "--quiet", "--amend", "--allow-empty", "-m", "Start over")
        head = world.push({"run.yaml": RUN.replace("NAME", "other-1").replace("PLAN", "other")}, "feature", force=True)
        code, text = self.validate(pull, "feature")
        self.assertEqual(code, 0, text)
        [after] = self.all_comments(1)
        self.assertEqual(after["id"], before["id"])
        self.assertIn("other-1", after["body"])
        self.assertNotIn("ship-1", after["body"])
        for commit in [base, head]:
            self.assertIn(commit[:12], after["body"])
        world.requests()
        code, text = self.apply("schedule", {})
        self.assertEqual(code, 0, text)
        self.asked("a scheduled pass with nothing to do")
        # Nothing new to say makes no edit.
        world.requests()
        self.validate(pull, "feature")
        self.assertEqual([one for one in world.requests() if one.startswith(("POST", "PATCH")) and "comments" in one], [])

    def test_a_person_may_start_a_pass_and_steps_after_it_see_what_it_did(self):
        self.world.push({"run.yaml": RUN.replace("NAME", "ship-1").replace("PLAN", "ship")})
        self.world.requests()
        code, text = self.apply("workflow_dispatch", {"ref": "refs/heads/main", "inputs": None})
        self.assertEqual(code, 0, text)
        self.assertIn("phase: Blocked", self.status())
        self.assertIn("```mermaid", text.split("Summary - ", 1)[1])
        # The commit came by no pull request, so nobody is told.
        self.asked("a pass whose commits came from no pull request")
        tip = self.world.git("--git-dir", self.world.bare, "rev-parse", "planspec/status")
        code, text = self.apply("workflow_dispatch", {"inputs": {}})
        self.assertEqual((code, self.world.git("--git-dir", self.world.bare, "rev-parse", "planspec/status")), (0, tip), text)

    def test_a_token_that_may_only_read_leaves_annotations_and_the_summary(self):
        self.world.push({"run.yaml": RUN.replace("NAME", "ship-1").replace("PLAN", "shop")}, "fork")
        pull = self.world.open_pull("fork")
        code, text = self.validate(pull, "fork", token="tok-read", action="opened")
        self.assertNotEqual(code, 0, text)
        self.assertIn("run.yaml", text)

    def report(self, pull, action="completed", conclusion="success"):
        """The end of a pull request's validating run starts the job that may comment."""
        head = pull["head"]
        run = {"id": 7, "event": "pull_request", "conclusion": conclusion, "head_sha": head["sha"], "head_branch": head["ref"], "head_repository": head["repo"]}
        return self.world.act("workflow_run", "planspec-report.yml", {"action": action, "workflow_run": run})

    def test_a_fork_is_told_by_a_job_that_takes_its_data_for_hostile(self):
        world = self.world
        world.fork()
        world.push({"run.yaml": RUN.replace("NAME", "ship-1").replace("PLAN", "ship")}, "feature", remote="fork")
        pull = world.open_pull("eve:feature", token="tok-eve")
        self.assertEqual((pull["head"]["repo"]["full_name"], pull["user"]["login"]), ("eve/app", "eve"))
        world.requests()
        # The token of a fork's run may only read: nothing is asked of the host, and the result is in the summary.
        code, text = self.validate(pull, "feature", token="tok-read", action="opened")
        self.assertEqual((code, world.requests(), self.comments(1)), (0, [], []), text)
        self.assertIn("uploaded planspec-report", text)
        self.assertIn("ship-1", text.split("Summary - ", 1)[1])
        # The other job comments, once.
        code, text = self.report(pull)
        self.assertEqual(code, 0, text)
        self.asked("a push to a pull request from a fork, with its report (two jobs)")
        [comment] = self.comments(1)
        self.assertIn("ship-1", comment)
        self.assertIn("whose author controls it", comment)
        self.report(pull)
        self.assertEqual(self.comments(1), [comment])
        # Runs of this repository, and runs that were called off, start nothing.
        world.requests()
        own = {**pull, "head": {**pull["head"], "repo": pull["base"]["repo"]}}
        self.report(own)
        self.report(pull, conclusion="cancelled")
        self.assertEqual(world.requests(), [])
        # The author of the fork writes the file.
        file = f"{world.artifacts}/planspec-report/planspec-report.json"
        with open(file) as report:
            told = json.load(report)
        world.push({"other": "x"}, "other")
        other = world.open_pull("other", "Another")
        for change in [{"number": other["number"]}, {"pullRequest": other["number"]}, {"apiVersion": "planspec.io/preview/v9"}, {"created": "x"}]:
            with open(file, "w") as report:
                json.dump({**told, **change}, report)
            code, text = self.report(pull)
            self.assertNotEqual(code, 0, text)
        with open(file, "w") as report:
            json.dump({**told, "head": other["head"]["sha"], "warnings": ["@acme/everyone\n\n# hello <img src=x> [x](http://evil.test) ::error::x"]}, report)
        code, text = self.report(pull)
        self.assertEqual(code, 0, text)
        [comment] = self.comments(1)
        for bad in ["@acme", "<img", "\n# hello", "[x](http", "\n::error", other["head"]["sha"][:12]]:
            self.assertNotIn(bad, comment)
        self.assertEqual(self.comments(other["number"]), [])

    def test_what_github_does_not_describe_is_found(self):
        world = self.world
        for method, path, body in [("GET", "/repos/acme/app/comments/1/likes", None), ("POST", "/repos/acme/app/issues/1/comments", {"text": "x"})]:
            request = urllib.request.Request(world.api + path, body and json.dumps(body).encode(), {"Authorization": "Bearer tok-bot", "User-Agent": "octocrab"}, method=method)
            with self.assertRaises(urllib.error.HTTPError):
                urllib.request.urlopen(request, timeout=30)
        found = world.mistakes()
        self.assertEqual(len(found), 3, found)
        self.assertIn("GitHub has no such operation", found[0])

    def test_passes_at_the_same_time_share_the_work(self):
        for name in ["ship-1", "ship-2", "ship-3"]:
            self.world.write({f"{name}.yaml": RUN.replace("NAME", name).replace("PLAN", "ship")})
        self.world.push({})
        results = []
        passes = [threading.Thread(target=lambda: results.append(self.apply())) for _ in range(2)]
        for one in passes:
            one.start()
        for one in passes:
            one.join()
        self.assertEqual([code for code, _ in results], [0, 0], results)
        for name in ["ship-1", "ship-2", "ship-3"]:
            self.assertIn("phase: Blocked", self.status(name))
            self.assertIn("attempt: 1", self.status(name))


if __name__ == "__main__":
    unittest.main(verbosity=2)
