"""``pvc``, the command line: click commands over one HTTP client. It knows the cluster through its API alone.

Start-up is kept short: a module is imported when the command that needs it runs, not before (``lazy.py``).
"""
