"""Between the wire formats (protobuf, the OpenAI JSON) and the values of `backends.contract` and `router.domain`."""
