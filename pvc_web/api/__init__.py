"""What all subjects of the REST API share: arguments, answers, errors, permissions and the OpenAPI document."""
