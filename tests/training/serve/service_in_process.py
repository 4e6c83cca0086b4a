"""A scoring service in the process of a test, and a second version for it."""

import fabricate
import numpy as np
from fastapi.testclient import TestClient

from include.registry import registry
from training.learn import train
from training.serve import scoring, serving
from training.serve.champion_watcher import ChampionWatcher

LAST = fabricate.day(4)
TOKEN = "a-token-of-the-tests"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}


class Service:
    """A service in this process whose champion is looked for only when a test says so."""

    def __init__(self, world, **limits):
        self.live = ChampionWatcher(10)
        chosen = world.settings.model_copy(update=limits)
        self.app = serving.create_app(self.live, TOKEN, chosen)
        self.client = TestClient(self.app, headers=AUTHORISED, raise_server_exceptions=False)

    def predict(self, rows):
        return self.client.post("/predict", json={"rows": rows})

    def health(self):
        return self.client.get("/health").json()


def train_second(world):
    """A second version, of the model that is trained fastest."""
    return train.run(LAST, world.settings.model_copy(update={"model": "dnn"})).version


def promote_second(world):
    registry.promote(train_second(world), reason="test", by="test")
    return scoring.load_champion()


def bits(probability):
    return np.asarray(probability, np.float64).tobytes()
