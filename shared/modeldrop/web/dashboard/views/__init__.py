"""What each page shows: answers of the API turned into small frozen values that a template only has to lay out."""
