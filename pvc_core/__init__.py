"""The cluster itself: its model, its decisions, its operations and the drivers that carry them out.

Nothing here knows Django, Celery or click; see ``docs/design/`` for the rooms and who may import whom.
"""

__version__ = "2.0.0"
