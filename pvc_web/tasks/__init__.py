"""The record of every piece of work that was asked for, and the audit of who asked."""
