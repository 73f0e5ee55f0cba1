"""What went wrong at an upstream, from whatever it or the client says, as one `backends.errors.BackendError`."""
