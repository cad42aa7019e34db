"""How networks are optimised: AdamW on a cosine schedule after a linear warm-up."""

from __future__ import annotations

import keras

_WARM_UP_ONE_IN = 20


def adamw(
    *, learning_rate: float, weight_decay: float, steps: int, averaged: bool = False
) -> keras.optimizers.AdamW:
    """Make an optimiser for so many steps; ``averaged`` keeps a moving average of the weights.

    The rate rises to ``learning_rate`` over the first twentieth of the steps, then falls to 0.
    """
    warm_up = steps // _WARM_UP_ONE_IN
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0,
        decay_steps=max(steps - warm_up, 1),
        warmup_target=learning_rate,
        warmup_steps=warm_up,
    )
    return keras.optimizers.AdamW(
        schedule,
        weight_decay=weight_decay,
        global_clipnorm=1.0,
        use_ema=averaged,
        ema_momentum=0.995 if averaged else 0.99,
    )


def jit_compile() -> bool | str:
    """Tell Keras whether to compile: XLA on a CPU takes 2.4 times as long as TensorFlow itself."""
    return False if keras.backend.backend() == "tensorflow" else "auto"
