"""Runs Python with boto3's clients for the tests: each line on stdin is a script as JSON text, each line on stdout {"ok": what it left in
`result`} or {"error": traceback}. One process for many scripts, since importing boto3 costs more than most of them."""
import json, os, sys, traceback
import boto3
sys.path.append(os.path.join(os.path.dirname(__file__), "../../environment"))   # for inventory.py
sys.dont_write_bytecode = True   # beside its source

GIVEN = {"boto3": boto3, "json": json, "os": os, "cluster": os.environ["CLUSTER_NAME"]}
GIVEN |= {service: boto3.client(service) for service in ("iam", "sqs", "eks", "events", "sts", "ec2")}
for line in sys.stdin:
    names = dict(GIVEN, result=None)
    try:
        exec(json.loads(line), names)
        answer = {"ok": names["result"]}
    except Exception:
        answer = {"error": traceback.format_exc()}
    print(json.dumps(answer, default=str), flush=True)
