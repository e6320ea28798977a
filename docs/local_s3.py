"""A server of S3 for the tutorial."""

import atexit
import os
import sys
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from s3_servers import seaweedfs


def serve() -> tuple[str, str]:
    """Starts a server that ends with this process; the environment holds the credentials.

    Returns:
        The address of a folder that is empty, and of one with two files.
    """
    stack = ExitStack()
    atexit.register(stack.close)
    server = stack.enter_context(seaweedfs())
    os.environ.update(server.environment)
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    server.client.create_bucket(Bucket="lab")
    for number in range(2):
        server.client.put_object(Bucket="lab", Key=f"incoming/{number}.csv", Body=b"a,b\n1,2\n")
    data, incoming = (f"s3://lab/{name}?endpoint_url={server.endpoint_url}" for name in ("data", "incoming"))
    return data, incoming
