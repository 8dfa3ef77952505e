"""What the cluster is made of: frozen dataclasses and enums, without behaviour that needs the outside."""
