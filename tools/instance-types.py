#!/usr/bin/env python3
"""instance-types.py > src/resources/instance_types.txt   what DescribeInstanceTypes reports, one line a family and architecture.

Wants boto3 and credentials; AWS_ENDPOINT_URL may name an emulator. Each line: FAMILY ARCHITECTURE SIZE:VCPUS:MIB ...; the first
one says when, where from and how many. Mac types are left out: Karpenter launches none."""
import collections, datetime, os, boto3
ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
families, count = collections.defaultdict(list), 0
for page in boto3.client("ec2").get_paginator("describe_instance_types").paginate():
    for t in page["InstanceTypes"]:
        family, size = t["InstanceType"].split(".", 1)
        for reported in t["ProcessorInfo"]["SupportedArchitectures"]:
            if architecture := ARCHITECTURES.get(reported):
                families[family, architecture].append((t["VCpuInfo"]["DefaultVCpus"], t["MemoryInfo"]["SizeInMiB"], size))
                count += 1
source = "an emulator" if os.environ.get("AWS_ENDPOINT_URL") else "AWS"
print(f"# {datetime.date.today()} DescribeInstanceTypes of {source}, {count} types; made by tools/instance-types.py")
for (family, architecture), sizes in sorted(families.items()):
    print(family, architecture, *(f"{size}:{cpus}:{mib}" for cpus, mib, size in sorted(sizes)))
