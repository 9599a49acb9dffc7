"""A language model as generator and verifier: `python -m rmt_experiments.llm`.

Running it needs `rmt_experiments/llm/requirements.txt`; reading what it made does not.
"""
