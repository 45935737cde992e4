"""LLMs that no longer exist: a version that calls one cannot answer, however good its figures are.

Source: Google's lists "Gemini deprecations" (ai.google.dev/gemini-api/docs/deprecations, with its changelog) and "Model
versions and lifecycle" (Vertex AI), read in November 2026. Only what both services have switched off is listed: a model
that is merely deprecated still answers. Extend the table when another family goes.
"""

import re

# name without its path: (family, switched off)
RETIRED_LLMS: tuple[tuple[str, str, str], ...] = (
    (r"(google-)?palm(-?2)?(-.*)?", "PaLM", "April 2025"),
    (r"((text|chat|code|codechat)-)?bison([-@].*)?", "PaLM (bison)", "April 2025"),
    (r"((code|embedding|textembedding|textembedding-multilingual)-)?gecko([-@].*)?", "PaLM (gecko)", "May 2025"),
    (r"(text-)?unicorn([-@].*)?", "PaLM (unicorn)", "April 2025"),
    (r"gemini-(pro|ultra)(-vision)?([-@]\d{3})?", "Gemini 1.0", "April 2025"),  # gemini-pro-latest is alive
    (r"gemini-1\.0-.*", "Gemini 1.0", "April 2025"),
    (r"gemini-1\.5-.*", "Gemini 1.5", "September 2025"),
    (r"gemini-2\.0-.*", "Gemini 2.0", "June 2026"),
)


def retired(llm: str) -> str | None:
    """Why the LLM cannot be called any more; None if nothing is known against it.

    >>> retired("publishers/google/models/text-bison@002")
    "'text-bison@002' belongs to PaLM (bison), switched off in April 2025"
    >>> retired("gemini-2.5-flash") is None
    True
    """
    name = llm.strip().rsplit("/", 1)[-1]
    for pattern, family, since in RETIRED_LLMS:
        if re.fullmatch(pattern, name, re.IGNORECASE | re.DOTALL):
            return f"{name[:160]!a} belongs to {family}, switched off in {since}"
    return None
