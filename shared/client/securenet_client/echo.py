"""`python -m securenet_client.echo`: what gRPC alone costs. Prints its port, and ends with its standard input."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import grpc

from securenet.detection.v1 import detection_pb2, detection_pb2_grpc, verdict_pb2

_ANSWER = detection_pb2.AnalyzeResponse(
    verdict=verdict_pb2.Verdict(threat_level=verdict_pb2.THREAT_LEVEL_LOW, score=0.01)
)


class Echo(detection_pb2_grpc.DetectionServiceServicer):
    """Answers the same verdict, and does nothing else."""

    async def Analyze(self, request: Any, context: Any) -> Any:  # noqa: ARG002, N802 - an RPC
        return _ANSWER


async def serve() -> None:
    """Until standard input ends, as it does with the process that started this one."""
    server = grpc.aio.server()
    detection_pb2_grpc.add_DetectionServiceServicer_to_server(Echo(), server)  # type: ignore[abstract] # one method is asked
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    asyncio.run(serve())
