"""`wg-dynamic completion`: what a shell needs to complete the command, out of its own parser."""

import argparse
import sys
from collections.abc import Iterator
from typing import Final

from wg_dynamic.cli.command.arguments import Nouns, add_verb
from wg_dynamic.cli.status import OK
from wg_dynamic.record import dataclass

PROGRAM: Final = "wg-dynamic"
BASH: Final = "bash"
ZSH: Final = "zsh"
FISH: Final = "fish"
_INTERFACES: Final = "wg show interfaces 2>/dev/null"
_OF_INTERFACES: Final = "interface"
"""The argument, and the option, that name one."""

_BASH: Final = """\
# bash completion for wg-dynamic, made by: wg-dynamic completion bash
_wg_dynamic() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} at= word words=
    for word in "${{COMP_WORDS[@]:1:$((COMP_CWORD - 1))}}"; do
        case "$at $word" in
        {steps}) at="$at $word" ;;
        esac
    done
    case $at in
{words}
    esac
    case "$at $before" in
{values}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _wg_dynamic wg-dynamic
"""
_ZSH: Final = """\
#compdef wg-dynamic
# zsh completion for wg-dynamic, made by: wg-dynamic completion zsh
autoload -U +X bashcompinit && bashcompinit
"""


@dataclass(frozen=True)
class Command:
    """One node of the command line."""

    path: tuple[str, ...]
    verbs: tuple[tuple[str, str], ...]
    """(word, what it does) of the commands below it."""
    options: tuple[tuple[str, str], ...]
    values: tuple[tuple[str, tuple[str, ...]], ...]
    """(option, what may stand behind it) where that can be told; () is anything."""
    takes_interface: bool


def add_parser(nouns: Nouns) -> None:
    """See the module's docstring."""
    completion = add_verb(nouns, "completion", _completion, "print the completions for a shell")
    completion.add_argument("shell", choices=(BASH, ZSH, FISH))


def _completion(arguments: argparse.Namespace) -> int:
    from wg_dynamic.cli.command.main import make_parser  # noqa: PLC0415 - it has us as a part

    commands = list(walk(make_parser()))
    sys.stdout.write(SCRIPTS[arguments.shell](commands))
    return OK


def walk(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> Iterator[Command]:
    """The command line from its root, each node before what is below it."""
    verbs: list[tuple[str, str]] = []
    options: list[tuple[str, str]] = []
    values: list[tuple[str, tuple[str, ...]]] = []
    below: list[tuple[str, argparse.ArgumentParser]] = []
    takes_interface = False
    for action in parser._actions:
        choices = action.choices
        if isinstance(action, argparse._SubParsersAction):
            below += list(action.choices.items())
            verbs += [(one.dest, one.help or "") for one in action._choices_actions]
        elif action.option_strings:
            names = [name for name in action.option_strings if name.startswith("--")]
            options += [(name, action.help or "") for name in names]
            if choices or action.nargs != 0:
                values += [(name, tuple(map(str, choices or ()))) for name in names]
        elif action.dest == _OF_INTERFACES:
            takes_interface = True
        elif choices:
            verbs += [(str(one), "") for one in choices]
    yield Command(path, tuple(verbs), tuple(options), tuple(values), takes_interface)
    for word, inner in below:
        yield from walk(inner, (*path, word))


def bash(commands: list[Command]) -> str:
    """A script for bash-completion's directory, or to be sourced."""
    steps = [_pattern(one.path) for one in commands if one.path]
    words, values = [], []
    for one in commands:
        known = " ".join([word for word, _ in (*one.verbs, *one.options)])
        if one.takes_interface:
            known += f" $({_INTERFACES})"
        words.append(f'    {_pattern(one.path)}) words="{known}" ;;')
        for option, choices in one.values:
            text = " ".join(choices)
            if option == f"--{_OF_INTERFACES}":
                text = f"$({_INTERFACES})"
            values.append(f'    {_pattern((*one.path, option))}) words="{text}" ;;')
    return _BASH.format(steps=" | ".join(steps), words="\n".join(words), values="\n".join(values))


def _pattern(path: tuple[str, ...]) -> str:
    return '"' + "".join(f" {word}" for word in path) + '"'


def zsh(commands: list[Command]) -> str:
    """The same, by zsh's own layer for bash's completions."""
    return _ZSH + bash(commands).partition("\n")[2]


def fish(commands: list[Command]) -> str:
    """Lines for fish's directory of completions."""
    lines = [f"# fish completion for {PROGRAM}, made by: {PROGRAM} completion fish"]
    for one in commands:
        seen = [f"__fish_seen_subcommand_from {word}" for word in one.path]
        rest = " ".join(word for word, _ in one.verbs)
        unseen = [f"not __fish_seen_subcommand_from {rest}"] if rest else []
        condition = "; and ".join([*seen, *unseen])
        when = f" -n '{condition}'" if condition else ""
        start = f"complete -c {PROGRAM}{when}"
        lines += [f"{start} -f -a {word} -d {_quoted(text)}" for word, text in one.verbs]
        if one.takes_interface:
            lines.append(f"{start} -f -a '({_INTERFACES})'")
        choices = dict(one.values)
        for option, text in one.options:
            name = option.lstrip("-")
            kind = "-s" if len(option) == 2 else "-l"  # noqa: PLR2004 - a hyphen and a letter
            line = f"{start} {kind} {name} -d {_quoted(text)}"
            if option in choices:
                known = " ".join(choices[option])
                line += f" -x -a {_quoted(known)}" if known else " -r"
            lines.append(line)
    return "\n".join([*lines, ""])


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS: Final = {BASH: bash, ZSH: zsh, FISH: fish}
