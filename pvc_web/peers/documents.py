"""Other clusters as the API shows them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from pvc_web.api.schema import Document


class PeerDocument(Document):
    """Another cluster. Its token is never shown."""

    name: str
    api_uri: str
    verify_ssl: bool
    pool: Annotated[str, Meta(description="Pool of the copies there; empty: pools of the same names")]
    bandwidth: Annotated[int, Meta(description="The most bytes a second that are sent; 0: no limit")]
