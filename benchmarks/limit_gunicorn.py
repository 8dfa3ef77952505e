"""gunicorn's settings for the limit: those of the API, without its connection to the cluster."""

from pvc_web.config.gunicorn import threads, worker_class, worker_tmp_dir, workers

__all__ = ["threads", "worker_class", "worker_tmp_dir", "workers"]
