"""Workers: they take tasks from the queues, perform the operations of ``pvc_core`` and record how they end."""
