"""A gRPC client without generated stubs: everything it knows about usp it asks the server.

generic_client.py ADDRESS, with a token in USP_TOKEN
"""

import hashlib
import os
import random
import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

STORAGE = "usp.storage.v1.FileStorageService"
DEADLINE_S = 30


class Service:
    """The methods of one service, built from its descriptor."""

    def __init__(self, channel, pool, name, metadata):
        self.channel, self.metadata = channel, metadata
        self.descriptor = pool.FindServiceByName(name)

    def message(self, method, **fields):
        return message_factory.GetMessageClass(self.descriptor.FindMethodByName(method).input_type)(**fields)

    def call(self, method, request):
        found = self.descriptor.FindMethodByName(method)
        kinds = {
            (False, False): self.channel.unary_unary,
            (True, False): self.channel.stream_unary,
            (False, True): self.channel.unary_stream,
        }
        make = kinds[(found.client_streaming, found.server_streaming)]
        invoke = make(
            f"/{self.descriptor.full_name}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=message_factory.GetMessageClass(found.output_type).FromString,
        )
        return invoke(request, metadata=self.metadata, timeout=DEADLINE_S)


def upload(storage, key, content):
    def messages():
        yield storage.message("Upload", header={"key": key, "media_type": "application/octet-stream"})
        for start in range(0, len(content), 100_000):
            yield storage.message("Upload", chunk=content[start : start + 100_000])

    return storage.call("Upload", messages()).file


def read(storage, **fields):
    parts = list(storage.call("ReadFile", storage.message("ReadFile", **fields)))
    assert parts[0].WhichOneof("part") == "head", parts[0]
    assert all(part.WhichOneof("part") == "chunk" for part in parts[1:])
    return b"".join(part.chunk for part in parts[1:])


def main():
    address, token = sys.argv[1], os.environ["USP_TOKEN"]
    with grpc.insecure_channel(address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        services = sorted(database.get_services())
        print("reflection:", " ".join(services))
        for expected in (
            STORAGE,
            "usp.processor.v1.FileProcessorService",
            "usp.gateway.v1.ApiGatewayService",
            "grpc.health.v1.Health",
        ):
            assert expected in services, expected
        assert not any(name.startswith("usp.node.") for name in services), services

        pool = descriptor_pool.DescriptorPool(database)
        health = Service(channel, pool, "grpc.health.v1.Health", ())
        status = health.call("Check", health.message("Check")).status
        print("health:", "SERVING" if status == 1 else status)

        storage = Service(channel, pool, STORAGE, (("authorization", f"Bearer {token}"),))
        content = random.Random(7).randbytes(2_500_000)
        file = upload(storage, "from/python.bin", content)
        print("upload:", file.id, file.size_bytes, file.stored.chunks)
        assert file.digests.sha256 == hashlib.sha256(content).hexdigest()
        assert read(storage, file_id=file.id) == content
        print("read: identical")
        part = read(storage, key="from/python.bin", offset_bytes=1_000_000, length_bytes=500_000)
        assert part == content[1_000_000:1_500_000]
        print("range: identical")

        stranger = Service(channel, pool, STORAGE, ())
        try:
            stranger.call("ListFiles", stranger.message("ListFiles"))
        except grpc.RpcError as error:
            print("refused:", error.code().name)


main()
