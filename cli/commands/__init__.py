"""The commands, one module a subject. Each exports lists of commands that ``cli.lazy.LazyGroup`` loads on first use."""
