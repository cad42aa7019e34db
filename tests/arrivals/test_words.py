"""What headers of many hospitals say about an image, and what follows from it."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset

from gliomart import InputRefusedError, cli, scan
from gliomart.errors import InputNotFoundError
from gliomart.findings import suitability
from gliomart.findings.anatomy import other_part
from gliomart.findings.suitability import concerns_of_image, sequence_of
from gliomart.sources import DEFAULT, dicom
from gliomart.sources.header import Header
from samples import GOLDEN, card, odd_dicom

JPEG_2000, JPEG_2000_LOSSLESS = "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.90"


def header(syntax: str = "1.2.840.10008.1.2.1", **attributes: object) -> Header:
    """Make the header of a FLAIR that says nothing of body part and name, but for what is given."""
    dataset = Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    dataset.Modality = "MR"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    flair = {"RepetitionTime": 9000, "EchoTime": 120, "InversionTime": 2500}
    for keyword, value in (flair | {"ScanningSequence": ["SE", "IR"]} | attributes).items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    return Header.of(dataset)


def code(syntax: str = "1.2.840.10008.1.2.1", **attributes: object) -> str | None:
    """Tell by which code a header is refused for a FLAIR model of the head."""
    concerns = concerns_of_image(header(syntax, **attributes), card())
    assert all(concern.code in suitability.CODES for concern in concerns)
    assert all("\n" not in concern.reason for concern in concerns)
    return concerns[0].code if concerns else None


HEADS = [
    # Defined terms (PS3.16 Annex L) and what is written instead of them.
    "HEAD", "BRAIN", "SKULL", "NEURO", "HEADNECK", "HEAD_NECK", "HEAD AND NECK", "ORBIT", "ORBITS",
    "POSTERIORFOSSA", "POSTERIOR FOSSA", "INTRACRANIAL", "IAC", "IACS", "PITUITARY", "SELLA",
    "TEMPORAL BONE", "TEMPORALBONE", "CEREBELLUM", "BRAINSTEM", "SINUS", "FACE", "EYE", "EAR",
    "MASTOID", "CIRCLEOFWILLIS", "CIRCLE OF WILLIS", "SCALP", "CEREBRALA", "HEAD^ROUTINE",
    "BRAIN AND CSPINE", "HEADCHEST", "PEDSHEAD", "CRANIOFACIAL",
    # Other languages, with and without accents.
    "KOPF", "SCHÄDEL", "SCHAEDEL", "Schadel", "GEHIRN", "HIRN", "NEUROKRANIUM", "TÊTE", "TETE",
    "CRANE", "CRÂNE", "CERVEAU", "ENCÉPHALE", "ENCEPHALE", "CABEZA", "CRANEO", "CRÁNEO", "CEREBRO",
    "TESTA", "CAPO", "CRANIO", "CERVELLO", "ENCEFALO", "CABEÇA", "HERSENEN", "HOOFD", "SCHEDEL",
    "HJARNA", "HJÄRNA", "HUVUD", "HJERNE", "HOVED", "GLOWA", "GŁOWA", "MOZG", "MÓZG", "HLAVA",
    "GLAVA", "MOZAK", "PÄÄ", "AIVOT", "KOPONYA", "BEYİN", "BAŞ", "ГОЛОВА", "頭部",
    "ΕΓΚΕΦΑΛΟΣ", "رأس", "中枢神経",
    # Parts of it.
    "CNS", "SNC", "ZNS", "VENTRICLE", "TEMPORAL LOBE", "LOBE FRONTAL", "CLIVUS", "HIPPOKAMPUS",
    "CORPUS CALLOSUM", "THALAMUS", "MENINGES", "SYSTEME NERVEUX CENTRAL",
    # What a character set that lacks a letter leaves of them.
    "SCH?DEL", "T?TE", "CR?NE",
]  # fmt: skip


@odd_dicom
@pytest.mark.parametrize("part", HEADS)
def test_a_body_part_that_names_the_head_or_a_part_of_it_is_the_head(part: str) -> None:
    assert code(BodyPartExamined=part) is None
    assert code(BodyPartExamined=part.lower()) is None


@odd_dicom
def test_a_body_part_in_utf_8_that_was_read_as_latin_1_is_mended() -> None:
    for part in ("Schädel", "SCHÄDEL", "Tête", "Głowa", "頭部"):
        assert code(BodyPartExamined=part.encode().decode("latin-1")) is None
        assert code(StudyDescription=f"{part} HWS".encode().decode("latin-1")) is None


NOTHING = [
    "UNKNOWN", "OTHER", "NONE", "NA", "N/A", "n.a.", "UNDEFINED", "UNSPECIFIED", "*", "-",
    "--", "?", ".", "0", "MISCELLANEOUS", "MISC", "DEFAULT", "NOT SPECIFIED", "XXX", "TBD",
    "NULL", "MR", "MRT", "UNBEKANNT", "SONSTIGES", "INCONNU", "AUTRE", "DESCONOCIDO", "OTRO",
    "ALTRO", "ONBEKEND", "OKÄND", "UKENDT", "NIEZNANE",
    "ANONYMIZED", "REMOVED", "REDACTED", "ANONYMOUS", "UNKNOW", "UNKN", "UNSPEC", "UNDEF",
    "UNDEFINIERT", "NICHT ANGEGEBEN", "Não especificado", "NOT SET", "Unknown body part",
    "NO BODY PART", "GENERIC", "MULTIPLE", "XXXX", "неизвестно", "不明", "その他", "DEIDENTIFIED",
    "CONFIDENTIAL", "HIDDEN", "BLANK", "SEE DESCRIPTION", "RESEARCH", "sans objet", "未知",
    "bilinmiyor", "ZZTOP",
]  # fmt: skip


@odd_dicom
@pytest.mark.parametrize("part", NOTHING)
def test_a_body_part_that_names_nothing_counts_as_missing(part: str) -> None:
    assert code(BodyPartExamined=part) is None
    assert code(BodyPartExamined=part, StudyDescription="MRT Becken") == "wrong-body-part"
    region = Dataset()
    region.CodeMeaning = "Knee"
    assert code(BodyPartExamined=part, AnatomicRegionSequence=[region]) == "wrong-body-part"
    region.CodeMeaning = "Brain"
    assert code(BodyPartExamined=part, AnatomicRegionSequence=[region]) is None


TERMS = """
    ABDOMEN ABDOMENPELVIS ADRENAL ANKLE ANUS AORTA AXILLA BACK BLADDER BRONCHUS BUTTOCK CALCANEUS
    CAROTID CERVIX CHEST CHESTABDOMEN CHESTABDPELVIS CLAVICLE COCCYX COLON CORONARYARTERY CSPINE
    CTSPINE DUODENUM ELBOW ESOPHAGUS EXTREMITY FEMUR FINGER FOOT FOREARM GALLBLADDER HAND HEART
    HIP HUMERUS ILEUM ILIUM JAW JEJUNUM KIDNEY KNEE LARYNX LEG LIVER LOWERLIMB LSPINE LSSPINE
    LUNG MAXILLA MEDIASTINUM MOUTH NECK NECKCHEST NOSE OVARY PANCREAS PAROTID PATELLA PELVIS
    PENIS PHARYNX PROSTATE RECTUM RIB SCAPULA SCROTUM SHOULDER SIJOINT SPINE SPLEEN SSPINE
    STERNUM STOMACH SUBMANDIBULAR TESTIS THIGH THUMB THYMUS THYROID TLSPINE TOE TONGUE TRACHEA
    TSPINE UMBILICAL UPPERARM UPPERLIMB URETER URETHRA UTERUS VAGINA VULVA WRIST ZYGOMA
"""
TRANSLATED = """
    ARM BEIN FUSS HÄNDE DAUMEN ELLENBOGEN SCHLÜSSELBEIN RIPPEN LUNGE HERZ HALS KEHLKOPF ZUNGE
    UNTERKIEFER SCHILDDRÜSE BAUCH LEBER MILZ NIERE NEBENNIERE MAGEN DICKDARM GALLENBLASE BLASE
    HODEN GEBÄRMUTTER KNIESCHEIBE SPRUNGGELENK FERSE WADENBEIN RÜCKEN LEISTE GESÄSS ELLE
    BRAS JAMBE PIED MAIN DOIGT POUCE POIGNET COUDE OMOPLATE CÔTES POITRINE SEIN CŒUR COU LANGUE
    MÂCHOIRE NEZ FOIE RATE REIN ESTOMAC GRÊLE CÔLON VESSIE UTÉRUS BASSIN ROTULE MOLLET DOS AINE
    BRAZO PIERNA PIE DEDO MANO MUÑECA CODO COSTILLA PECHO MAMA PULMÓN CORAZÓN CUELLO LENGUA BOCA
    NARIZ HÍGADO BAZO RIÑÓN ESTÓMAGO RECTO VEJIGA OVARIO CADERA TOBILLO PANTORRILLA ESPALDA INGLE
    BRACCIO GAMBA COSCIA PIEDE DITO POLSO GOMITO SPALLA COSTOLA TORACE MAMMELLA POLMONE CUORE
    COLLO LINGUA NASO ADDOME FEGATO MILZA RENI STOMACO RETTO VESCICA BACINO CAVIGLIA SCHIENA
"""
ELSEWHERE = [
    "KNEE", "PELVIS", "CSPINE", "TSPINE", "LSPINE", "CTSPINE", "LIVER", "BECKEN", "ABDOMEN",
    "CHEST", "HEART", "SPINE", "SHOULDER", "FOOT", "HIP", "PROSTATE", "BREAST", "NECK", "JAW",
    "TMJ", "KNIE", "WIRBELSÄULE", "HWS", "GENOU", "RACHIS", "COLUMNA", "RODILLA", "GINOCCHIO",
    "BUIK", "PHANTOM", "FEMURHEAD", "FEMORAL HEAD", "RADIALHEAD", "HUMERAL HEAD", "HÜFTKOPF",
    "HUEFTKOPF", "FACET JOINT", "NEUROSPINE", "WHOLEBODY", "WHOLE BODY", "EXTREMITY",
    "SACROILIAC JOINT", "SINUS TARSI", "LEFT VENTRICLE", "INTERATRIAL SEPTUM OF THE HEART",
    "SPINAL CORD GRAY MATTER", "C7", "L1-L5", "TH12", "колено", "膝", "ركبة", "무릎", "ΓΟΝΑΤΟ",
    # Defined terms (PS3.16 Annex L).
    *TERMS.split(),
    # The same in German, French, Spanish and Italian.
    *TRANSLATED.split(),
]  # fmt: skip


@odd_dicom
@pytest.mark.parametrize("part", ELSEWHERE)
def test_another_body_part_is_refused(part: str) -> None:
    assert code(BodyPartExamined=part) == "wrong-body-part"


@pytest.mark.parametrize(
    "description",
    [
        "MR femoral head", "MRT Hüftkopf", "MRT Hueftkopf links", "radial head",
        "Head of the femur",
        "IRM tête fémorale", "IRM de la tête du fémur", "RM cabeza femoral", "RM testa del femore",
        "metatarsal heads", "Humeruskopf", "Pankreaskopf", "caput femoris", "humeral_head_left",
        "KNEE, arm overhead", "knee in head coil", "Shoulder, head first supine",
        "NEURO^L-SPINE", "Neuro Spine", "MR plexus neurography, brachial", "MRT HWS", "IRM rachis",
    ],
)  # fmt: skip
def test_a_head_inside_other_words_is_no_head(description: str) -> None:
    assert code(StudyDescription=description) == "wrong-body-part"
    assert code(BodyPartExamined="KNEE", StudyDescription=description) == "wrong-body-part"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"StudyDescription": "MR HEAD AND C-SPINE"}, None),
        ({"StudyDescription": "Schädel und HWS"}, None),
        ({"StudyDescription": "MRT Kopf + Wirbelsäule", "BodyPartExamined": "HEAD"}, None),
        ({"StudyDescription": "IRM crâne et rachis"}, None),
        ({"StudyDescription": "MR HEAD AND C-SPINE", "SeriesDescription": "Ax FLAIR"}, None),
        ({"StudyDescription": "C-SPINE", "SeriesDescription": "Ax FLAIR brain"}, None),
        ({"StudyDescription": "MR HEAD AND C-SPINE", "SeriesDescription": "FLAIR C-spine"},
         "spine"),
        ({"StudyDescription": "Schädel und HWS", "SeriesDescription": "tirm sag HWS"}, "hws"),
        ({"BodyPartExamined": "HEAD", "SeriesDescription": "t2 flair cervical spine"}, "cervical"),
        ({"BodyPartExamined": "BRAIN", "SeriesDescription": "flair_rachis"}, "rachis"),
        ({"BodyPartExamined": "HEAD", "SeriesDescription": "FLAIR brain and c-spine"}, None),
        # Words of the examination that are no part of the body, or not the one in the image.
        ({"SeriesDescription": "AX FLAIR hand injection"}, None),
        ({"SeriesDescription": "AX FLAIR CS3", "StudyDescription": "MR feet first"}, None),
        ({"StudyDescription": "MRI BRAIN, left hand numbness"}, None),
        ({"SeriesDescription": "3D FLAIR radial"}, None),
        ({"StudyDescription": "MRI HEADACHE PROTOCOL, neck pain"}, None),
        # A word that names no part is none, and then the descriptions count.
        ({"BodyPartExamined": "ZZTOP"}, None),
        ({"BodyPartExamined": "ZZTOP", "StudyDescription": "MR BRAIN"}, None),
        ({"BodyPartExamined": "ZZTOP", "StudyDescription": "MR KNEE"}, "KNEE"),
        # What brings somebody to have the head looked at.
        ({"StudyDescription": "Leg weakness"}, None),
        ({"StudyDescription": "hand weakness"}, None),
        ({"StudyDescription": "numbness of the left foot"}, None),
        ({"StudyDescription": "Fussheberschwäche, Hand taub"}, None),
        ({"SeriesDescription": "AX FLAIR right hand tremor"}, None),
        ({"SeriesDescription": "AX FLAIR", "StudyDescription": "LUNG CA STAGING"}, None),
        ({"SeriesDescription": "AX FLAIR", "StudyDescription": "BREAST CANCER"}, None),
        ({"SeriesDescription": "t2 dark-fluid", "StudyDescription": "HEART TRANSPLANT"}, None),
        ({"SeriesDescription": "AX FLAIR", "StudyDescription": "PROSTATE BIOPSY"}, None),
        ({"SeriesDescription": "AX FLAIR lung mets"}, None),
        ({"SeriesDescription": "AX FLAIR", "StudyDescription": "history of melanoma of the leg"},
         None),
        ({"SeriesDescription": "AX FLAIR", "StudyDescription": "MRT Becken"}, "becken"),
        ({"SeriesDescription": "AX FLAIR knee"}, "knee"),
        ({"SeriesDescription": "AX FLAIR", "StudyDescription": "MR C-SPINE"}, "spine"),
        ({"SeriesDescription": "AX FLAIR", "StudyDescription": "MR PHANTOM"}, "phantom"),
        ({"SeriesDescription": "AX FLAIR", "BodyPartExamined": "BREAST"}, "BREAST"),
        ({"StudyDescription": "MR KNEE, pain"}, "KNEE"),
        ({"BodyPartExamined": "WHOLEBODY", "SeriesDescription": "head t2 flair"}, None),
        ({"BodyPartExamined": "KNEE", "SeriesDescription": "head t2 flair"}, "KNEE"),
    ],
)  # fmt: skip
def test_the_words_of_a_series_count_before_those_of_its_examination(
    attributes: dict[str, object], expected: str | None
) -> None:
    concerns = concerns_of_image(header(**attributes), card())
    assert [c.code for c in concerns] == (["wrong-body-part"] if expected else [])
    assert not expected or expected.lower() in concerns[0].reason.lower()


def test_diseases_of_other_parts_are_what_a_flair_by_timing_was_made_for() -> None:
    for study in (
        "LUNG CA STAGING",
        "BREAST CANCER",
        "HEART TRANSPLANT",
        "metastases of the liver",
    ):
        assert other_part((), own="tra", others=study)
        assert other_part((), own="tra", others=study, fluid=True) is None
    for study in ("MRI BREAST", "MR LIVER", "Becken"):
        assert other_part((), own="tra", others=study, fluid=True)


@given(st.text(max_size=64), st.text(max_size=64), st.text(max_size=64))
def test_any_words_are_judged_without_an_escape(part: str, own: str, study: str) -> None:
    told = Header(modality="MR", body_part=part, description=own, examination=study, protocol=study)
    assert all(concern.code in suitability.CODES for concern in concerns_of_image(told, card()))


@pytest.mark.parametrize("frames", [70_000, 300_000, 1_000_000_000, "4000000000"])
@pytest.mark.parametrize("side", [1, 256])
def test_a_data_set_that_says_it_has_countless_frames_is_refused_at_once(
    frames: object, side: int, tmp_path: Path
) -> None:
    dataset = pydicom.dcmread(GOLDEN / "slice_012.dcm")
    dataset.decompress()
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = frames, side, side
    dataset.save_as(tmp_path / "x.dcm")
    started = monotonic()
    with pytest.raises(InputRefusedError) as refused:
        Header.of(dicom.in_memory(dataset, DEFAULT))
    assert refused.value.code in {"too-many-elements", "too-many-pixels"}
    del dataset.PixelData
    with pytest.raises(InputRefusedError) as refused:
        Header.of(dicom.in_memory(dataset, DEFAULT))
    assert refused.value.code == "too-many-elements"
    assert [refusal.code for refusal in scan([tmp_path / "x.dcm"]).refused]
    assert monotonic() - started < 2


EVERYTHING = "BRAIN ROUTINE DIFFUSION/FLAIR/SWI"


@pytest.mark.parametrize(
    "attributes",
    [
        {"ProtocolName": EVERYTHING},
        {"StudyDescription": EVERYTHING},
        {"ProtocolName": EVERYTHING, "SeriesDescription": "Ax FLAIR"},
        {"ProtocolName": EVERYTHING, "SeriesDescription": "tra"},
        {"ProtocolName": "STROKE DWI", "SeriesDescription": "Ax T2 FLAIR"},
        {"ProtocolName": "Brain survey"},
        {"ProtocolName": "Brain with localizer", "SeriesDescription": "FLAIR"},
        {"ProtocolName": "fMRI BOLD study"},
        {"ProtocolName": "B0 map and FLAIR"},
        {"ProtocolName": "MPRAGE and FLAIR", "InversionTime": None, "SeriesDescription": "FLAIR"},
        {"ProtocolName": "FLAIR", "InversionTime": None},
    ],
)
def test_a_protocol_that_names_the_examination_does_not_name_the_series(
    attributes: dict[str, object],
) -> None:
    assert code(**attributes) is None


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"SeriesDescription": "Ax DWI", "ProtocolName": "BRAIN FLAIR"}, "wrong-sequence"),
        ({"SeriesDescription": "ep2d_diff_3scan_trace"}, "wrong-sequence"),
        ({"SeriesDescription": "DWI_FLAIR b1000"}, "wrong-sequence"),
        ({"SeriesDescription": "SWI", "InversionTime": None}, "wrong-sequence"),
        ({"SeriesDescription": "t2*_tra"}, "wrong-sequence"),
        ({"SequenceName": "*ep_b1000t"}, "wrong-sequence"),
        ({"DiffusionBValue": 1000.0}, "wrong-sequence"),
        ({"DiffusionBValue": 0.0}, None),
        ({"ScanningSequence": ["EP", "IR"], "ProtocolName": "DWI dark CSF"}, "wrong-sequence"),
        ({"SeriesDescription": "Survey"}, "localiser"),
        ({"SeriesDescription": "AAHead_Scout_MPR_tra"}, "localiser"),
        ({"SeriesDescription": "3-plane LOC"}, "localiser"),
        ({"SeriesDescription": "Lokalizer"}, "localiser"),
        ({"ProtocolName": "survey", "InversionTime": None}, "localiser"),
        # A T2 of an examination whose protocol speaks of a FLAIR is a T2.
        ({"SeriesDescription": "Ax T2", "ProtocolName": "FLAIR", "InversionTime": None},
         "wrong-sequence"),
        ({"ProtocolName": EVERYTHING, "InversionTime": None}, "wrong-sequence"),
    ],
)  # fmt: skip
def test_a_series_that_says_itself_what_it_is_is_believed(
    attributes: dict[str, object], expected: str | None
) -> None:
    assert code(**attributes) == expected


@pytest.mark.parametrize(
    ("attributes", "sequence"),
    [
        # Double inversion: two times, or words. A second inversion of fat leaves a FLAIR a FLAIR.
        ({"InversionTime": None, "InversionTimes": [3400.0, 325.0]}, "DIR"),
        ({"InversionTime": None, "InversionTimes": [450.0, 3000.0]}, "DIR"),
        ({"SeriesDescription": "t2_spc_dir_sag", "InversionTime": 3000}, "DIR"),
        ({"SeriesDescription": "3D DIR"}, "DIR"),
        ({"SeriesDescription": "Double Inversion Recovery"}, "DIR"),
        *[({"SeriesDescription": said}, "DIR") for said in (
            "SAG T2 DIR", "t2_dir_sag_3d", "Sag CUBE T2 DIR", "Sag DIR3D 1.2mm", "sagDIR",
            "t2_space_dir3d_sag", "Doppel-IR sag", "double inv. rec.", "3DDIR", "T2_SPACE_0.9_DIR",
            "Sag DIR FLAIR",
            "VISTA DIR", "doppia inversione", "Dual IR", "t2dir ax", "DIR_3D_FLAIR",
        )],
        # A direction is none, of diffusion or of encoding.
        *[({"SeriesDescription": said}, "FLAIR") for said in (
            "AX FLAIR PE dir AP", "AX FLAIR phase dir RL", "FLAIR dir AP", "t2_flair_freq_dir_HF",
            "FLAIR swap dir", "AX FLAIR directed", "3D FLAIR indirect",
        )],
        # Hints at other kinds do not overrule a name and a timing of FLAIR.
        *[({"SeriesDescription": said}, "FLAIR") for said in (
            "AX FLAIR HEMORRHAGE", "FLAIR diff spacing", "AX FLAIR for DWI", "FLAIR (SWI planning)",
            "Ax FLAIR hemosiderin", "FLAIR before fMRI",
        )],
        ({"SeriesDescription": "FLAIR ep2d_diff"}, "DWI"),
        ({"SeriesDescription": "FLAIR b=500"}, "DWI"),
        ({"SeriesDescription": "DWI FLAIR", "ScanningSequence": ["EP", "IR"]}, "DWI"),
        ({"SeriesDescription": "SWI"}, "T2*"),
        ({"SeriesDescription": "AX FLAIR HEMORRHAGE", "InversionTime": None}, "T2*"),
        ({"SeriesDescription": "DTI 64 dir"}, "DWI"),
        ({"SeriesDescription": "AX FLAIR 64dir"}, "FLAIR"),
        # Nobody nulls fat as late as this.
        ({"MagneticFieldStrength": 0.064, "InversionTime": 1100, "EchoTime": 163,
          "SeriesDescription": "AX FLAIR"}, "FLAIR"),
        ({"MagneticFieldStrength": 1.5, "InversionTime": 1450, "EchoTime": 120,
          "RepetitionTime": 4800, "SeriesDescription": "3D T2 CUBE FLAIR"}, "FLAIR"),
        ({"MagneticFieldStrength": 3, "InversionTime": 450, "SeriesDescription": "dark fluid"},
         "FLAIR"),
        ({"MagneticFieldStrength": 3, "InversionTime": 390, "SeriesDescription": "FLAIR"}, "STIR"),
        ({"InversionTime": 1100, "EchoTime": 12, "SeriesDescription": "Sag T1 FLAIR"}, "T1"),
        ({"InversionTime": 1100, "EchoTime": 163}, "STIR"),
        ({"InversionTime": None, "InversionTimes": [2800.0, 110.0]}, "FLAIR"),
        ({"InversionTime": None, "InversionTimes": [2800.0]}, "FLAIR"),
        # Low field, in T, mT and gauss.
        ({"MagneticFieldStrength": 0.2, "InversionTime": 1400, "RepetitionTime": 6000}, "FLAIR"),
        ({"MagneticFieldStrength": 0.35, "InversionTime": 1800, "RepetitionTime": 6500}, "FLAIR"),
        ({"MagneticFieldStrength": 0.3, "InversionTime": 1490, "RepetitionTime": 5000}, "FLAIR"),
        ({"MagneticFieldStrength": 0.064, "InversionTime": 1400, "RepetitionTime": 4000}, "FLAIR"),
        ({"MagneticFieldStrength": 350, "InversionTime": 1400}, "FLAIR"),
        ({"MagneticFieldStrength": 3500, "InversionTime": 1400}, "FLAIR"),
        ({"SeriesDescription": "FLAIR tra", "InversionTime": 1400}, "FLAIR"),
        ({"MagneticFieldStrength": 1.5, "InversionTime": 1400}, "STIR"),
        ({"MagneticFieldStrength": 15000, "InversionTime": 1400}, "STIR"),
        ({"MagneticFieldStrength": 0.2, "InversionTime": 100, "EchoTime": 80}, "STIR"),
        ({"MagneticFieldStrength": 0.35, "InversionTime": 85, "EchoTime": 60}, "STIR"),
        ({"MagneticFieldStrength": 0.2, "InversionTime": 600, "EchoTime": 20}, "T1"),
        # STIR and T1-FLAIR.
        ({"InversionTime": 150, "EchoTime": 70, "RepetitionTime": 4000}, "STIR"),
        ({"InversionTime": 250, "EchoTime": 60, "SeriesDescription": "t2_tirm_cor"}, "STIR"),
        ({"InversionTime": 750, "EchoTime": 24, "SeriesDescription": "Ax T1 FLAIR"}, "T1"),
        ({"InversionTime": 900, "EchoTime": 9, "SeriesDescription": "T1W_FLAIR"}, "T1"),
        ({"InversionTime": None, "EchoTime": 24, "SeriesDescription": "AxT1 FLAIR"}, "T1"),
        # 3D with variable flip angle.
        ({"InversionTime": 1800, "EchoTime": 388, "RepetitionTime": 5000,
          "SeriesDescription": "t2_spc_da-fl_sag_p2_iso", "SequenceName": "*spcir_278ns"}, "FLAIR"),
        ({"InversionTime": 1650, "EchoTime": 340, "RepetitionTime": 4800,
          "SeriesDescription": "3D_Brain_VIEW_FLAIR"}, "FLAIR"),
        ({"InversionTime": 1600, "EchoTime": 119, "RepetitionTime": 6000,
          "SeriesDescription": "Sag CUBE T2 FLAIR"}, "FLAIR"),
        ({"InversionTime": 2200, "EchoTime": 400, "RepetitionTime": 7000}, "FLAIR"),
        # Names and codes of makers.
        ({"SeriesDescription": "t2_tirm_tra_dark-fluid", "SequenceName": "*tir2d1rr13"}, "FLAIR"),
        ({"SeriesDescription": "t2_tirm_tra_dark-fluid", "InversionTime": None}, "FLAIR"),
        ({"SeriesDescription": "t2_spc_da-fl_fs", "InversionTime": None}, "FLAIR"),
        ({"SeriesDescription": "t2_blade_tra_dark_fluid", "InversionTime": None}, "FLAIR"),
        ({"SeriesDescription": "Ax T2 FLAIR PROPELLER", "ScanningSequence": "RM",
          "InversionTime": 2600}, "FLAIR"),
        ({"SeriesDescription": "PROP T2 FLAIR", "ScanningSequence": ["SE", "IR", "RM"],
          "InversionTime": None}, "FLAIR"),
        ({"SeriesDescription": "sFLAIR_LongTR", "InversionTime": None}, "FLAIR"),
        ({"SeriesDescription": "vFLAIR", "InversionTime": 0}, "FLAIR"),
        ({"SeriesDescription": "T2W_FLAIR_SPAIR", "InversionTime": 0}, "FLAIR"),
        ({"SeriesDescription": "T2W_FLAIR", "InversionTime": None, "AcquisitionContrast": "T2",
          "ScanningSequence": "IR"}, "FLAIR"),
        ({"SeriesDescription": "FSE-FLAIR AX FatSat", "InversionTime": None}, "FLAIR"),
        ({"SeriesDescription": "AX T2 FLAIR +C", "InversionTime": 2250}, "FLAIR"),
        ({"SeriesDescription": "FLAIR fat sat post1", "InversionTime": None}, "FLAIR"),
        ({"SeriesDescription": "FLAIR_set1", "InversionTime": None}, "FLAIR"),
        # What else is T2 weighted.
        ({"SeriesDescription": "T2W", "InversionTime": None, "AcquisitionContrast": "T2"}, "T2"),
        ({"AcquisitionContrast": "T2", "InversionTime": None, "EchoTime": None}, "T2"),
        ({"InversionTime": None}, "T2"),
    ],
)  # fmt: skip
def test_inversion_recovery_is_told_apart(attributes: dict[str, object], sequence: str) -> None:
    assert sequence_of(header(**attributes)) == sequence


@pytest.mark.parametrize(
    ("syntax", "attributes", "lossy"),
    [
        ("1.2.840.10008.1.2.4.50", {}, True),
        ("1.2.840.10008.1.2.4.51", {}, True),
        ("1.2.840.10008.1.2.4.50", {"LossyImageCompression": "00"}, True),
        ("1.2.840.10008.1.2.4.81", {}, True),
        ("1.2.840.10008.1.2.4.53", {}, True),
        ("1.2.840.10008.1.2.4.102", {}, True),
        ("1.2.840.10008.1.2.4.57", {}, False),
        ("1.2.840.10008.1.2.4.70", {}, False),
        ("1.2.840.10008.1.2.4.80", {}, False),
        (JPEG_2000_LOSSLESS, {}, False),
        ("1.2.840.10008.1.2.4.201", {}, False),
        ("1.2.840.10008.1.2.5", {}, False),
        (JPEG_2000, {}, True),
        ("1.2.840.10008.1.2.4.203", {}, True),
        ("1.2.840.10008.1.2.4.112", {}, True),
        (JPEG_2000, {"LossyImageCompression": "00"}, False),
        ("1.2.840.10008.1.2.4.203", {"LossyImageCompression": "00"}, False),
        (JPEG_2000, {"LossyImageCompressionRatio": "1"}, False),
        (JPEG_2000, {"LossyImageCompressionRatio": "8.5"}, True),
        (JPEG_2000, {"LossyImageCompression": "01"}, True),
        ("1.2.840.10008.1.2.1", {"LossyImageCompression": "01"}, True),
        ("1.2.840.10008.1.2.1", {"LossyImageCompression": "1"}, True),
        ("1.2.840.10008.1.2.1", {"LossyImageCompression": "YES"}, True),
        ("1.2.840.10008.1.2.1", {"LossyImageCompression": "00"}, False),
        ("1.2.840.10008.1.2.1", {"LossyImageCompression": "NO"}, False),
        ("1.2.840.10008.1.2.1", {"LossyImageCompressionRatio": "10"}, True),
        ("1.2.840.10008.1.2.1", {"LossyImageCompressionRatio": ["1", "10"]}, True),
        ("1.2.840.10008.1.2.1", {"LossyImageCompressionMethod": "ISO_10918_1"}, True),
        ("1.2.840.10008.1.2.1", {"DerivationDescription": "lossy JPEG, ratio 10:1"}, False),
        ("1.2.840.10008.1.2.1", {}, False),
    ],
)
def test_loss_is_told_by_the_transfer_syntax_and_every_attribute_about_it(
    syntax: str, attributes: dict[str, object], *, lossy: bool
) -> None:
    assert code(syntax, **attributes) == ("lossy-compression" if lossy else None)


def test_an_empty_path_is_not_the_working_directory(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputNotFoundError, match="empty path"):
        scan([""])
    assert cli.main(["infer", "", "--quiet"]) == InputNotFoundError.exit_status
    assert "an empty path was given" in capsys.readouterr().err
