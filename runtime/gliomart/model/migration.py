"""Model cards of earlier schemas, brought to the one that is read today.

======  ====================================================================================
schema  what it was
======  ====================================================================================
1       no brain output: scoring left out the scalp, by two lengths that are in the card
2       a brain output, to which the graph restricts its anomaly map
3       a pons output, judged by two signs, which were computed in three ways under this number
4       the pons judged by four signs
5       family, images, limits, outputs and judges are said, which software took for granted
6       shading is undone, a slice is scored with its neighbours in a series, and by itself; a site
        may have calibrated the model; the pons is judged by two tests; what the model knows is told
        from other images
======  ====================================================================================

Nothing is made up: what a model lacks is absent, and numbers that nothing can be held against today
are left out. Preprocessing, scores and p-values are still what they were in schema 1, so the
calibration of every card holds.
"""

from __future__ import annotations

from typing import TypeAlias

from gliomart.errors import ModelCardError

Json: TypeAlias = dict[str, object]

# Software that wrote schemas 1 to 4 had these bounds for all models.
_LIMITS: Json = {
    "coarsest_pixel_mm": 1.5,
    "widest_step_mm": 10.0,
    "steepest_tilt_deg": 35.0,
    "widest_turned_step_mm": 2.0,
    "least_coverage_mm": 50.0,
}
# And their graphs these outputs, with the least and the greatest value.
_OUTPUTS: dict[str, tuple[float | None, float | None]] = {
    "reconstruction": (None, None),
    "anomaly_map": (0.0, None),
    "brain": (0.0, 1.0),
    "pons": (0.0, 1.0),
}
_BRAIN_SINCE, _PONS_SINCE, _FOUR_SIGNS_SINCE, _ALL_SAID_SINCE, _EVEN_LIGHT_SINCE = 2, 3, 4, 5, 6


def migrated(values: Json) -> Json:
    """Bring a card of any earlier schema to today's.

    Parameters
    ----------
    values
        Parsed JSON with a known ``schema``; it stays as it is.

    Raises
    ------
    ModelCardError
        The card lacks what its schema has, or has what its schema does not know.
    """
    schema = values["schema"]
    assert isinstance(schema, int)  # noqa: S101  # the caller has looked
    if schema < _ALL_SAID_SINCE:
        values = _to_5(values, schema)
    return values if schema >= _EVEN_LIGHT_SINCE else _to_6(values)


def _to_6(values: Json) -> Json:
    """Say that light is left as it is, that slices are scored alone, and the pons by its signs."""
    card = dict(values)
    preprocessing = _object(_taken(card, "preprocessing", "card"), "preprocessing")
    scoring = _object(_taken(card, "scoring", "card"), "scoring")
    calibration = _taken(card, "calibration", "card")
    if calibration is not None:
        scores = _object(calibration, "calibration")
        calibration = _with(scores, "calibration", single_scores=None)
    judges = _taken(card, "judges", "card")
    if isinstance(judges, list):  # anything else is refused
        judges = [_by_signs(judge) for judge in judges]
    del card["schema"]
    return _with(
        card,
        "card",
        schema=_EVEN_LIGHT_SINCE,
        preprocessing=_with(preprocessing, "preprocessing", shading=None),
        scoring=_with(scoring, "scoring", neighbours=[]),
        familiar=None,
        calibration=calibration,
        site=None,
        judges=judges,
    )


def _by_signs(values: object) -> Json:
    """Say of a judge of the pons that its signs alone count, in every section by itself."""
    judge = _object(values, "judge")
    if judge.get("rules") is None:
        return judge
    rules = _object(judge["rules"], "judge's rules")
    weights = dict.fromkeys(("brightness", "size", "unevenness", "crowding"), 1.0)
    added: Json = {"weights": weights, "scales": None, "neighbours": [], "single_scores": None}
    added |= {"elsewhere_fraction": 0.95, "elsewhere_least": 1e-3}  # of the map, which has no scale
    added["series_least_area"] = 0.0
    return judge | {"rules": _with(rules, "judge's rules", **added)}


def _to_5(values: Json, schema: int) -> Json:
    """Say what schemas 1 to 4 took for granted.

    It is one step from each of them, because only schema 5 can say that a brain output is missing.
    """
    card = dict(values)
    image = {
        "modality": _taken(card, "modality", "card"),
        "sequence": _taken(card, "sequence", "card"),
        "window": None,
        "required": True,
    }
    scoring = _scoring(_taken(card, "scoring", "card"), schema)
    pons = _taken(card, "pons", "card") if schema >= _PONS_SINCE else None
    absent = {"brain"} if schema < _BRAIN_SINCE else set()
    absent |= {"pons"} if pons is None else set()
    del card["schema"]
    return _with(
        card,
        "card",
        schema=_ALL_SAID_SINCE,
        family="slice",
        images=[image],
        limits=dict(_LIMITS),
        scoring=scoring,
        outputs=[
            {"name": name, "role": name, "minimum": minimum, "maximum": maximum}
            for name, (minimum, maximum) in _OUTPUTS.items()
            if name not in absent
        ],
        judges=[] if pons is None else [_judge(pons, schema)],
    )


def _scoring(values: object, schema: int) -> Json:
    scoring = _object(values, "scoring")
    if schema >= _BRAIN_SINCE:
        return _with(scoring, "scoring", scalp=None)
    thickness = _taken(scoring, "scalp_px", "scoring")
    dome = _taken(scoring, "dome_px", "scoring")
    return _with(scoring, "scoring", scalp={"thickness_px": thickness, "dome_px": dome})


def _judge(values: object, schema: int) -> Json:
    rules = _object(values, "pons")
    area = _taken(rules, "minimum_area_px", "pons")
    judged = schema >= _FOUR_SIGNS_SINCE
    return {"name": "pons", "minimum_area_px": area, "rules": rules if judged else None}


def _object(values: object, where: str) -> Json:
    if not isinstance(values, dict):
        raise ModelCardError(f"the model's {where} is not an object")
    return dict(values)


def _taken(values: Json, key: str, where: str) -> object:
    if key not in values:
        raise ModelCardError(f"the model's {where} lacks {key}")
    return values.pop(key)


def _with(values: Json, where: str, **added: object) -> Json:
    """Add keys; an old card that has one already is not what it says it is."""
    unknown = sorted(values.keys() & added.keys())
    if unknown:
        raise ModelCardError(f"the model's {where} has an unknown {', '.join(unknown)}")
    return values | added
