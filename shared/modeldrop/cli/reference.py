"""``docs/cli.md``, made from the commands themselves: ``python -m modeldrop.cli.reference > docs/cli.md``."""

from typing import Any

from typer.main import get_command

from modeldrop.cli import app

HEAD = """# Command line

Made from the commands themselves (`python -m modeldrop.cli.reference > docs/cli.md`); a test holds it to them.

Options of all commands stand before the command's name: `modeldrop --url https://… status`.

## How commands end

| code | |
|---|---|
| 0 | done |
| 1 | not done: refused, rejected, not found, not allowed; also an unhealthy or drifted model |
| 2 | bad input: the command line, a file, an address, what the API calls a bad request; also what the disk refuses |
| 3 | no answer, or "not now" (`gate` ends 2 then: that must not look like a rejection) |
| 130, 141 | Ctrl-C; nobody reads the output any more (`… \\| head`) |

Every command that reports takes `--json`: standard output then holds one JSON document, the answer or the problem
(RFC 9457). What is said to people about errors is on standard error, one line a reason; a wrong use of the command line
itself is told there alone. Without a terminal nothing is cut off or coloured; `NO_COLOR` takes the colours off a
terminal, too.

## Which control plane, and who asks

`--url` of the command, else `--url` of all commands, else `MODELDROP_URL`, else the embedded cloud. `http://` goes to
this machine only, and carries no token. Over `https://` requests carry `MODELDROP_TOKEN`, else what `gcloud auth
print-identity-token` gives: your own identity, or with `--impersonate-service-account` a service account's, made for
this address (or for `--audiences`). A token is kept in memory only, until it expires; it is never printed, and follows
no redirect.

## Completion

`modeldrop --install-completion` sets it up for your shell, `--show-completion` prints the script. Names of models and
versions are asked of the control plane, for two seconds at most; where it does not answer, nothing is offered.
"""


def reference() -> str:
    """The whole text."""
    root: Any = get_command(app)
    sections = [HEAD, f"## Options of all commands\n\n{root.callback.__doc__}\n\n{_options(root)}"]
    sections += [_section(f"modeldrop {name}", command) for name, command in sorted(root.commands.items())]
    return "\n".join(sections).rstrip() + "\n"


def _section(path: str, command: Any) -> str:
    """One command; of a group each of its own."""
    own = [f"## `{_usage(path, command)}`", "", _text(command), ""]
    arguments = [f"- `{_metavar(one)}`: {one.help}" for one in _shown(command, "argument") if one.help]
    if arguments:
        own += [*arguments, ""]
    own.append(_options(command))
    commands = getattr(command, "commands", {})
    return "\n".join(own) + "".join("\n" + _section(f"{path} {name}", one) for name, one in sorted(commands.items()))


def _text(command: Any) -> str:
    return "\n".join(line.strip() for line in (command.help or "").splitlines()).strip().replace("``", "`")


def _usage(path: str, command: Any) -> str:
    words = [path]
    for one in _shown(command, "argument"):
        words.append(_metavar(one) if one.required else f"[{_metavar(one)}]")
    if getattr(command, "commands", None):
        words.append("[COMMAND]" if command.invoke_without_command else "COMMAND")
    return " ".join(words)


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name).upper()


def _options(command: Any) -> str:
    rows = [_row(one) for one in _shown(command, "option") if one.name != "help"]
    return "\n".join(["| option | |", "|---|---|", *rows, ""]) if rows else ""


def _row(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in [*option.opts, *option.secondary_opts])
    notes = ["required"] if option.required else []
    shown = option.default if option.show_default is not False and not option.is_flag else None
    shown = f"{shown:g}" if isinstance(shown, float) else shown
    notes += [f"default `{shown}`"] if shown not in (None, "") else []
    notes += [f"`{option.envvar}`"] if option.envvar else []
    said = (option.help or "").replace("|", "\\|")
    about = f" ({'; '.join(notes)})" if notes else ""
    return f"| {names} | {said}{about} |"


def _shown(command: Any, kind: str) -> list[Any]:
    return [one for one in command.params if one.param_type_name == kind and not getattr(one, "hidden", False)]


if __name__ == "__main__":
    print(reference(), end="")
