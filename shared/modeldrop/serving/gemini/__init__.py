"""Text to SQL by a Gemini model: the request, the call, and what becomes of the answer."""
