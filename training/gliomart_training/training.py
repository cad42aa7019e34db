"""One training run: folds, the final network, its record and its pictures.

Every patient is held out once: a network is trained for each fold without that fold's patients,
which later calibrates the model on patients it never saw, and the final network is trained on
all of them (as scikit-learn's cross-validation with ``refit`` does). Where the dataset says where
the pons is, each network is an autoencoder joined with a pons localiser, trained one after the
other on the same patients.
"""

from __future__ import annotations

import json
import shutil
import time
from typing import TYPE_CHECKING, cast

from gliomart.errors import DatasetError, OutputExistsError, UsageError
from gliomart.host.streams import say
from gliomart.outputs.folder import output_errors, write_atomically
from gliomart.outputs.target import check_target
from gliomart.printable import printable
from gliomart_training import pictures
from gliomart_training.batches import HealthyBatches
from gliomart_training.corruption import CORRUPTIONS
from gliomart_training.fitting import check, fit
from gliomart_training.localiser import fit_localiser, with_pons
from gliomart_training.network_file import copy, load, save
from gliomart_training.patients import doubts
from gliomart_training.plan import FINAL, Material, Plan, prepare
from gliomart_training.pons_images import PonsImages, simulated_images
from gliomart_training.record import RECORD, read_json

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gliomart_training.batches import HealthyImages
    from gliomart_training.plan import Job
    from gliomart_training.record import Fit, PonsFit, Record

# A network before a pons localiser was joined to it.
_AUTOENCODER = "{}.autoencoder.keras"
# Held-out images, evenly spaced, that the loss is watched on after every epoch.
_VALIDATION = 64


def run(plan: Plan, *, resume: bool = False, overwrite: bool = False) -> Record:
    """Train everything that a plan asks for, or what of it is missing.

    Raises
    ------
    DatasetError
        The dataset cannot be trained on.
    TrainingError
        Nothing comes of it, or what an interrupted run left is broken.
    UsageError
        Its outputs would replace the dataset.
    OutputError
        A network cannot be written.
    OutputExistsError
        There is something at ``plan.out``, and neither option is given; or what is to be
        resumed was started differently.

    Returns
    -------
    The run's record, as written to ``record.json``.
    """
    check(plan.recipe)
    _keep_data(plan)
    material = prepare(plan)
    # Known before the first fit, so that a run is never resumed with its patients dealt anew.
    record = material.described()
    _prepare_folder(plan, record, resume=resume, overwrite=overwrite)
    _tell_what_there_is(material)
    simulated = None
    if material.pons:
        simulated = simulated_images(plan.pons.heads, plan.pons.seed, plan.preprocessing)
    fits: dict[str, Fit] = {}
    for job in material.jobs():
        fits[job.name] = _fit(material, job, simulated)
        _draw(material, job, fits)
    if plan.folds == 1:
        copy(plan.folder / "fold-1.keras", plan.folder / f"{FINAL}.keras")
    record["fits"] = fits
    write_atomically(plan.folder / RECORD, json.dumps(record, indent=1).encode())
    copy(plan.folder / f"{FINAL}.keras", plan.out)
    return record


def _tell_what_there_is(material: Material) -> None:
    refused = sum(len(patient.refused) for patient in material.patients)
    say(
        f"{material.slices} tumour-free slices of {len(material.patients)} patients to train on;"
        f" {refused} images could not be read"
    )
    for doubt in doubts(material.patients):
        say(printable(doubt))


def _fit(material: Material, job: Job, simulated: PonsImages | None) -> Fit:
    """Train an autoencoder, and join it with a localiser where simulated heads are given."""
    folder = material.plan.folder
    outcome = _fit_autoencoder(material, job)
    if simulated is None:
        copy(folder / _AUTOENCODER.format(job.name), folder / f"{job.name}.keras")
    else:
        outcome["pons"] = _fit_pons(material, job, simulated)
    return outcome


def _draw(material: Material, job: Job, fits: Mapping[str, Fit]) -> None:
    """Draw how the networks learned so far, and what the last of them gives of unseen slices."""
    plan = material.plan
    pictures.curves({name: fit["losses"] for name, fit in fits.items()}, plan.folder)
    pictures.scores([fit["scores"] for fit in fits.values() if fit["scores"]], plan.folder)
    unseen = material.with_lesions(job.held_out, plan.preprocessing.size)
    if unseen is not None:
        network = load(plan.folder / f"{job.name}.keras", plan.preprocessing)
        pictures.reconstructions(network, unseen, plan.folder)


def _fit_autoencoder(material: Material, job: Job) -> Fit:
    """Train one autoencoder, unless an earlier call finished it."""
    plan, name = material.plan, job.name
    network_file = plan.folder / _AUTOENCODER.format(name)
    losses_file = plan.folder / f"{name}.json"
    if network_file.exists() and losses_file.exists():
        return cast("Fit", read_json(losses_file))
    started = time.monotonic()
    seen = material.except_for(job.held_out)
    unseen = material.of(job.held_out).thinned(_VALIDATION)
    if not len(seen):
        raise DatasetError(f"{name}: no tumour-free slice is left to train on")
    batches = _batches(plan, seen)
    validation = _batches(plan, unseen, frozen=True) if len(unseen) else None
    lesions = material.with_lesions(job.held_out, batches.side)
    if lesions is None:
        whom = "nobody held out shows a brain" if job.held_out else "nobody is held out"
        say(f"{name}: not validated, {whom}")
    network, losses = fit(
        plan.recipe,
        batches,
        validation,
        lesions,
        checkpoints=plan.folder / f"{name}.state",
        label=name,
        later=job.later,
    )
    seconds = round(time.monotonic() - started, 1)
    save(network, network_file)
    whole = material.with_lesions(job.held_out, plan.preprocessing.size)
    outcome: Fit = {
        "losses": losses,
        "seconds": seconds,
        "slices": len(batches.images),
        "scores": whole.scores(network) if whole else None,
    }
    write_atomically(losses_file, json.dumps(outcome).encode())
    return outcome


def _fit_pons(material: Material, job: Job, simulated: PonsImages) -> PonsFit:
    """Train one pons localiser and join it to its autoencoder, unless an earlier call did."""
    plan, name = material.plan, job.name
    network_file, losses_file = plan.folder / f"{name}.keras", plan.folder / f"{name}.pons.json"
    if network_file.exists() and losses_file.exists():
        return cast("PonsFit", read_json(losses_file))
    started = time.monotonic()
    seen = [images for patient, images in material.pons.items() if patient not in job.held_out]
    marked = PonsImages.together(seen, plan.preprocessing)
    say(f"{name}: learning where the pons is, {plan.pons.steps} batches")
    localiser, losses = fit_localiser(
        marked, simulated, plan.pons, plan.variation, plan.preprocessing
    )
    say(f"{name}: pons localiser, loss {losses[-1]:.5f}")
    autoencoder = load(plan.folder / _AUTOENCODER.format(name), plan.preprocessing)
    save(with_pons(autoencoder, localiser), network_file)
    outcome: PonsFit = {
        "losses": losses,
        "seconds": round(time.monotonic() - started, 1),
        "slices": len(marked),
    }
    write_atomically(losses_file, json.dumps(outcome).encode())
    return outcome


def _batches(plan: Plan, images: HealthyImages, *, frozen: bool = False) -> HealthyBatches:
    return HealthyBatches(
        images,
        plan.preprocessing,
        CORRUPTIONS[plan.recipe.corruption],
        plan.variation,
        batch_size=plan.recipe.batch_size,
        seed=plan.recipe.seed,
        frozen=frozen,
    )


def _keep_data(plan: Plan) -> None:
    """Refuse a run's folder that would replace the data that it is trained on."""
    if plan.data.resolve().is_relative_to(plan.folder.resolve()):
        raise UsageError(f"{plan.data}: lies in the run's own folder {plan.folder}")
    check_target(plan.out, [plan.data])


def _prepare_folder(plan: Plan, record: Record, *, resume: bool, overwrite: bool) -> None:
    file = plan.folder / RECORD
    existing = [path for path in (plan.out, plan.folder) if path.exists()]
    if existing and overwrite:
        if plan.folder.is_dir() and any(plan.folder.iterdir()) and not file.exists():
            raise OutputExistsError(f"{plan.folder}: holds something other than a training run")
        with output_errors(plan.folder):
            if plan.folder.is_dir():
                shutil.rmtree(plan.folder)
            plan.out.unlink(missing_ok=True)
    elif existing and not resume:
        raise OutputExistsError(f"{existing[0]}: exists already; give --resume or --overwrite")
    with output_errors(plan.folder):
        plan.folder.mkdir(parents=True, exist_ok=True)
    if file.exists():
        earlier = cast("Record", read_json(file))
        if any(earlier.get(key) != value for key, value in json.loads(json.dumps(record)).items()):
            raise OutputExistsError(f"{plan.folder}: was started differently; give --overwrite")
    else:
        write_atomically(file, json.dumps(record, indent=1).encode())
