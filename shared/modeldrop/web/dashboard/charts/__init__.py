"""Pictures as inline SVG, made from numbers alone. Colours live in the style sheet, shapes and patterns here."""
