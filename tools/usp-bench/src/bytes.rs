//! Bytes that look random, are the same for the same seed, and cost the client next to nothing.

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// Steele, Lea and Flood's SplitMix64 (OOPSLA 2014).
fn mix(state: u64) -> u64 {
    let mut z = state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Fills `target` with the bytes of `seed`. Different seeds share no run of bytes worth keeping once.
pub(crate) fn fill(target: &mut [u8], seed: u64) {
    let mut state = mix(seed.wrapping_mul(STEP));
    for piece in target.chunks_mut(8) {
        state = state.wrapping_add(STEP);
        let bytes = mix(state).to_le_bytes();
        piece.copy_from_slice(bytes.get(..piece.len()).unwrap_or_default());
    }
}

/// A seed for one thing among many.
pub(crate) fn seed(parts: &[u64]) -> u64 {
    parts.iter().fold(1, |seed, part| mix(seed.wrapping_add(STEP) ^ part.wrapping_mul(STEP)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_bytes_and_another_seed_others() {
        let (mut a, mut b, mut c) = ([0; 100], [0; 100], [0; 100]);
        fill(&mut a, 1);
        fill(&mut b, 1);
        fill(&mut c, 2);
        assert_eq!(a, b);
        assert_ne!(a, c);
        assert_ne!(seed(&[1, 2]), seed(&[2, 1]));
    }
}
