#!/usr/bin/env python3
"""A task for a person as an issue: the built program in the workflow that `planspec init --github` writes, a real workflow
runner, a real remote, and an emulator of the host."""
import os, sys, unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from ci_test import COSTS  # noqa: E402
from world import BINARY, World  # noqa: E402

WORK = """\
apiVersion: planspec.io/v1alpha1
kind: Plan
metadata: {name: hall, namespace: team}
spec:
  description: Measure, then order
  graph:
    nodes:
      - {id: measure, kind: Task, description: Measure the hall. Do not ask @acme/everyone., outputs: [width]}
      - {id: order, kind: Task, dependsOn: [measure], inputs: {width: "${{ nodes.measure.outputs.width }}"}}
---
apiVersion: planspec.io/v1alpha1
kind: Binding
metadata: {name: default, namespace: team}
spec:
  rules:
    - {selector: {planRef: {name: hall}, nodeId: measure}, target: {provider: "human://wendy"}}
    - {selector: {planRef: {name: hall}, nodeId: order}, target: {provider: "tool://sh", config: {command: grep 4.5 "$PLANSPEC_INPUTS"}}}
---
apiVersion: planspec.io/v1alpha1
kind: Execution
metadata: {name: hall-1, namespace: team}
spec: {planRef: {name: hall}}
"""
ISSUES = "/repos/acme/app/issues"


class People(unittest.TestCase):
    def setUp(self):
        self.world = World(BINARY)
        self.world.push({"work.yaml": WORK})

    def tearDown(self):
        try:
            self.assertEqual(self.world.mistakes(), [])
        finally:
            self.world.end()

    def issues(self):
        return self.world.ask("GET", f"{ISSUES}?state=all&labels=planspec")

    def comments(self, number):
        return [comment["body"] for comment in self.world.ask("GET", f"{ISSUES}/{number}/comments")]

    def status(self):
        return self.world.git("--git-dir", self.world.bare, "show", "planspec/status:team/executions/hall-1.yaml")

    def apply(self, event="push", payload=None, actor="wendy"):
        code, text = self.world.act(event, "planspec-apply.yml", payload or {"ref": "refs/heads/main"}, actor=actor)
        self.assertEqual(code, 0, text)
        asked = self.world.requests()
        print(f"  {event}: {len(asked)} requests", *asked, sep="\n    ", flush=True)
        return text, len(asked)

    def closes(self, number, token, actor, reason="completed"):
        issue = self.world.ask("PATCH", f"{ISSUES}/{number}", {"state": "closed", "state_reason": reason}, token)
        return self.apply("issues", {"action": "closed", "issue": issue}, actor)

    def command(self, issue, text):
        comment = self.world.ask("POST", f"{ISSUES}/{issue['number']}/comments", {"body": text})
        text, _ = self.apply("issue_comment", {"action": "created", "issue": issue, "comment": comment})
        self.assertNotIn("no command", text)

    def test_an_issue_is_opened_once_and_answered_by_whose_word_counts(self):
        world = self.world
        _, asked = self.apply()
        self.assertEqual(asked, COSTS["an issue for a person is opened, with the pass"])
        [issue] = self.issues()
        number = issue["number"]
        self.assertEqual(([one["login"] for one in issue["assignees"]], issue["state"]), (["wendy"], "open"))
        self.assertIn(f"{world.server}/acme/app/tree/planspec/status", issue["body"])
        self.assertNotIn("@acme", issue["body"])
        self.assertIn("reason: AwaitingPerson", self.status())
        # A scheduled pass looks, and records nothing.
        tip = world.git("--git-dir", world.bare, "rev-parse", "planspec/status")
        _, asked = self.apply("schedule", {})
        self.assertEqual(world.git("--git-dir", world.bare, "rev-parse", "planspec/status"), tip)
        self.assertEqual(asked, COSTS["a scheduled pass while one issue waits for a person"])
        # An issue that is no task starts nothing.
        other = world.ask("POST", ISSUES, {"title": "A mistake in the documentation"})
        text, asked = self.apply("issues", {"action": "closed", "issue": other})
        self.assertEqual(asked, 0, text)
        # Somebody who may only read answers for the person.
        world.ask("POST", f"{ISSUES}/{number}/comments", {"body": "```yaml\nwidth: 9\n```"}, "tok-read")
        self.closes(number, "tok-read", "rob")
        [issue] = self.issues()
        self.assertEqual(issue["state"], "open")
        self.assertIn("rob closed it", self.comments(number)[-1])
        # The person answers, first without what was asked for.
        self.closes(number, "tok-write", "wendy")
        self.assertIn("width", self.comments(number)[-1])
        self.assertIn("the last answer does not count", self.status())
        world.ask("POST", f"{ISSUES}/{number}/comments", {"body": "Here:\n```yaml\nwidth: 4.5\n```"})
        _, asked = self.closes(number, "tok-write", "wendy")
        self.assertEqual(asked, COSTS["an issue for a person is closed, with the pass"])
        self.assertIn("phase: Succeeded", self.status())
        self.assertIn("width: 4.5", self.status())
        self.assertEqual([one["number"] for one in self.issues()], [number])

    def test_what_is_closed_as_not_planned_fails_and_what_is_cancelled_is_closed(self):
        self.apply()
        [issue] = self.issues()
        self.world.ask("POST", f"{ISSUES}/{issue['number']}/comments", {"body": "The hall is gone."})
        self.closes(issue["number"], "tok-write", "wendy", "not_planned")
        self.assertIn("as not planned: The hall is gone.", self.status())
        self.command(issue, "/planspec retry hall-1")
        [second] = [one for one in self.issues() if one["number"] != issue["number"]]
        self.assertEqual(second["state"], "open")
        self.command(second, "/planspec cancel hall-1")
        self.assertIn("phase: Cancelled", self.status())
        self.assertTrue(all(one["state"] == "closed" for one in self.issues()))


if __name__ == "__main__":
    unittest.main(verbosity=2)
