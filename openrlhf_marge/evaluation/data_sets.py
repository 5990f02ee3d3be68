"""The paper's test sets (Sec. 4.1) as they are published on the Hugging Face hub."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DataSet:
    """Where the problems and gold answers are; the gold answer is the label's last box, what follows its "####", or
    all of it (``grading.gold_answer``)."""

    path: str  # on the hub
    input_key: str
    label_key: str
    split: str = "test"
    configs: tuple[str | None, ...] = (None,)


SUBJECTS = (
    "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra",
    "precalculus",
)  # fmt: skip

DATA_SETS = {
    # 5,000 problems; the owners' own copy (hendrycks/competition_math) was taken down. A solution ends in a box.
    "math": DataSet("EleutherAI/hendrycks_math", "problem", "solution", configs=SUBJECTS),
    # 500 of them (Lightman et al., 2023).
    "math500": DataSet("HuggingFaceH4/MATH-500", "problem", "answer"),
    # 1,319 problems; a solution ends in "#### 18".
    "gsm8k": DataSet("openai/gsm8k", "question", "answer", configs=("main",)),
    # 2,818 problems; the owners publish them on GitHub (MathScale) only, this is a copy.
    "college_math": DataSet("di-zhang-fdu/College_Math_Test", "question", "answer"),
    # The 674 open-ended, text-only, English problems of mathematics; their only split is called train.
    "olympiadbench": DataSet(
        "Hothan/OlympiadBench", "question", "final_answer", split="train", configs=("OE_TO_maths_en_COMP",)
    ),
}
