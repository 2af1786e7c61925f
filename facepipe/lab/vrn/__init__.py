"""Training and measuring volumetric regressors."""
