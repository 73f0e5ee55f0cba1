"""HTTP as the adapters use it: a transport that costs little, streams of events, and one exchange."""
