"""What the wheel carries besides modules; ``e2m.store.paths`` finds it. pyproject.toml holds the rest."""

from setuptools import find_packages, setup

CARRIED = {"e2m.carried.notebooks": "notebooks", "e2m.carried.data.studies": "data/studies"}

setup(
    packages=[*find_packages(include=["e2m", "e2m.*"]), *CARRIED],
    package_dir=CARRIED,
    package_data={
        "": ["*.css", "*.ipynb", "*.j2", "*.js", "*.json"],
        "e2m.carried.notebooks": ["params/*.yaml"],
        "e2m.carried.data.studies": ["*.parquet"],
    },
)
