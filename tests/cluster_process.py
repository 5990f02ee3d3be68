"""A Ray cluster with a process of its own, so that a test process has none inside it: started by tests/conftest.py.

It prints the environment for commands that shall run on the cluster, as JSON, and ends with its standard input.
"""

import json
import sys

from openrlhf_marge.host.standalone.local_ray import local_ray

with local_ray(num_gpus=6) as environment:
    print(json.dumps(environment), flush=True)
    sys.stdin.read()
