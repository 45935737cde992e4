"""Empty, and not uploaded: ``gcloud functions deploy --source=.`` refuses a folder without a file of this name.

What a function runs is ``functions/NAME/main.py`` (the build variable GOOGLE_FUNCTION_SOURCE).
"""
