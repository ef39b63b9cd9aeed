"""MedMNIST v2 (Yang et al. 2023): facts about its sets of two-dimensional images, from medmnist 3.0.2."""

from dataclasses import dataclass

RECORD = "https://zenodo.org/records/10519652/files/"
EARLIER = "https://zenodo.org/records/6496656/files/"
"""Holds the same files with 28 pixels, except those of the Organ sets."""
RESOLUTIONS = (28, 64, 128, 224)


@dataclass(frozen=True)
class MedMNISTSet:
    """One set: every image has one label."""

    title: str
    channels: int
    train: int
    test: int
    """Numbers of images; those of the validation split are not used."""
    terms: str
    md5: tuple[str, str, str, str]
    """Of the files at the four resolutions."""
    classes: tuple[str, ...]


SETS: dict[str, MedMNISTSet] = {
    "pathmnist": MedMNISTSet(
        title="PathMNIST",
        channels=3,
        train=89_996,
        test=7_180,
        terms="CC BY 4.0",
        md5=(
            "a8b06965200029087d5bd730944a56c1",
            "55aa9c1e0525abe5a6b9d8343a507616",
            "ac42d08fb904d92c244187169d1fd1d9",
            "2c51a510bcdc9cf8ddb2af93af1eadec",
        ),
        classes=(
            "adipose",
            "background",
            "debris",
            "lymphocytes",
            "mucus",
            "smooth muscle",
            "normal colon mucosa",
            "cancer-associated stroma",
            "colorectal adenocarcinoma epithelium",
        ),
    ),
    "dermamnist": MedMNISTSet(
        title="DermaMNIST",
        channels=3,
        train=7_007,
        test=2_005,
        terms="CC BY-NC 4.0",
        md5=(
            "0744692d530f8e62ec473284d019b0c7",
            "b70a2f5635c6199aeaa28c31d7202e1f",
            "2defd784463fa5243564e855ed717de1",
            "8974907d8e169bef5f5b96bc506ae45d",
        ),
        classes=(
            "actinic keratoses and intraepithelial carcinoma",
            "basal cell carcinoma",
            "benign keratosis-like lesions",
            "dermatofibroma",
            "melanoma",
            "melanocytic nevi",
            "vascular lesions",
        ),
    ),
    "octmnist": MedMNISTSet(
        title="OCTMNIST",
        channels=1,
        train=97_477,
        test=1_000,
        terms="CC BY 4.0",
        md5=(
            "c68d92d5b585d8d81f7112f81e2d0842",
            "e229e9440236b774d9f0dfef9d07bdaf",
            "0a97e76651ace45c5d943ee3f65b63ae",
            "abc493b6d529d5de7569faaef2773ba3",
        ),
        classes=("choroidal neovascularization", "diabetic macular edema", "drusen", "normal"),
    ),
    "pneumoniamnist": MedMNISTSet(
        title="PneumoniaMNIST",
        channels=1,
        train=4_708,
        test=624,
        terms="CC BY 4.0",
        md5=(
            "28209eda62fecd6e6a2d98b1501bb15f",
            "8f4eceb4ccffa70c672198ea285246c6",
            "05b46931834c231683c68f40c47b2971",
            "d6a3c71de1b945ea11211b03746c1fe1",
        ),
        classes=("normal", "pneumonia"),
    ),
    "retinamnist": MedMNISTSet(
        title="RetinaMNIST",
        channels=3,
        train=1_080,
        test=400,
        terms="CC BY 4.0",
        md5=(
            "bd4c0672f1bba3e3a89f0e4e876791e4",
            "afda852cc34dcda56f86ad2b2457dbcc",
            "e48e916a24454daf90583d4e6efb1a18",
            "eae7e3b6f3fcbda4ae613ebdcbe35348",
        ),
        classes=("0", "1", "2", "3", "4"),
    ),
    "breastmnist": MedMNISTSet(
        title="BreastMNIST",
        channels=1,
        train=546,
        test=156,
        terms="CC BY 4.0",
        md5=(
            "750601b1f35ba3300ea97c75c52ff8f6",
            "742edef2a1fd1524b2efff4bd7ba9364",
            "363e4b3f8d712e9b5de15470a2aaadf1",
            "b56378a6eefa9fed602bb16d192d4c8b",
        ),
        classes=("malignant", "normal, benign"),
    ),
    "bloodmnist": MedMNISTSet(
        title="BloodMNIST",
        channels=3,
        train=11_959,
        test=3_421,
        terms="CC BY 4.0",
        md5=(
            "7053d0359d879ad8a5505303e11de1dc",
            "2b94928a2ae4916078ca51e05b6b800b",
            "adace1e0ed228fccda1f39692059dd4c",
            "b718ff6835fcbdb22ba9eacccd7b2601",
        ),
        classes=(
            "basophil",
            "eosinophil",
            "erythroblast",
            "immature granulocytes(myelocytes, metamyelocytes and promyelocytes)",
            "lymphocyte",
            "monocyte",
            "neutrophil",
            "platelet",
        ),
    ),
    "tissuemnist": MedMNISTSet(
        title="TissueMNIST",
        channels=1,
        train=165_466,
        test=47_280,
        terms="CC BY 4.0",
        md5=(
            "ebe78ee8b05294063de985d821c1c34b",
            "123ece2eba09d0aa5d698fda57103344",
            "61b955355d7425a89687b06cca3ce0c2",
            "b077128c4a949f0a4eb01517f9037b9c",
        ),
        classes=(
            "Collecting Duct, Connecting Tubule",
            "Distal Convoluted Tubule",
            "Glomerular endothelial cells",
            "Interstitial endothelial cells",
            "Leukocytes",
            "Podocytes",
            "Proximal Tubule Segments",
            "Thick Ascending Limb",
        ),
    ),
    "organamnist": MedMNISTSet(
        title="OrganAMNIST",
        channels=1,
        train=34_561,
        test=17_778,
        terms="CC BY 4.0",
        md5=(
            "68e3f8846a6bd62f0c9bf841c0d9eacc",
            "2dcccc29b88e6da5a01161ef20cda288",
            "eeae80d0a227a8d099027e1b3cfd3b60",
            "50747347e05c87dd3aaf92c49f9f3170",
        ),
        classes=(
            "bladder",
            "femur-left",
            "femur-right",
            "heart",
            "kidney-left",
            "kidney-right",
            "liver",
            "lung-left",
            "lung-right",
            "pancreas",
            "spleen",
        ),
    ),
    "organcmnist": MedMNISTSet(
        title="OrganCMNIST",
        channels=1,
        train=12_975,
        test=8_216,
        terms="CC BY 4.0",
        md5=(
            "b9ceb9546e10131b32923c5bbeaea2b1",
            "3ce34a8724ea6f548e6db4744d03b6a9",
            "773c1f009daa3fe5d9a2a201b2a7ed94",
            "050f5e875dc056f6768abf94ec9995d1",
        ),
        classes=(
            "bladder",
            "femur-left",
            "femur-right",
            "heart",
            "kidney-left",
            "kidney-right",
            "liver",
            "lung-left",
            "lung-right",
            "pancreas",
            "spleen",
        ),
    ),
    "organsmnist": MedMNISTSet(
        title="OrganSMNIST",
        channels=1,
        train=13_932,
        test=8_827,
        terms="CC BY 4.0",
        md5=(
            "9ab87b696fb54e2a387ebe992d6ed5f1",
            "53a6d115339d874c25e309a994ff46d3",
            "ded0c5fa01a95dc4978b956f613e9b8e",
            "b354719e553fbbb2513d5533f52a4cb1",
        ),
        classes=(
            "bladder",
            "femur-left",
            "femur-right",
            "heart",
            "kidney-left",
            "kidney-right",
            "liver",
            "lung-left",
            "lung-right",
            "pancreas",
            "spleen",
        ),
    ),
}
THREE = "its images have three dimensions"
UNUSED = {
    "chestmnist": "its images have up to 14 labels each, and accuracies here are those of one label per image",
    "organmnist3d": THREE,
    "nodulemnist3d": THREE,
    "adrenalmnist3d": THREE,
    "fracturemnist3d": THREE,
    "vesselmnist3d": THREE,
    "synapsemnist3d": THREE,
}
"""Why the other sets cannot be used."""
