"""Where backups are kept. One file a kind of store; ``open`` chooses among them by the URI."""
