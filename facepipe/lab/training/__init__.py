"""What every training does, whatever it trains."""
