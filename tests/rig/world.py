"""A Git server, GitHub's API and a workflow runner on this machine, for one test: real git, the emulator, `act`."""
import atexit, hashlib, json, os, platform, shutil, socket, subprocess, sys, tarfile, tempfile, time, urllib.error, urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
TARGET = os.path.abspath(os.environ.get("CARGO_TARGET_DIR") or os.path.join(PROJECT, "target"))
RIG = os.path.join(TARGET, "rig")
BINARY = os.path.join(TARGET, "debug", "planspec")
COMMIT = "0123456789abcdef0123456789abcdef01234567"
ACTION = f"octo-org/planspec/action@{COMMIT}"
# Actions of the host, and what stands in for them: a runner without internet cannot get the real ones.
STAND_INS = {
    "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8": "checkout",
    "actions/upload-artifact@bbbca2ddaa5d8feaa63e36b76fdaad77386f024f": "upload",
    "actions/create-github-app-token@1b10c78c7865c340bc4f6099eb2f838309f1e8c3": "app-token",
    "actions/download-artifact@3e5f45b2cfb9172054b4087a40e8e0b5a5461e7c": "download",
}
VERSION = next(line.split('"')[1] for line in open(os.path.join(PROJECT, "Cargo.toml")) if line.startswith("version"))
ARCHIVE = f"planspec-v{VERSION}-{platform.machine()}-unknown-linux-gnu.tar.gz"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class World:
    """`acme/app` on a server: alice administers, wendy may push, rob may read, eve is a stranger."""

    def __init__(self, program):
        self.root = tempfile.mkdtemp(prefix="planspec-rig-")
        self.processes, self.runs, self.seen = [], 0, 0
        self.git_port, self.api_port = free_port(), free_port()
        self.server, self.api = f"http://127.0.0.1:{self.git_port}", f"http://127.0.0.1:{self.api_port}"
        atexit.register(self.end)
        bin_ = f"{RIG}/venv/bin:" if os.path.isdir(f"{RIG}/venv/bin") else ""
        self.environment = {
            "PATH": f"{bin_}{HERE}/attest:" + os.environ["PATH"], "RIG_ATTESTATION": f"{self.root}/attestation.json", "HOME": f"{self.root}/home", "TZ": "UTC", "LANG": "C.UTF-8", "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "wendy", "GIT_AUTHOR_EMAIL": "wendy@acme.test", "GIT_COMMITTER_NAME": "wendy", "GIT_COMMITTER_EMAIL": "wendy@acme.test",
        }
        os.makedirs(f"{self.root}/home")
        # The runner copies the repository of an action; the build folder of this one would be gigabytes.
        shutil.copytree(f"{PROJECT}/action", f"{self.root}/planspec/action")
        shutil.copy(f"{PROJECT}/Cargo.toml", f"{self.root}/planspec")
        # `$/action` is the action at the workflow's own commit, which this runner cannot resolve yet: by its whole name here.
        os.makedirs(f"{self.root}/planspec/.github/workflows")
        with open(f"{PROJECT}/.github/workflows/planspec.yml") as reusable, open(f"{self.root}/planspec/.github/workflows/planspec.yml", "w") as copy:
            text = reusable.read()
            assert text.count("uses: $/action\n") == 2, text
            copy.write(text.replace("uses: $/action\n", f"uses: {ACTION}\n"))
        self.release(program)
        self.serve()
        self.ask("PUT", "/repos/acme/app/collaborators/wendy", {"permission": "push"}, "tok-admin")
        self.ask("PUT", "/repos/acme/app/collaborators/github-actions%5Bbot%5D", {"permission": "push"}, "tok-admin")
        self.work, self.artifacts = f"{self.root}/work", f"{self.root}/artifacts"
        self.run(["git", "init", "--quiet", "--initial-branch=main", self.work], cwd=self.root)
        self.git("remote", "add", "origin", f"http://x-access-token:tok-write@127.0.0.1:{self.git_port}/acme/app")
        self.run([BINARY, "init", "--github", "--quiet", "--no-example", "--action", ACTION])

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []
        shutil.rmtree(self.root, ignore_errors=True)

    def release(self, program):
        """What the action downloads: the program as a release of octo-org/planspec, with its checksum and its attestation."""
        folder = f"{self.root}/git/releases"
        os.makedirs(folder)
        with tarfile.open(f"{folder}/{ARCHIVE}", "w:gz", compresslevel=1) as tar:
            tar.add(program, "planspec")
        with open(f"{folder}/{ARCHIVE}", "rb") as archive, open(f"{folder}/SHA256SUMS", "w") as sums:
            digest = hashlib.sha256(archive.read()).hexdigest()
            sums.write(f"{digest}  {ARCHIVE}\n")
        with open(self.environment["RIG_ATTESTATION"], "w") as said:
            json.dump({"repo": "octo-org/planspec", "tag": f"v{VERSION}", "commit": COMMIT, "digest": digest}, said)
        shutil.copy(self.environment["RIG_ATTESTATION"], f"{folder}/planspec-v{VERSION}.sigstore.json")

    def serve(self):
        self.bare = self.repository("acme/app", "tok-admin")
        # Modules of npm are found beside the file that asks for them.
        for file in ["gh-emu.mjs", "judge.mjs", "openapi/github.json"]:
            shutil.copy(f"{HERE}/{file}", RIG)
        self.start("emulator", ["node", f"{RIG}/gh-emu.mjs", str(self.api_port), f"{HERE}/seed.yaml"], f"{self.api}/meta")
        self.start("gitd", [sys.executable, f"{HERE}/gitd.py", str(self.git_port), f"{self.root}/git", f"{HERE}/gitusers.json"], f"{self.server}/healthz")

    def repository(self, name, token):
        """An empty repository on the server; what is pushed to it, the emulator has too."""
        bare = f"{self.root}/git/{name}.git"
        self.run(["sh", f"{HERE}/mkbare.sh", f"{self.root}/git", name], cwd=self.root)
        os.symlink(bare, f"{self.root}/git/{name}")
        hook = f"{bare}/hooks/post-receive"
        with open(hook, "w") as script:
            script.write(f"#!/bin/sh\nEMU={self.api}/repos/{name} EMU_TOKEN={token} exec python3 {HERE}/mirror.py\n")
        os.chmod(hook, 0o755)
        return bare

    def fork(self):
        """eve's own copy of `acme/app`, as the remote `fork`."""
        self.ask("POST", "/repos/acme/app/forks", {}, "tok-eve")
        self.repository("eve/app", "tok-eve")
        self.git("remote", "add", "fork", f"http://x-access-token:tok-eve@127.0.0.1:{self.git_port}/eve/app")
        self.git("push", "--quiet", "fork", "main")

    def start(self, name, command, url):
        place = f"{self.root}/{name}.log"
        with open(place, "w") as log:
            self.processes.append(subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        for _ in range(600):
            try:
                return urllib.request.urlopen(url, timeout=5).read()
            except OSError:
                time.sleep(0.05)
        raise AssertionError(f"{name} does not answer: see {place}")

    def run(self, command, cwd=None, check=True):
        done = subprocess.run(command, cwd=cwd or self.work, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def git(self, *arguments, **options):
        return self.run(["git", *arguments], **options)

    def write(self, files):
        for path, text in files.items():
            os.makedirs(os.path.dirname(f"{self.work}/{path}") or self.work, exist_ok=True)
            with open(f"{self.work}/{path}", "w") as file:
                file.write(text)

    def push(self, files, branch="main", force=False, remote="origin"):
        """Commits files to a branch and pushes it."""
        self.write(files)
        if branch != self.git("branch", "--show-current"):
            self.git("switch", "--quiet", "-C", branch)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", f"Change {branch}")
        self.git("push", "--quiet", *(["--force"] if force else []), remote, branch)
        return self.git("rev-parse", "HEAD")

    def ask(self, method, path, data=None, token="tok-write"):
        body = json.dumps(data).encode() if data is not None else None
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            with urllib.request.urlopen(urllib.request.Request(self.api + path, body, headers, method=method), timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read()}") from error

    def mistakes(self):
        """What GitHub's description does not allow of what `planspec` asked the host, and of the answers; and too much at once."""
        wrong = self.ask("GET", "/_ctl/mistakes")
        made = [one["at"] for one in self.ask("GET", "/_ctl/requests") if one["user"] == "github-actions[bot]" and one["method"] != "GET"]
        if any(made[index + 80] - made[index] < 60_000 for index in range(len(made) - 80)):
            wrong.append("more than 80 requests a minute create or change something")
        return wrong

    def requests(self):
        """What programs asked the host since the last look, without what this file asks."""
        asked = [one for one in self.ask("GET", "/_ctl/requests") if one["user"] in ("github-actions[bot]", "rob")]
        new, self.seen = asked[self.seen:], len(asked)
        return [f"{one['method']} {one['path']} {one.get('status')}" for one in new]

    def open_pull(self, branch, title="A change", token="tok-write"):
        return self.ask("POST", "/repos/acme/app/pulls", {"title": title, "head": branch, "base": "main"}, token)

    def merge_result(self, number, branch):
        """`refs/pull/N/merge`, as the host makes it."""
        base, head = self.git("rev-parse", "main"), self.git("rev-parse", branch)
        tree = self.git("merge-tree", "--write-tree", base, head)
        merge = self.git("commit-tree", tree, "-p", base, "-p", head, "-m", f"Merge {head} into {base}")
        self.git("push", "--quiet", "--force", self.bare, f"{merge}:refs/pull/{number}/merge")
        return merge

    def act(self, event, workflow, payload, ref="refs/heads/main", actor="wendy", token="tok-bot", more=()):
        """Runs a workflow that `planspec init --github` wrote, unchanged. Its exit code and what it printed."""
        self.runs += 1
        place = f"{self.root}/run-{self.runs}"
        os.makedirs(place)
        repository = self.ask("GET", "/repos/acme/app")
        with open(f"{place}/event.json", "w") as file:
            json.dump({"repository": repository, "sender": {"login": actor}, **payload}, file)
        command = [
            "act", event, "-C", self.work, "-P", "ubuntu-latest=-self-hosted", "--pull=false", "--no-cache-server", "--no-skip-checkout",
            "-W", f".github/workflows/{workflow}", "-e", f"{place}/event.json", "-a", actor, "-s", f"GITHUB_TOKEN={token}",
            *(f"--local-repository={action}={HERE}/{folder}" for action, folder in STAND_INS.items()), "--local-repository", f"octo-org/planspec@{COMMIT}={self.root}/planspec",
            "--env", f"GITHUB_API_URL={self.api}", "--env", f"GITHUB_SERVER_URL={self.server}", "--env", "GITHUB_REPOSITORY=acme/app", "--env", f"GITHUB_REF={ref}",
            "--env", f"RIG_ARTIFACTS={self.artifacts}", *more,
        ]
        environment = {**self.environment, "XDG_CACHE_HOME": f"{place}/cache", "XDG_CONFIG_HOME": f"{place}/config"}
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)
        wrong = self.mistakes()
        assert not wrong, wrong
        return done.returncode, done.stdout + done.stderr
