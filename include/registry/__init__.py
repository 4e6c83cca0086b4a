"""Model versions in MLflow, the champion, and which versions are outdated. May import `lake` and the ground."""
