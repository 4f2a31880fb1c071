# Completion of wharf for bash: it asks the program itself, which asks the engine for names.
_wharf() {
    local line=${COMP_LINE:0:COMP_POINT} told status current before candidate about
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    current=${words[-1]}
    # bash takes what stands before a colon for a word of its own.
    before=${current%"${current##*[:=]}"}
    COMPREPLY=()
    told=$("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
    status=$?
    if [[ $status -eq 3 ]]; then
        compopt -o default
        return
    fi
    while IFS=$'\t' read -r candidate about; do
        [[ -n $candidate ]] && COMPREPLY+=("${candidate#"$before"}")
    done <<< "$told"
}
complete -F _wharf wharf
