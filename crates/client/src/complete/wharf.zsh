#compdef wharf
# Completion of wharf for zsh: it asks the program itself, which asks the engine for names.
_wharf() {
    local told line word state
    local -a whole parts
    told=$("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    state=$?
    for line in "${(@f)told}"; do
        [[ -n $line ]] || continue
        # _describe takes what stands behind a colon for the meaning.
        word=${line%%$'\t'*}
        line=${word//:/\\:}:${line#*$'\t'}
        # More follows on a folder, and on a container of which a path is meant.
        if [[ $word == *[:/] ]]; then parts+=($line); else whole+=($line); fi
    done
    (( $#whole )) && _describe 'wharf' whole
    (( $#parts )) && _describe 'wharf' parts -S ''
    (( state == 3 )) && _files
}
if [[ $funcstack[1] == _wharf ]]; then
    _wharf "$@"
else
    compdef _wharf wharf
fi
