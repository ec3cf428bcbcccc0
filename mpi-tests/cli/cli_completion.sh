#!/usr/bin/env bash
# SPDX-License-Identifier: BSD-3-Clause
#
# Completion offers every command of `recto --help` and every option that a command's --help
# names, and no others: in bash, and in zsh and fish where they are.
set -euo pipefail
trap 'echo "line $LINENO: $BASH_COMMAND" >&2' ERR
PATH=$TEST_BUILD/bin:$PATH
folder=$TEST_SOURCE/src/share/completions

commands() { recto --help | grep -oE '^(usage:|      ) recto [a-z]+' | awk '{ print $NF }' | sort -u; }
# Words of the help that begin with a dash, brackets and commas off.
options() { # COMMAND
    { recto "$1" --help | tr -s ' [](),;:|=.' '\n' | grep -E '^--?[A-Za-z]' || true; echo "--help
--version"; } | sort -u
}

in_bash() { # WORD...: completes the last
    bash --norc -c '. "$1"; shift
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        _recto; printf "%s\n" "${COMPREPLY[@]}"' bash "$folder/recto.bash" "$@" | sort -u
}
in_zsh() {
    zsh -f -c 'compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -l -- $@ }
        _files() { } ; _command_names() { }
        file=$1; shift; words=("$@") CURRENT=$#
        . $file' zsh "$folder/_recto" "$@" | sort -u
}
in_fish() {
    fish --no-config -c "source $folder/recto.fish; complete -C '$*'" | cut -f 1 | sort -u
}

checked=0
check() { # SHELL
    local command
    diff <(commands) <("in_$1" recto '' | grep -v '^-') >&2 ||
        { echo "$1: other commands" >&2; return 1; }
    while read -r command; do
        diff <(options "$command") <("in_$1" recto "$command" - | grep '^-') >&2 ||
            { echo "$1: other options of $command" >&2; return 1; }
        checked=$((checked + 1))
    done < <(commands)
    echo "$1"
}

[ "$(commands | wc -l)" -ge 11 ]
[ "$(options run | wc -l)" -ge 15 ]
check bash
[ "$(in_bash recto prune DIR --keep ch)" = chains ]
[ "$(in_bash recto run --hostf)" = --hostfile ]
for shell in zsh fish; do
    if command -v $shell >/dev/null; then
        check $shell
    fi
done
echo "$checked lists of options"
