"""Backups in an S3-compatible store."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import IO, Any, cast
from urllib.parse import parse_qs, urlsplit

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionClosedError,
    EndpointConnectionError,
    HTTPClientError,
)

from pvc_core.drivers.targets.names import check_name
from pvc_core.errors import BadRequest, DriverError, DriverUnavailable, NotFound

PART = 16 << 20  # bytes; each thousand parts are longer by as much, so that the most a store takes hold about 800 GiB
MOST_PARTS = 10_000
_MISSING = ("NoSuchKey", "404", "NoSuchBucket")


class S3Target:
    """An object of the store is one of the bucket, below the prefix. What is written goes up in parts, and the object
    appears when the store is told that they are all there.

    The URI is ``s3://bucket/prefix``, with ``?endpoint=https://host:port`` for a store other than Amazon's and
    ``&region=...`` where one is needed. Credentials: ``access_key`` and ``secret_key``.
    """

    def __init__(self, uri: str, credentials: Mapping[str, str]) -> None:
        parts = urlsplit(uri)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if not parts.netloc or query.keys() - {"endpoint", "region"}:
            raise BadRequest(f"{uri!r} names no bucket; write s3://bucket/prefix?endpoint=https://host:port")
        if not credentials.get("access_key") or not credentials.get("secret_key"):
            raise BadRequest(f"an S3 store needs access_key and secret_key among the credentials of {uri!r}")
        self._bucket = parts.netloc
        self._prefix = f"{parts.path.strip('/')}/" if parts.path.strip("/") else ""
        self._client = boto3.client(
            "s3",
            endpoint_url=query.get("endpoint"),
            region_name=query.get("region", "us-east-1"),
            aws_access_key_id=credentials["access_key"],
            aws_secret_access_key=credentials["secret_key"],
            config=Config(
                retries={"mode": "standard", "max_attempts": 4},
                connect_timeout=10,
                read_timeout=60,
                s3={"addressing_style": "path" if "endpoint" in query else "auto"},
                # Other stores than Amazon's know no checksums beyond those of the signature.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    def names(self, prefix: str = "") -> Iterator[str]:
        found = []
        with self._translated(prefix):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                found += [entry["Key"].removeprefix(self._prefix) for entry in page.get("Contents", ())]
        yield from sorted(found)

    @contextmanager
    def read(self, name: str) -> Iterator[IO[bytes]]:
        with self._translated(name):
            body = self._client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"]
            try:
                yield body
            finally:
                body.close()

    @contextmanager
    def write(self, name: str) -> Iterator[IO[bytes]]:
        with self._translated(name):
            upload = _Upload(self._client, self._bucket, self._key(name))
            try:
                yield cast("IO[bytes]", upload)
                upload.complete()
            except BaseException:
                upload.abort()
                raise

    def remove(self, name: str) -> None:
        with self._translated(name):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(name))

    def _key(self, name: str) -> str:
        return self._prefix + check_name(name)

    @contextmanager
    def _translated(self, name: str) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in _MISSING:
                raise NotFound(f"there is no {name!r} in bucket {self._bucket}, or no such bucket") from None
            kind = DriverUnavailable if code in ("503", "SlowDown", "ServiceUnavailable") else DriverError
            raise kind(f"bucket {self._bucket}: {code}: {error.response.get('Error', {}).get('Message', '')}") from None
        except (EndpointConnectionError, ConnectionClosedError, HTTPClientError) as error:
            raise DriverUnavailable(f"bucket {self._bucket}: {error}") from None
        except BotoCoreError as error:
            raise DriverError(f"bucket {self._bucket}: {error}") from None


class _Upload(io.RawIOBase):
    """A stream into one object. Small ones go up in one request, at the end."""

    def __init__(self, client: Any, bucket: str, key: str) -> None:
        self._client = client
        self._where = {"Bucket": bucket, "Key": key}
        self._buffer = bytearray()
        self._id = ""
        self._parts: list[dict[str, Any]] = []

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._buffer += content
        while len(self._buffer) >= (size := PART * (1 + len(self._parts) // 1000)):
            self._send(bytes(self._buffer[:size]))
            del self._buffer[:size]
        return len(content)

    def complete(self) -> None:
        if not self._id:
            self._client.put_object(**self._where, Body=bytes(self._buffer))
            return
        if self._buffer:
            self._send(bytes(self._buffer))
        self._client.complete_multipart_upload(**self._where, UploadId=self._id, MultipartUpload={"Parts": self._parts})

    def abort(self) -> None:
        """Have the parts forgotten. Those that stay are seen by no list; the store's own rules clear them away."""
        if self._id:
            with suppress(BotoCoreError, ClientError):
                self._client.abort_multipart_upload(**self._where, UploadId=self._id)

    def _send(self, content: bytes) -> None:
        if len(self._parts) == MOST_PARTS:
            raise DriverError(f"{self._where['Key']} is too large: a store takes {MOST_PARTS} parts of an object")
        if not self._id:
            self._id = self._client.create_multipart_upload(**self._where)["UploadId"]
        number = len(self._parts) + 1
        answer = self._client.upload_part(**self._where, UploadId=self._id, PartNumber=number, Body=content)
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})
