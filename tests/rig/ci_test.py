#!/usr/bin/env python3
"""`planspec ci` in the workflows that `planspec init --github` writes: the built program, a real workflow runner, a real
remote, and an emulator of the host."""
import json, os, sys, threading, unittest, urllib.error, urllib.request

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from world import BINARY, World  # noqa: E402

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
        try:
            self.assertEqual(self.world.mistakes(), [])
        finally:
            self.world.end()

    def asked(self, what):
        """Shows what a run cost; docs/github.md says how much that is."""
        asked = self.world.requests()
        print(f"  {what}: {len(asked)} requests", *asked, sep="\n    ", flush=True)
        return len(asked)

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
        return [comment["body"] for comment in self.world.ask("GET", f"/repos/acme/app/issues/{number}/comments")]

    def check(self, sha):
        runs = self.world.ask("GET", f"/repos/acme/app/commits/{sha}/check-runs")["check_runs"]
        return [run["conclusion"] for run in runs if run["name"] == "planspec"]

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
        self.assertEqual(self.asked("opened"), 5)
        [comment] = self.comments(1)
        self.assertIn("ship-1", comment)
        # Broken: the check fails, annotations name the line, the one comment changes.
        world.git("switch", "--quiet", "feature")
        sha = world.push({"run.yaml": RUN.replace("NAME", "ship-1").replace("PLAN", "shop")}, "feature")
        code, text = self.validate(pull, "feature")
        self.assertNotEqual(code, 0, text)
        self.assertEqual(self.check(sha), ["failure"])
        self.assertIn("run.yaml", text)
        self.assertEqual(self.asked("broken"), 5)
        [broken] = self.comments(1)
        self.assertNotEqual(broken, comment)
        # Fixed, by a forced push.
        world.git("switch", "--quiet", "feature")
        world.git("reset", "--quiet", "--hard", "HEAD~1")
        sha = world.push({"run.yaml": RUN.replace("NAME", "ship-1").replace("PLAN", "ship"), "x": "y"}, "feature", force=True)
        code, text = self.validate(pull, "feature")
        self.assertEqual((code, self.check(sha)), (0, ["success"]), text)
        self.assertEqual(len(self.comments(1)), 1)
        self.assertEqual(self.asked("fixed"), 5)
        # Merged: the status branch is on the remote, and the gate waits.
        world.git("switch", "--quiet", "main")
        world.git("merge", "--quiet", "--no-ff", "-m", "Merge pull request #1 from acme/feature", "feature")
        merged = world.git("rev-parse", "HEAD")
        world.git("push", "--quiet", "origin", "main")
        world.ask("POST", "/_ctl/repos/acme/app/merges", {"number": 1, "sha": merged})
        code, text = self.apply()
        self.assertEqual(code, 0, text)
        self.assertEqual(self.asked("merged"), 4)
        self.assertIn("phase: Blocked", self.status())
        self.assertEqual(world.git("--git-dir", world.bare, "rev-parse", "main"), merged)
        # The wrong person, then the right one.
        before = self.status()
        self.assertEqual(len(self.comments(1)), 2, text)
        self.assertIn("ship-1", self.comments(1)[1])
        code, refused = self.command("/planspec approve look", "tok-write", "wendy")
        self.assertEqual(self.status(), before)
        self.assertEqual(self.asked("refused"), 5)
        code, text = self.command("/planspec approve look fine by me", "tok-admin", "alice")
        self.assertEqual(code, 0, text)
        self.assertIn("phase: Succeeded", self.status())
        self.assertEqual(self.asked("approved"), 6)
        # Nothing is left to do, and nothing is recorded.
        tip = world.git("--git-dir", world.bare, "rev-parse", "planspec/status")
        code, text = self.apply("schedule", {})
        self.assertEqual((code, world.git("--git-dir", world.bare, "rev-parse", "planspec/status")), (0, tip), text)
        self.assertEqual(self.asked("idle"), 1)

    def test_a_token_that_may_only_read_leaves_annotations_and_the_summary(self):
        self.world.push({"run.yaml": RUN.replace("NAME", "ship-1").replace("PLAN", "shop")}, "fork")
        pull = self.world.open_pull("fork")
        code, text = self.validate(pull, "fork", token="tok-read", action="opened")
        self.assertNotEqual(code, 0, text)
        self.assertIn("run.yaml", text)
        self.assertEqual(self.check(pull["head"]["sha"]), [])

    def test_what_github_does_not_describe_is_found(self):
        world = self.world
        for method, path, body in [("GET", "/repos/acme/app/comments/1/likes", None), ("POST", "/repos/acme/app/issues/1/comments", {"text": "x"})]:
            request = urllib.request.Request(world.api + path, body and json.dumps(body).encode(), {"Authorization": "Bearer tok-bot", "User-Agent": "octocrab"}, method=method)
            with self.assertRaises(urllib.error.HTTPError):
                urllib.request.urlopen(request, timeout=30)
        found = world.mistakes()
        self.assertEqual(len(found), 3, found)
        self.assertIn("GitHub has no such operation", found[0])
        world.mistakes = lambda: []  # these were wanted

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
