#!/usr/bin/env python3
"""A task for a workflow: the built program in the workflow that `planspec init --github` writes starts another one on an emulator
of the host, once, and follows it over passes."""
import os, sys, threading, time, unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from world import BINARY, World  # noqa: E402

WORK = """\
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: {name: site, namespace: team}
spec:
  description: Build elsewhere
  graph:
    nodes:
      - {id: build, kind: Task, inputs: {platform: linux}, outputs: [url, conclusion]}
---
apiVersion: planspec.io/v1alpha1
kind: Binding
metadata: {name: default, namespace: team}
spec:
  rules:
    - {selector: {planRef: {name: site}}, target: {provider: "github-actions://acme/app/build.yml@main"}}
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: {name: site-1, namespace: team}
spec: {planRef: {name: site}}
"""
ACTIONS = "/repos/acme/app/actions"


class Dispatch(unittest.TestCase):
    def setUp(self):
        self.world = World(BINARY)
        self.world.ask("POST", "/_ctl/repos/acme/app/workflows", {"name": "build", "path": ".github/workflows/build.yml"})
        self.world.push({"work.yaml": WORK})

    def tearDown(self):
        try:
            self.assertEqual(self.world.mistakes(), [])
        finally:
            self.world.end()

    def apply(self, event="push", payload=None):
        code, text = self.world.act(event, "planspec-apply.yml", payload or {"ref": "refs/heads/main"})
        self.assertEqual(code, 0, text)

    def runs(self):
        return self.world.ask("GET", f"{ACTIONS}/workflows/build.yml/runs")["workflow_runs"]

    def status(self):
        return self.world.git("--git-dir", self.world.bare, "show", "planspec/status:team/executions/site-1.yaml")

    def begun(self):
        """A pass that starts the run; it waits a while for the end."""
        one = threading.Thread(target=self.apply)
        one.start()
        for _ in range(600):
            if self.runs():
                return one
            time.sleep(0.1)
        raise AssertionError("no run was started")

    def asked(self, method, what):
        return [one for one in self.world.requests() if one.startswith(method) and what in one]

    def test_a_workflow_is_started_once_and_followed_to_its_end(self):
        one = self.begun()
        [run] = self.runs()
        self.assertEqual((run["event"], run["head_branch"]), ("workflow_dispatch", "main"))
        self.world.ask("PATCH", f"/_ctl{ACTIONS.removesuffix('/actions')}/runs/{run['id']}", {"status": "in_progress"})
        # Another pass at the same time starts no other.
        self.apply("schedule", {})
        self.assertIn("reason: AwaitingProvider", self.status())
        self.world.ask("PATCH", f"/_ctl{ACTIONS.removesuffix('/actions')}/runs/{run['id']}", {"status": "completed", "conclusion": "success"})
        one.join()
        self.apply("schedule", {})
        self.assertIn("phase: Succeeded", self.status())
        self.assertIn(f"actions/runs/{run['id']}", self.status())
        self.assertEqual(len(self.asked("POST", "/dispatches")), 1)

    def test_a_run_is_cancelled_with_its_execution(self):
        one = self.begun()
        issue = self.world.ask("POST", "/repos/acme/app/issues", {"title": "Stop"})
        comment = self.world.ask("POST", f"/repos/acme/app/issues/{issue['number']}/comments", {"body": "/planspec cancel site-1"})
        while "AwaitingProvider" not in self.status():
            time.sleep(0.1)
        self.apply("issue_comment", {"action": "created", "issue": issue, "comment": comment})
        one.join()
        self.assertIn("phase: Cancelled", self.status())
        self.assertEqual([run["conclusion"] for run in self.runs()], ["cancelled"])
        self.assertEqual(len(self.asked("POST", "/cancel")), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
