//! Maps of sparse files.

use super::{MAX_PIECES, TarError};

/// Pairs up offsets and lengths.
pub(super) fn pairs(numbers: &[u64], at: u64) -> Result<Vec<(u64, u64)>, TarError> {
    if !numbers.len().is_multiple_of(2) {
        return Err(TarError::Sparse {
            at,
            reason: "an offset has no length",
        });
    }
    Ok(numbers
        .chunks_exact(2)
        .map(|pair| (pair[0], pair[1]))
        .collect())
}

/// Checks that the pieces ascend without overlap, end within the file and are as long as the stored content.
pub(super) fn checked(
    mut pieces: Vec<(u64, u64)>,
    stored: u64,
    real: u64,
    at: u64,
) -> Result<Vec<(u64, u64)>, TarError> {
    let fault = |reason| TarError::Sparse { at, reason };
    if pieces.len() > MAX_PIECES {
        let (size, limit) = (pieces.len() as u64, MAX_PIECES as u64);
        return Err(TarError::TooLarge {
            at,
            what: "a sparse map",
            size,
            limit,
        });
    }
    if real > i64::MAX as u64 {
        return Err(fault("the file is longer than a file can be"));
    }
    let (mut end, mut sum) = (0u64, 0u64);
    for &(offset, length) in &pieces {
        if offset < end {
            return Err(fault("pieces overlap or are out of order"));
        }
        end = offset
            .checked_add(length)
            .filter(|&end| end <= real)
            .ok_or(fault("a piece ends behind the file"))?;
        sum += length;
    }
    if sum != stored {
        return Err(fault("the pieces are not as long as the content"));
    }
    // A last piece of no length marks the end.
    pieces.retain(|&(_, length)| length > 0);
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_that_contradict_themselves_are_refused() {
        assert!(checked(vec![(0, 5), (10, 5), (20, 0)], 10, 20, 0).is_ok());
        for (pieces, stored, real) in [
            (vec![(0, 5), (4, 5)], 10, 20),
            (vec![(10, 5), (0, 5)], 10, 20),
            (vec![(0, 5)], 10, 20),
            (vec![(16, 5)], 5, 20),
            (vec![(u64::MAX, 5)], 5, 20),
            (vec![], 0, u64::MAX),
            (vec![(0, 0); MAX_PIECES + 1], 0, 0),
        ] {
            assert!(checked(pieces, stored, real, 0).is_err());
        }
    }
}
