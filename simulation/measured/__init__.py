"""Other people's measurements of how fast models run, as typed rows. Nothing here was measured by this project."""
