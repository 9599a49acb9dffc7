"""A language model as generator and verifier: `python -m experiments.llm`.

Running it needs `experiments/llm/requirements.txt`; reading what it made does not.
"""
