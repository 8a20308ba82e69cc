"""Training of our small model on synthetic people."""

from .run import train_human, validate
from .scores import Scores
from .settings import Stage, TrainingSettings
from .store import PeopleRecipe, PeopleStore, render_shards
from .trainer import Trainer

__all__ = [
    "PeopleRecipe",
    "PeopleStore",
    "Scores",
    "Stage",
    "Trainer",
    "TrainingSettings",
    "render_shards",
    "train_human",
    "validate",
]
