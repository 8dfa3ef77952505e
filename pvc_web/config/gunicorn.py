"""How gunicorn serves the API: ``gunicorn -c python:pvc_web.config.gunicorn pvc_web.config.wsgi``.

Processes, since building a long list is work for the interpreter; threads in each, since a client may wait for the end
of a task for half a minute.
"""

from __future__ import annotations

import gc
import logging
import os
import sys
from typing import Any

from pvc_core.config import load
from pvc_core.errors import PvcError
from pvc_core.memory import return_large_blocks

try:
    _pvc = load()
except PvcError as error:
    sys.exit(f"Error: {error}")

bind = _pvc.api.listen
workers = min(4, os.cpu_count() or 1)
worker_class = "gthread"
threads = 16
graceful_timeout = 30
keepalive = 60  # a page or a script that asks now and then keeps its connection; an idle one holds no thread
limit_request_line = 8190  # the longest gunicorn offers: the documented API takes XML in the query too
worker_tmp_dir = "/dev/shm"  # a heartbeat file on a slow disk gets healthy processes killed
certfile = _pvc.api.tls_certificate or None
keyfile = _pvc.api.tls_key or None


def post_worker_init(worker: Any) -> None:  # noqa: ARG001
    """Import the views, load the cluster's picture and read the XML of its machines before the first request."""
    from django.urls import get_resolver

    from pvc_web.config import cluster
    from pvc_web.vms.specs import usage_by_node

    return_large_blocks()
    get_resolver().url_patterns  # noqa: B018  (imports them)
    try:
        usage_by_node(cluster.view().snapshot())
    except PvcError as error:
        logging.getLogger(__name__).warning("the cluster cannot be read yet: %s", error)
    gc.freeze()  # the collector need not walk through all that again and again: most of it stays
