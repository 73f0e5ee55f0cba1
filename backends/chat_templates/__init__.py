"""The templates that come with the router, and where others are read from."""
