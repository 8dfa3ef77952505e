"""``python -m lab.publish PORT HOST:PORT...``: passes connections to 127.0.0.1:PORT on to a host that answers."""

from __future__ import annotations

import asyncio
import sys

CONNECT_TIMEOUT = 1.0  # seconds; a node without power does not even refuse


async def main(port: int, backends: list[tuple[str, int]]) -> None:
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

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Copy until the end of the stream, and pass the end on; a broken connection is an end too."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


if __name__ == "__main__":
    targets = [target.rpartition(":") for target in sys.argv[2:]]
    asyncio.run(main(int(sys.argv[1]), [(host, int(port)) for host, _, port in targets]))
