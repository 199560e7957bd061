"""Two servers behind a proxy, which are replaced while they predict."""

import http.client
import http.server
import random
import threading
import time

from .container import TOKEN, Server, docker, expect, volume
from .pictures import form, photo

# Predictions that must be answered meanwhile.
ENOUGH = 50


class Proxy(http.server.ThreadingHTTPServer):
    """Passes requests on to the first of `ports` that answers; tries the others for a while."""

    daemon_threads = True

    def __init__(self, ports):
        super().__init__(("127.0.0.1", 0), ProxyHandler)
        self.ports = ports
        self.answered = dict.fromkeys(ports, 0)


class ProxyHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            for port in random.sample(self.server.ports, len(self.server.ports)):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                try:
                    connection.request("POST", self.path, body, dict(self.headers))
                    answer = connection.getresponse()
                    content = answer.read()
                except (OSError, http.client.HTTPException):
                    continue
                finally:
                    connection.close()
                if answer.status != 503:
                    self.server.answered[port] += 1
                    return self.reply(answer.status, content)
            time.sleep(0.05)
        self.reply(502, b"")

    def reply(self, status, content):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def check_rolling_restart(image):
    """Two containers behind a proxy are replaced one after the other: no prediction fails."""
    half = ["--memory", "2g", "--cpus", "1"]
    servers = [Server(image, volume(), *half) for _ in range(2)]
    for server in servers:
        server.ready()
    proxy = Proxy([server.port for server in servers])
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    body, kind = form(photo("cat-1"))
    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": kind}
    over, failures, answered = threading.Event(), [], []

    def load():
        while not over.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", proxy.server_port, timeout=60)
            try:
                connection.request("POST", "/predict", body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                continue
            finally:
                connection.close()
            answered.append(answer.status)
            if answer.status != 200:
                failures.append((answer.status, content[:200]))

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    try:
        for at, server in enumerate(servers):
            time.sleep(2)
            docker("stop", server.name)
            server.remove()
            time.sleep(1)
            servers[at] = Server(image, server.data, *half, port=server.port).ready()
        time.sleep(2)
    finally:
        over.set()
        for client in clients:
            client.join()
        proxy.shutdown()
    expect(not failures, f"{len(failures)} predictions failed, {len(answered)} were answered: {failures[:3]}")
    expect(len(answered) >= ENOUGH, f"only {len(answered)} predictions were answered")
    expect(all(proxy.answered.values()), f"a server had nothing to do: {proxy.answered}")
    for server in servers:
        server.remove()
    return f"{len(answered)} predictions while both were replaced, none failed"
