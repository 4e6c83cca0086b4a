"""Quality of the models, beside LightGBM and torch-rechub."""
