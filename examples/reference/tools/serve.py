"""Serves `site/` on this machine, as `serve.py PORT FILE`, in the background: the id of its process goes to FILE. It
ends by itself after ten minutes."""

import functools
import http.server
import os
import signal
import sys

FILES = functools.partial(http.server.SimpleHTTPRequestHandler, directory="site")
SERVER = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), FILES)
if child := os.fork():
    with open(sys.argv[2], "w") as file:
        file.write(str(child))
    print("the site is served")
    sys.exit()
os.dup2(os.open(os.devnull, os.O_RDWR), 1)
os.dup2(1, 2)
signal.alarm(600)
SERVER.serve_forever()
