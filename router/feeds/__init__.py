"""Prices from outside: catalogues and spot prices, checked before they are believed."""
