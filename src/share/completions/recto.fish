# SPDX-License-Identifier: BSD-3-Clause
#
# fish completion for recto. Commands and options are those that --help of the installed
# recto names, so this file need not change when they do.

function __recto_commands
    set -l words (commandline -opc)
    $words[1] --help 2>/dev/null | string replace -rf '^(?:usage:|      ) recto ([a-z]+) .*' '$1' |
        sort -u
end

function __recto_options
    set -l words (commandline -opc)
    $words[1] $words[2] --help 2>/dev/null |
        string match -ra '(?<![-\w])--?[A-Za-z][-\w]*' | sort -u
    printf '%s\n' --help --version
end

function __recto_at_command
    test (count (commandline -opc)) -eq 1
end

complete -c recto -n __recto_at_command -f -a '(__recto_commands) --help --version'
complete -c recto -n 'not __recto_at_command; and string match -q -- "-*" (commandline -ct)' \
    -f -a '(__recto_options)'
complete -c recto -n 'not __recto_at_command; and string match -q -- --keep (commandline -opc)[-1]' \
    -f -a 'chains all last= every= age='
