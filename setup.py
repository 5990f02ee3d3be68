"""Packaging of openrlhf_marge; the patch series travels inside the package so that an installed one can apply it."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "openrlhf_marge" / "__init__.py").read_text()).group(1)

setup(
    name="openrlhf_marge",
    version=VERSION,
    description="MARGE (ICML 2025) for OpenRLHF: guided, step-level exploration in RL of language models",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license_expression="Apache-2.0",
    license_files=["LICENSE"],
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.10",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
    python_requires=">=3.10,<3.13",
    packages=[*find_packages(include=["openrlhf_marge", "openrlhf_marge.*"]), "openrlhf_marge._patches"],
    package_dir={"openrlhf_marge._patches": "patches"},
    package_data={
        "openrlhf_marge": ["py.typed"],
        "openrlhf_marge._patches": ["*.patch", "README.md"],
        "openrlhf_marge.report": ["*.html", "*.css", "*.js"],
    },
    # OpenRLHF and vLLM are not required here: on a GPU this goes beside the OpenRLHF that is installed, on a CPU
    # examples/setup_cpu.sh installs the builds that exist there.
    install_requires=[
        *("latex2sympy2==1.9.1", "matplotlib", "msgspec", "pillow", "pyarrow", "scipy", "tqdm", "unidiff>=1.0"),
        'tomli; python_version < "3.11"',  # for msgspec.toml
    ],
    extras_require={
        "gpu": [
            "openrlhf==0.11.2",
            "ray[default]==2.55.0",
            "vllm==0.29.0",
            "deepspeed==0.19.6",
            "transformers==5.15.0",
            "torch==2.13.0",
        ],
        "server": ["fastapi", "uvicorn"],  # vLLM brings both
        "test": ["pytest", "pytest-timeout", "pytest-xdist", "hypothesis", "ruff==0.17.6", "psutil", "selenium"],
    },
    entry_points={
        "openrlhf.experience_makers": ["marge = openrlhf_marge.host.plugin:MargePlugin"],
        "vllm.general_plugins": ["marge = openrlhf_marge.host.rollout.engine_process:end_with_actor"],
    },
)
