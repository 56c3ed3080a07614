"""Counts and clears what a bundle makes, for the matrix: one process a stage, since it is asked after every cell. boto3 for AWS, the API
server over its admin certificate for Kubernetes; nothing of the provider's. Orders are JSON lines on stdin, each answered by one line:
  {"do": "count"}          {"aws": {NAME: details}, "kubernetes": {"KIND NAMESPACE/NAME": details}, "releases": {NAME: [[revision, status]]}}
  {"do": "wipe", "crds": false}   everything of a bundle goes: moto starts anew, the release's objects are deleted
  {"do": "python", "script": TEXT}   runs it with boto3's clients and get/put/patch/delete at hand; answers what it leaves in `result`
"""
import hashlib, http.client, json, os, ssl, sys, time, traceback
from urllib.parse import urlsplit

HERE = os.path.dirname(os.path.abspath(__file__))
ENVIRONMENT = os.path.join(HERE, "..", "..", "environment")
sys.dont_write_bytecode = True   # beside its source
sys.path.insert(0, ENVIRONMENT)
import boto3, inventory
from inventory import iam, sqs, eks, events

ec2, sts = boto3.client("ec2"), boto3.client("sts")
cluster = os.environ["CLUSTER_NAME"]
HOST, AWS = urlsplit(os.environ["CLUSTER_ENDPOINT"]), urlsplit(os.environ["AWS_ENDPOINT_URL"])
CERTS = os.environ["LAB_RUN"] + "/certs/"
TLS = ssl.create_default_context(cafile=CERTS + "ca.crt")
TLS.load_cert_chain(CERTS + "admin.crt", CERTS + "admin.key")
CORE, RBAC = "/api/v1", "/apis/rbac.authorization.k8s.io/v1"
KINDS = {"Service": (CORE, "services"), "ServiceAccount": (CORE, "serviceaccounts"), "Deployment": ("/apis/apps/v1", "deployments"),
         "PodDisruptionBudget": ("/apis/policy/v1", "poddisruptionbudgets"), "Role": (RBAC, "roles"), "RoleBinding": (RBAC, "rolebindings"),
         "ClusterRole": (RBAC, "clusterroles"), "ClusterRoleBinding": (RBAC, "clusterrolebindings")}
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
KARPENTER = ["/apis/karpenter.sh/v1/nodepools", "/apis/karpenter.sh/v1/nodeclaims", "/apis/karpenter.k8s.aws/v1/ec2nodeclasses"]
HELM = "?labelSelector=app.kubernetes.io/managed-by%3DHelm"
OURS = "?labelSelector=app.kubernetes.io/name%3Dkarpenter"
SECRETS = "/api/v1/secrets?fieldSelector=type%3Dhelm.sh/release.v1"
connection = None


def call(method, path, body=None, kind="application/json"):
    global connection
    for attempt in range(120):
        try:
            connection = connection or http.client.HTTPSConnection(HOST.hostname, HOST.port, context=TLS, timeout=60)
            connection.request(method, path, json.dumps(body) if body is not None else None, {"Content-Type": kind})
            answer = connection.getresponse()
            data = answer.read()
            if answer.status != 429:   # the storage of a kind whose CRD is new
                break
            time.sleep(0.5)
        except (OSError, http.client.HTTPException):
            connection = None
            if attempt > 1:
                raise
    if answer.status == 404:
        return None
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {data[:300]}")
    return json.loads(data)


def get(path): return call("GET", path)
def items(path): return (get(path) or {}).get("items", [])
def put(path, body): return call("PUT", path, body)
def post(path, body):
    made = call("POST", path, body)
    assert made, f"POST {path}: there is no such kind"
    return made
def patch(path, body): return call("PATCH", path, body, "application/merge-patch+json")
def delete(path): return call("DELETE", path)


def at(base, plural, meta):
    return f"{base}/namespaces/{meta['namespace']}/{plural}/{meta['name']}" if "namespace" in meta else f"{base}/{plural}/{meta['name']}"


def digest(o):
    """What somebody wrote in an object, and nothing that only the API server fills in."""
    meta = {k: v for k, v in o["metadata"].items() if k in ("labels", "annotations", "finalizers")}
    meta.get("annotations", {}).pop("deployment.kubernetes.io/revision", None)
    rest = {k: v for k, v in o.items() if k not in ("metadata", "status", "apiVersion", "kind", "secrets")}
    for k in ("clusterIP", "clusterIPs"):
        rest.get("spec", {}).pop(k, None) if isinstance(rest.get("spec"), dict) else None
    return hashlib.md5(json.dumps([meta, rest], sort_keys=True).encode()).hexdigest()[:12]


def name(o):
    m = o["metadata"]
    return (m["namespace"] + "/" if "namespace" in m else "") + m["name"]


def pods_rest():
    """Waits until Deployments have as many pods as they want, and no others."""
    end = time.time() + 60
    while time.time() < end:
        deployments = items("/apis/apps/v1/deployments" + HELM)
        want = sum(d["spec"]["replicas"] for d in deployments)
        pods = items("/api/v1/pods" + OURS)
        if len(pods) == want and not any("deletionTimestamp" in o["metadata"] for o in pods + deployments):
            return len(pods)
        time.sleep(0.2)
    return len(items("/api/v1/pods" + OURS))


def count():
    aws = {}
    for key, details in inventory.aws().items():
        key = key.rsplit(" ", 1)[0] if key.startswith("pod-identity") else key   # its id is random
        while key in aws:
            key += " once more"
        aws[key] = details
    pods, out = pods_rest(), {}
    for kind, (base, plural) in KINDS.items():
        for o in items(f"{base}/{plural}{HELM}"):
            out[f"{kind} {name(o)}"] = digest(o)
            if kind == "Deployment":
                rolled = o["metadata"].get("annotations", {}).get("deployment.kubernetes.io/revision")
                out[f"{kind} {name(o)}"] += f" rolled {rolled} times, {pods} pods"
    for o in items(CRDS):
        if o["metadata"]["name"].endswith(("karpenter.sh", "karpenter.k8s.aws")):
            out[f"CRD {o['metadata']['name']}"] = digest(o)
    for path in KARPENTER:
        for o in items(path):
            out[f"{path.rsplit('/', 1)[1]} {name(o)}"] = digest(o) + (" going" if "deletionTimestamp" in o["metadata"] else "")
    releases = {}
    for o in items(SECRETS):
        labels = o["metadata"]["labels"]
        releases.setdefault(f"{o['metadata']['namespace']}/{labels['name']}", []).append([int(labels["version"]), labels["status"]])
    return {"aws": aws, "kubernetes": out, "releases": {k: sorted(v) for k, v in releases.items()}}


def forget():
    aws = http.client.HTTPConnection(AWS.hostname, AWS.port, timeout=60)
    aws.request("POST", "/lab/forget")
    assert aws.getresponse().status == 204
    aws.close()


def wipe(crds):
    forget()
    for path in KARPENTER:
        for o in items(path):
            one = f"{path}/{o['metadata']['name']}"
            delete(one)
            if get(one) and o["metadata"].get("finalizers"):
                patch(one, {"metadata": {"finalizers": None}})
    for kind, (base, plural) in KINDS.items():
        for o in items(f"{base}/{plural}{HELM}"):
            delete(at(base, plural, o["metadata"]))
    for o in items(SECRETS):
        delete(at(CORE, "secrets", o["metadata"]))
    if crds:
        for o in items(CRDS):
            if o["metadata"]["name"].endswith(("karpenter.sh", "karpenter.k8s.aws")):
                delete(f"{CRDS}/{o['metadata']['name']}")
        while any(o["metadata"]["name"].endswith(("karpenter.sh", "karpenter.k8s.aws")) for o in items(CRDS)):
            time.sleep(0.1)
    end = time.time() + 60
    while time.time() < end and (items("/api/v1/pods" + OURS) or items("/apis/apps/v1/replicasets" + OURS)):
        time.sleep(0.1)
    return True


def run(script):
    scope = {**globals(), "result": None}
    exec(script, scope)
    return scope["result"]


forget()   # marks the account as it is before anything
for line in sys.stdin:
    order = json.loads(line)
    try:
        answer = count() if order["do"] == "count" else wipe(order.get("crds")) if order["do"] == "wipe" else run(order["script"])
        print(json.dumps({"ok": answer}, default=str), flush=True)
    except Exception:
        print(json.dumps({"error": traceback.format_exc()}), flush=True)
