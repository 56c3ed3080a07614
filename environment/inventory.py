"""inventory.py   what exists in the lab: one line an object, "KIND NAME  details", from AWS (boto3).
Tests compare two of what everything() returns: {"aws": {"KIND NAME": details}, "kubernetes": ["KIND.GROUP NAMESPACE/NAME"]}, by kubectl."""
import json, os, subprocess
import boto3

CLUSTER = os.environ["CLUSTER_NAME"]
iam, sqs, eks, events = (boto3.client(s) for s in ("iam", "sqs", "eks", "events"))
VOLATILE = {"events", "events.events.k8s.io", "leases.coordination.k8s.io", "endpointslices.discovery.k8s.io", "endpoints",
            "componentstatuses", "controllerrevisions.apps"}


def pages(client, operation, key, **kw):
    return [x for page in client.get_paginator(operation).paginate(**kw) for x in page[key]]


def names(tags):
    return {t["Key"]: t["Value"] for t in tags}


def aws():
    out = {}
    for r in pages(iam, "list_roles", "Roles"):
        n = r["RoleName"]
        out[f"role {n}"] = {
            "path": r["Path"], "trust": r["AssumeRolePolicyDocument"], "tags": names(iam.list_role_tags(RoleName=n)["Tags"]),
            "attached": sorted(p["PolicyName"] for p in pages(iam, "list_attached_role_policies", "AttachedPolicies", RoleName=n)),
            "inline": sorted(pages(iam, "list_role_policies", "PolicyNames", RoleName=n))}
    for p in pages(iam, "list_policies", "Policies", Scope="Local"):
        versions = iam.list_policy_versions(PolicyArn=p["Arn"])["Versions"]
        document = iam.get_policy_version(PolicyArn=p["Arn"], VersionId=p["DefaultVersionId"])["PolicyVersion"]["Document"]
        out[f"policy {p['PolicyName']}"] = {"versions": len(versions), "attached_to": p["AttachmentCount"], "characters": len(json.dumps(document, separators=(",", ":"))),
                                           "tags": names(iam.list_policy_tags(PolicyArn=p["Arn"])["Tags"])}
    for p in pages(iam, "list_instance_profiles", "InstanceProfiles"):
        out[f"instance-profile {p['InstanceProfileName']}"] = {"roles": [r["RoleName"] for r in p["Roles"]]}
    for url in sqs.list_queues().get("QueueUrls", []):
        a = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
        out[f"queue {url.rsplit('/', 1)[1]}"] = {"retention": a["MessageRetentionPeriod"], "policy": json.loads(a.get("Policy") or "null"),
                                                "encryption": a.get("SqsManagedSseEnabled"), "tags": sqs.list_queue_tags(QueueUrl=url).get("Tags", {})}
    for r in events.list_rules()["Rules"]:
        targets = events.list_targets_by_rule(Rule=r["Name"])["Targets"]
        out[f"rule {r['Name']}"] = {"pattern": json.loads(r.get("EventPattern") or "null"), "state": r["State"], "targets": [t["Arn"] for t in targets],
                                   "tags": names(events.list_tags_for_resource(ResourceARN=r["Arn"])["Tags"])}
    for c in pages(eks, "list_clusters", "clusters"):
        for a in eks.list_pod_identity_associations(clusterName=c)["associations"]:
            d = eks.describe_pod_identity_association(clusterName=c, associationId=a["associationId"])["association"]
            out[f"pod-identity {c}/{a['namespace']}/{a['serviceAccount']} {a['associationId']}"] = {"role": d["roleArn"], "tags": d.get("tags", {})}
        for arn in eks.list_access_entries(clusterName=c)["accessEntries"]:
            e = eks.describe_access_entry(clusterName=c, principalArn=arn)["accessEntry"]
            out[f"access-entry {c} {arn}"] = {"type": e["type"], "tags": e.get("tags", {})}
    return out


def kubernetes():
    kubectl = lambda *a: subprocess.run(["kubectl", *a], check=True, stdout=subprocess.PIPE, text=True).stdout
    kinds = [k for k in kubectl("api-resources", "--verbs=list", "-o", "name", "--cached=false").split() if k not in VOLATILE]
    columns = "custom-columns=K:.kind,A:.apiVersion,N:.metadata.namespace,O:.metadata.name"
    lines = (line.split() for line in kubectl("get", ",".join(kinds), "-A", "--no-headers", "--ignore-not-found", "-o", columns).splitlines())
    group = lambda version: "." + version.rsplit("/", 1)[0] if "/" in version else ""
    return sorted({f"{k}{group(v)} {'' if ns == '<none>' else ns + '/'}{n}" for k, v, ns, n in lines})


def brief(details):
    shown = {k: v for k, v in details.items() if k in ("attached", "versions", "characters", "retention", "targets", "role", "type", "roles") and v not in ([], None)}
    return "  ".join(f"{k}={','.join(map(str, v)) if isinstance(v, list) else v}" for k, v in shown.items())


def everything():
    return {"aws": aws(), "kubernetes": kubernetes()}


if __name__ == "__main__":
    for name, details in aws().items():
        print(f"  {name}  {brief(details)}")
