# Completion of wharf for bash: it asks the program itself, which asks the engine for names.
_wharf() {
    local line=${COMP_LINE:0:COMP_POINT} told status current before candidate about file
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[-1]}
    # bash takes what stands before a colon for a word of its own.
    before=${current%"${current##*[:=]}"}
    COMPREPLY=()
    told=$("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
    status=$?
    while IFS=$'\t' read -r candidate about; do
        [[ -n $candidate ]] && COMPREPLY+=("${candidate#"$before"}")
    done <<< "$told"
    if [[ $status -eq 3 && ${#COMPREPLY[@]} -eq 0 ]]; then
        compopt -o default
    elif [[ $status -eq 3 ]]; then
        while IFS= read -r file; do
            [[ -d $file ]] && file+=/
            [[ -n $file ]] && COMPREPLY+=("${file#"$before"}")
        done <<< "$(compgen -f -- "$current")"
    fi
    # More follows on a folder, and on a container of which a path is meant.
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[:/] ]]; then
        compopt -o nospace
    fi
}
complete -F _wharf wharf
