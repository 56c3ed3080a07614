"""A counting and fault-injecting proxy in front of the lab's AWS and its Kubernetes API; standard library only.

proxy.py --aws URL --kubernetes URL --certs DIR --log FILE
Two listeners on free loopback ports, told on stdout as {"aws": URL, "kubernetes": URL}. DescribeCluster's answer names the
Kubernetes listener, so a client that is given the AWS one goes through both. Every request is one JSON line in FILE:
  {"service": "iam", "action": "CreateRole", "key": "iam:CreateRole", "mutating": true, "status": 200, "start": s, "end": s}
  {"service": "kubernetes", "action": "PATCH", "path": "/apis/...", "key": "kubernetes:PATCH /apis/...", ...}
Orders come as JSON lines on stdin, each answered by {"ok": true, "met": requests that met a fault since the last one was ordered}; when
stdin ends, so does the proxy:
  {"fault": {"match": REGEX on key, or "mutating": true, "nth": 1, "times": 1, "when": "before"|"after" the effect,
             "do": "status"|"close"|"hold"|"stall"|"kill", "status": 500, "code": "InternalFailure", "message": "...", "body": "...",
             "seconds": stalls so long, or until the client hangs up, and answers nothing, "pid": kills that process with -9, then closes}}
  {"delay": seconds}   every AWS call takes at least so long: those that do not wait for each other overlap then
  {"clear": true}   forget the faults         {"release": true}   let go what is held
A held request is told on stdout as {"held": KEY}; it waits until it is released.
"""
import argparse, http.client, json, os, re, select, signal, ssl, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "proxy-connection"}
READS = re.compile(r"^(Get|List|Describe|Head|Simulate|Lookup|AssumeRole|Receive)|^(GET|HEAD|WATCH) ")
EKS = [  # REST: the operation is in the method and the path
    ("GET", r"/clusters", "ListClusters"), ("GET", r"/clusters/[^/]+", "DescribeCluster"),
    ("GET", r"/clusters/[^/]+/pod-identity-associations", "ListPodIdentityAssociations"),
    ("POST", r"/clusters/[^/]+/pod-identity-associations", "CreatePodIdentityAssociation"),
    ("GET", r"/clusters/[^/]+/pod-identity-associations/[^/]+", "DescribePodIdentityAssociation"),
    ("POST", r"/clusters/[^/]+/pod-identity-associations/[^/]+", "UpdatePodIdentityAssociation"),
    ("DELETE", r"/clusters/[^/]+/pod-identity-associations/[^/]+", "DeletePodIdentityAssociation"),
    ("GET", r"/clusters/[^/]+/access-entries", "ListAccessEntries"), ("POST", r"/clusters/[^/]+/access-entries", "CreateAccessEntry"),
    ("GET", r"/clusters/[^/]+/access-entries/[^/]+", "DescribeAccessEntry"),
    ("POST", r"/clusters/[^/]+/access-entries/[^/]+", "UpdateAccessEntry"),
    ("DELETE", r"/clusters/[^/]+/access-entries/[^/]+", "DeleteAccessEntry"),
    ("GET", r"/tags/.+", "ListTagsForResource"), ("POST", r"/tags/.+", "TagResource"), ("DELETE", r"/tags/.+", "UntagResource")]


class Faults:
    """The orders that are open, and what they hold."""
    def __init__(self):
        self.lock, self.rules, self.met, self.go, self.delay = threading.Lock(), [], 0, threading.Event(), 0

    def due(self, key, mutating):
        """The first fault that this request meets, or None; counts the request for every rule that it matches."""
        found = None
        with self.lock:
            for r in self.rules:
                if (r.get("mutating") and not mutating) or not re.search(r.get("match", ""), key):
                    continue
                r["seen"] = r.get("seen", 0) + 1
                first = r.get("nth", 1)
                if found is None and first <= r["seen"] < first + r.get("times", 1):
                    found = r
            self.met += found is not None
        return found


FAULTS, SAY = Faults(), threading.Lock()


def say(**line):
    with SAY:
        print(json.dumps(line), flush=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True   # TCP_NODELAY: or small answers wait for the other side's delayed acknowledgement
    wbufsize = 1 << 16
    upstream = None

    def setup(self):
        if self.server.tls:
            self.request = self.server.tls.wrap_socket(self.request, server_side=True)
        super().setup()

    def log_message(self, *a):
        pass

    def finish(self):
        try:
            super().finish()
        except OSError:
            pass
        if self.upstream:
            self.upstream.close()

    def any(self):
        self.start, body = time.time(), self.body()
        service, action, path = self.name(body)
        key = f"{service}:{action}" + (f" {path}" if path else "")
        mutating = not READS.search(action + " ")
        fault, status = FAULTS.due(key, mutating), 0

        def record(status):
            """Once a call, before its answer is whole: who has the answer finds the call in the log."""
            self.record = lambda status: None
            line = {"service": service, "action": action, "key": key, "mutating": mutating, "status": status, "start": self.start, "end": time.time()}
            if path:
                line["path"] = path
            if fault:
                line["fault"] = fault["do"]
            with SAY:
                self.server.log.write(json.dumps(line) + "\n"); self.server.log.flush()

        self.record = record
        try:
            if fault and fault.get("when", "before") == "before":
                status = self.fail(fault, service, key)
                if status != -1:
                    return
            response = self.ask(body)
            if FAULTS.delay and not self.server.tls:
                time.sleep(max(0, self.start + FAULTS.delay - time.time()))
            status = response.status
            if fault and fault.get("when") == "after":
                response.read()
                status = self.fail(fault, service, key, response.status)
                if status != -1:
                    return
                self.close_connection = True   # what was held is answered by closing: the effect is there, the answer lost
                return
            self.answer(response, action)
        except (OSError, http.client.HTTPException):
            self.close_connection = True
        finally:
            self.record(status)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = any

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            out = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                out += self.rfile.read(size); self.rfile.readline()
            while self.rfile.readline().strip():
                pass
            return out
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def name(self, body):
        """(service, action, path or None) of the present request"""
        url = urlsplit(self.path)
        if self.server.tls:
            watch = "watch=" in url.query and "watch=false" not in url.query
            return "kubernetes", "WATCH" if watch else self.command, url.path
        scope = re.search(r"Credential=[^/]+/\d+/[^/]+/([a-z0-9-]+)/", self.headers.get("Authorization", ""))
        service = scope[1] if scope else "sts" if "GetCallerIdentity" in url.query else "unsigned"
        target = self.headers.get("X-Amz-Target")
        if target:
            return service, target.rsplit(".", 1)[-1], None
        query = parse_qs(url.query) | (parse_qs(body.decode("latin-1")) if b"Action=" in body else {})
        if "Action" in query:
            return service, query["Action"][0], None
        for method, pattern, operation in EKS:
            if service == "eks" and method == self.command and re.fullmatch(pattern, url.path):
                return service, operation, None
        return service, self.command, url.path

    def ask(self, body):
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP | {"content-length", "expect"}}
        for attempt in (1, 2):
            reused = self.upstream is not None
            if not reused:
                self.upstream = self.server.connect()
            try:
                # the Host header stays the client's: the signature covers it, and queue URLs are made from it
                self.upstream.putrequest(self.command, self.path, skip_host="Host" in self.headers, skip_accept_encoding=True)
                for k, v in headers.items():
                    self.upstream.putheader(k, v)
                if body or self.command in ("POST", "PUT", "PATCH"):
                    self.upstream.putheader("Content-Length", str(len(body)))
                self.upstream.endheaders(body or None)
                return self.upstream.getresponse()
            except (OSError, http.client.HTTPException):
                self.upstream.close(); self.upstream = None
                if not reused or attempt == 2:   # only a kept connection may have been closed meanwhile
                    raise

    def answer(self, response, action):
        headers = [(k, v) for k, v in response.getheaders() if k.lower() not in HOP | {"content-length"}]
        none = self.command == "HEAD" or response.status in (204, 304)
        length = response.getheader("Content-Length")
        if none or length is not None or not response.chunked:
            data = b"" if none else response.read()
            if action == "DescribeCluster":
                data = data.replace(self.server.kubernetes[0].encode(), self.server.kubernetes[1].encode())
            self.reply(response.status, headers + [("Content-Length", length or "0") if none else ("Content-Length", str(len(data)))], data, response.reason)
        else:
            self.head(response.status, headers + [("Transfer-Encoding", "chunked")], response.reason); self.wfile.flush()
            while data := response.read1(1 << 16):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data)); self.wfile.flush()
            self.record(response.status)
            self.wfile.write(b"0\r\n\r\n"); self.wfile.flush()
        if response.will_close and self.upstream:
            self.upstream.close(); self.upstream = None

    def head(self, status, headers, reason):
        self.send_response_only(status, reason)
        for k, v in headers:
            self.send_header(k, v)
        self.end_headers()

    def reply(self, status, headers, data, reason=None):
        self.record(status)
        self.head(status, headers, reason)
        self.wfile.write(data); self.wfile.flush()

    def fail(self, fault, service, key, status=0):
        """Does what the fault says; the status for the log, or -1 to go on."""
        if fault["do"] == "hold":
            go = FAULTS.go   # before it is told: the release may come at once
            say(held=key)
            go.wait()
            return -1
        if fault["do"] == "stall":
            select.select([self.connection], [], [], fault["seconds"])
        if fault["do"] == "kill":
            self.record(status)
            os.kill(fault["pid"], signal.SIGKILL)
        if fault["do"] in ("close", "stall", "kill"):
            self.close_connection = True
            return status
        status, code = fault.get("status", 500), fault.get("code", "InternalFailure")
        message, kind = fault.get("message", "a fault of the test's proxy"), "application/json"
        if "body" in fault:
            data = fault["body"]
        elif service == "kubernetes":
            data = json.dumps({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": code, "code": status})
        elif service in ("iam", "sts"):
            kind = "text/xml"
            data = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error><RequestId>fault</RequestId></ErrorResponse>"
        else:
            data = json.dumps({"__type": code, "message": message})
        data = data.encode()
        self.reply(status, [("Content-Type", kind), ("Content-Length", str(len(data))), ("x-amzn-ErrorType", code)], data)
        return status


class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size, tls, kubernetes = True, 128, None, ("", "")

    def handle_error(self, request, client_address):
        pass   # a client that went away, or spoke no TLS

    def connect(self):
        u = urlsplit(self.target)
        if self.tls:
            c = http.client.HTTPSConnection(u.hostname, u.port, context=self.trust)
        else:
            c = http.client.HTTPConnection(u.hostname, u.port)
        c.connect()
        c.sock.setsockopt(6, 1, 1)   # IPPROTO_TCP, TCP_NODELAY
        return c


def main():
    p = argparse.ArgumentParser(usage=__doc__)
    for name in ("--aws", "--kubernetes", "--certs", "--log"):
        p.add_argument(name, required=True)
    a = p.parse_args()
    log = open(a.log, "a")
    servers = {}
    for kind, target in (("aws", a.aws), ("kubernetes", a.kubernetes)):
        s = servers[kind] = Server(("127.0.0.1", 0), Handler)
        s.target, s.log = target, log
    k = servers["kubernetes"]
    k.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    k.tls.load_cert_chain(f"{a.certs}/apiserver.crt", f"{a.certs}/apiserver.key")   # issued for 127.0.0.1
    k.trust = ssl.create_default_context(cafile=f"{a.certs}/ca.crt")
    urls = {"aws": f"http://127.0.0.1:{servers['aws'].server_port}", "kubernetes": f"https://127.0.0.1:{k.server_port}"}
    servers["aws"].kubernetes = (a.kubernetes, urls["kubernetes"])
    for s in servers.values():
        threading.Thread(target=s.serve_forever, daemon=True).start()
    say(**urls)
    for line in sys.stdin:
        order = json.loads(line)
        with FAULTS.lock:
            if "fault" in order:
                FAULTS.rules.append(order["fault"]); FAULTS.met = 0
            if "delay" in order:
                FAULTS.delay = order["delay"]
            if "clear" in order:
                FAULTS.rules.clear()
            if "release" in order:
                FAULTS.go.set(); FAULTS.go = threading.Event()
        say(ok=True, met=FAULTS.met)


main()
