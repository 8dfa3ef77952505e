"""``python -m lab.publish [--certificate FILE] ADDRESS:PORT HOST:PORT...``: passes connections on to a host that
answers; with a key and a certificate in FILE, it speaks TLS with who connects."""

from __future__ import annotations

import argparse
import asyncio
import ssl

CONNECT_TIMEOUT = 1.0  # seconds; a node without power does not even refuse


async def main(address: tuple[str, int], backends: list[tuple[str, int]], tls: ssl.SSLContext | None) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for backend in list(backends):
                try:
                    remote = await asyncio.wait_for(asyncio.open_connection(*backend), CONNECT_TIMEOUT)
                    break
                except (OSError, TimeoutError):
                    backends.remove(backend)  # last in the queue, so that the next connection need not wait for it
                    backends.append(backend)
            else:
                return
            await asyncio.gather(_copy(reader, remote[1]), _copy(remote[0], writer))
        finally:
            writer.close()

    server = await asyncio.start_server(serve, *address, ssl=tls)
    await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end of the stream, and pass the end on; a broken connection is an end too."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
        else:  # TLS cannot say that it has ended while it goes on to listen
            writer.close()
    except OSError:
        writer.close()


def _split(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host, int(port)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--certificate")
    parser.add_argument("address", type=_split)
    parser.add_argument("backends", type=_split, nargs="+")
    options = parser.parse_args()
    tls = None
    if options.certificate:
        tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls.load_cert_chain(options.certificate)
    asyncio.run(main(options.address, options.backends, tls))
