# Completion of wharf for fish: it asks the program itself, which asks the engine for names.
function __wharf_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l told ($words[1] __complete $words[2..-1] 2>/dev/null)
    if test $status -eq 3
        __fish_complete_path (commandline -ct)
    end
    if test (count $told) -gt 0
        printf '%s\n' $told
    end
end
complete -c wharf -f -a '(__wharf_complete)'
