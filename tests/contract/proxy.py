"""A TCP forwarder whose connections a test can cut: the network between a client and its server."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable


class Proxy:
    """Listens on a free port of 127.0.0.1 and forwards to ``target`` (``host:port``) until ``close``.

    ``passed`` counts the bytes towards the target. After as many more as the first of ``cuts`` says, all connections
    break, once; then the next one holds."""

    def __init__(self, target: str) -> None:
        host, _, port = target.partition(":")
        self._target = (host, int(port))
        self._open = True
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.cuts: list[int] = []
        self.passed = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._accept, "127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        """Break every connection, and every new one."""
        self._run(self._cut())

    def heal(self) -> None:
        self._open = True

    def fall_silent(self) -> None:
        """Pass nothing on from now on, and say nothing of it, as a host does that has lost its power."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    @property
    def in_use(self) -> bool:
        return bool(self._writers)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._flowing.set)
        self.cut()
        self._server.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _cut(self) -> None:
        self._open = False
        for writer in self._writers:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        try:
            other_reader, other_writer = await asyncio.open_connection(*self._target)
        except ConnectionError:  # the target is down
            writer.transport.abort()
            return
        ends = {writer, other_writer}
        self._writers |= ends
        await asyncio.gather(self._pump(reader, other_writer, self._count), self._pump(other_reader, writer))
        self._writers -= ends

    def _count(self, size: int) -> None:
        self.passed += size
        if self.cuts:
            self.cuts[0] -= size
            if self.cuts[0] < 0:
                self.cuts.pop(0)
                for writer in self._writers:
                    writer.transport.abort()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        count: Callable[[int], None] = lambda _: None,
    ) -> None:
        try:
            while data := await reader.read(65536):
                count(len(data))
                await self._flowing.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()
