#compdef wharf
# Completion of wharf for zsh: it asks the program itself, which asks the engine for names.
_wharf() {
    local told line
    local -a candidates
    told=$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( $? == 3 )); then
        _files
        return
    fi
    for line in "${(@f)told}"; do
        [[ -n $line ]] || continue
        # _describe takes what stands behind a colon for the meaning.
        candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
    done
    (( $#candidates )) && _describe 'wharf' candidates
}
if [[ $funcstack[1] == _wharf ]]; then
    _wharf "$@"
else
    compdef _wharf wharf
fi
