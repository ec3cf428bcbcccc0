# SPDX-License-Identifier: BSD-3-Clause
#
# bash completion for recto. Commands and options are those that --help of the installed
# recto names, so this file need not change when they do.

_recto_commands() { # RECTO
    "$1" --help 2>/dev/null | sed -nE 's/^(usage:|      ) recto ([a-z]+) .*/\2/p' | sort -u
}

_recto_options() { # RECTO [COMMAND]
    {
        "$@" --help 2>/dev/null | grep -oE '(^|[^-[:alnum:]])--?[[:alpha:]][-[:alnum:]]*' |
            sed 's/^[^-]//'
        printf '%s\n' --help --version
    } | sort -u
}

_recto() {
    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
    local recto=${COMP_WORDS[0]} command=${COMP_WORDS[1]} words=
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="$(_recto_commands "$recto") --help --version"
    elif [[ $current = -* ]]; then
        words=$(_recto_options "$recto" "$command")
    else
        case $before in
        --keep) words='chains all last= every= age=' ;;
        --local | --dir) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
        --mpirun) mapfile -t COMPREPLY < <(compgen -c -- "$current") ;;
        "$command")
            case $command in
            run) mapfile -t COMPREPLY < <(compgen -c -- "$current") ;;
            doctor | env | report | top) ;;
            *) mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
            esac
            ;;
        esac
    fi
    if [ -n "$words" ]; then
        mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    fi
}

# Where nothing fits, names of files are offered.
complete -o default -F _recto recto
