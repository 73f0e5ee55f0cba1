"""How far forecasts of TPOT are from a table of measurements, before and after the router has seen some of them."""
