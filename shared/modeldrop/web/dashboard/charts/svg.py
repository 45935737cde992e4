"""SVG elements as markup. Texts and attributes are escaped here, so that nothing from outside can become an element."""

from markupsafe import Markup, escape

Attribute = str | float | int


def element(name: str, *inside: str, **attributes: Attribute | None) -> Markup:
    """One element; texts inside are escaped, markup is taken as it is.

    ``class_`` is the class, ``_`` in a name becomes ``-``; attributes that are None are left out.

    >>> print(element("text", "a < b", x=1.0, class_="axis", text_anchor="end", y=None))
    <text x="1" class="axis" text-anchor="end">a &lt; b</text>
    """
    spelled = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_text(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    content = "".join(escape(part) for part in inside)
    return Markup(f"<{name}{spelled}>{content}</{name}>")  # noqa: S704 - every part is escaped above


def picture(title: str, description: str, width: float, height: float, *shapes: str, class_: str) -> Markup:
    """A whole picture with what it is called, and what it shows in words, for those who do not see it.

    Bars (``class_`` "bar …") are stretched to the place they get; all else keeps its proportions.
    """
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *shapes,
        viewBox=f"0 0 {number(width)} {number(height)}",
        preserveAspectRatio="none" if class_.startswith("bar ") else None,
        role="img",
        class_=f"chart {class_}",
    )


def number(value: float) -> str:
    """A coordinate, in hundredths at most.

    >>> number(1 / 3), number(2.0)
    ('0.33', '2')
    """
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _text(value: Attribute) -> str:
    return escape(value if isinstance(value, str) else number(value))
