"""What families that speak gRPC have in common."""
